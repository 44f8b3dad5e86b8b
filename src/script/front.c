/* What a front with functions says at the edges of an answer's blocks: where a block begins, ends, where the answer ends. The deltas between pass in C.
 * The Lua side is lua/sluice/answer.lua; the table `answer` lives in the record of the exchange.
 */
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "script/exchange_inside.h"

struct front_job {
    struct exchange *x;
    const char *what;                                  /* the function of lua/sluice/answer.lua */
    int ref;                                           /* of the front's own */
    const struct front_block *block;
    const struct front_call *call;
    const struct front_end *end;
    const struct usage *usage;
    const struct gathered *blocks;
    size_t n_blocks;
    const struct failure *failure;
    uint64_t *sequence;
    struct buf *out;
    char **before, **after, **after_logprobs;
    bool may_refuse;
};

static void push_buf(lua_State *L, const struct buf *b) { lua_pushlstring(L, b->data ? b->data : "", b->len); }

static void push_buf_if(lua_State *L, const struct buf *b)
{
    if (b)
        push_buf(L, b);
    else
        lua_pushnil(L);
}

static void push_end(lua_State *L, const struct front_end *end)   /* pushes: words, stop sequences, tokens, and the five of usage */
{
    lua_createtable(L, (int)end->n, 0);
    lua_createtable(L, 0, 0);
    for (unsigned i = 0; i < end->n; i++) {
        lua_pushstring(L, end->choices[i].finish);
        lua_rawseti(L, -3, i);
        lua_pushstring(L, end->choices[i].stop_sequence);
        lua_rawseti(L, -2, i);
    }
    lua_pushinteger(L, (lua_Integer)end->tokens);
    exchange_push_usage(L, &end->usage);
}

static void push_gathered(lua_State *L, const struct gathered *list, size_t n)   /* pushes: { { choice, channel or "tool", text, id, name, logprobs, signature } ... } */
{
    lua_createtable(L, (int)n, 0);
    for (size_t i = 0; i < n; i++) {
        lua_createtable(L, 7, 0);
        lua_pushinteger(L, list[i].choice);
        lua_rawseti(L, -2, 1);
        lua_pushstring(L, list[i].channel == CHANNEL_TOOL_ARGS ? "tool" : channel_names[list[i].channel]);
        lua_rawseti(L, -2, 2);
        push_buf(L, &list[i].text);
        lua_rawseti(L, -2, 3);
        push_buf(L, &list[i].id);
        lua_rawseti(L, -2, 4);
        push_buf(L, &list[i].name);
        lua_rawseti(L, -2, 5);
        push_buf(L, &list[i].logprobs);
        lua_rawseti(L, -2, 6);
        push_buf(L, &list[i].signature);
        lua_rawseti(L, -2, 7);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
}

/* Pushes what the function takes behind (x, front's function, sequence); how many. */
static int push_arguments(lua_State *L, const struct front_job *job)
{
    int n = 0;

    if (job->block) {
        lua_pushinteger(L, job->block->choice);
        lua_pushstring(L, channel_names[job->block->channel]);
        lua_pushinteger(L, job->block->index);
        push_buf_if(L, job->block->text);
        push_buf_if(L, job->block->logprobs);
        push_buf_if(L, job->block->signature);
        n += 6;
    }
    if (job->call) {
        lua_pushinteger(L, job->call->choice);
        lua_pushinteger(L, job->call->index);
        push_buf(L, job->call->id);
        push_buf(L, job->call->name);
        push_buf(L, job->call->arguments);
        push_buf(L, job->call->signature);
        n += 6;
    }
    if (job->end) {
        push_end(L, job->end);
        n += 8;
    }
    if (job->usage) {
        exchange_push_usage(L, job->usage);
        n += 5;
    }
    if (job->blocks) {
        push_gathered(L, job->blocks, job->n_blocks);
        n++;
    }
    if (job->failure) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, job->x->front->error_ref);
        n += 1 + exchange_push_failure(L, job->failure);
    }
    return n;
}

static int front_entry(lua_State *L)                   /* (job) */
{
    struct front_job *job = lua_touserdata(L, 1);
    const char *s;
    size_t len;

    exchange_push_function(L, job->what);
    exchange_push(L, job->x);
    if (job->ref == LUA_NOREF)
        lua_pushnil(L);
    else
        lua_rawgeti(L, LUA_REGISTRYINDEX, job->ref);
    lua_pushinteger(L, job->sequence ? (lua_Integer)*job->sequence : 0);
    lua_call(L, 3 + push_arguments(L, job), 5);        /* job bytes before after sequence after_logprobs */
    if (job->may_refuse && lua_type(L, 2) != LUA_TSTRING) {
        lua_settop(L, 2);                              /* job verdict */
        return 1;
    }
    s = lua_tolstring(L, 2, &len);
    if (s)
        buf_append(job->out, s, len);
    if (job->before && lua_type(L, 3) == LUA_TSTRING && lua_type(L, 4) == LUA_TSTRING) {
        *job->before = mem_string(lua_tostring(L, 3));
        *job->after = mem_string(lua_tostring(L, 4));
        if (lua_type(L, 6) == LUA_TSTRING)
            *job->after_logprobs = mem_string(lua_tostring(L, 6));
    }
    if (job->sequence && lua_isinteger(L, 5))
        *job->sequence = (uint64_t)lua_tointeger(L, 5);
    return 0;
}

/* Bytes of what a front says once more: a block as it ends, all of the answer as that ends. */
static size_t said_again(const struct front_job *job)
{
    const struct front_block *b = job->block;

    return (b && b->text ? b->text->len : 0) + (b && b->logprobs ? b->logprobs->len : 0) + (job->end ? job->end->bytes : 0);
}

static int run(struct front_job *job)
{
    struct call c;
    bool good;

    if (job->x->ref == LUA_NOREF)
        return -1;
    good = exchange_run(job->x, &c, front_entry, job, walk_ms(job->x->body_len + said_again(job)), "a front may not wait") == CALL_RETURNED && c.n_results == 0;
    if (!good)
        log_say(LOG_ERROR, "front.failed", "front %s: %s", job->x->front->name, c.message ? c.message : "raised a verdict, which it may not");
    call_finish(&c);
    return good ? 0 : -1;
}

int exchange_front_begin(struct exchange *x, const struct usage *u, uint64_t *sequence, struct buf *out)
{
    struct front_job job = { .x = x, .what = "said", .ref = x->front->begin_ref, .usage = u, .sequence = sequence, .out = out };
    return job.ref == LUA_NOREF ? 0 : run(&job);
}

int exchange_front_open(struct exchange *x, const struct front_block *b, uint64_t *sequence, struct buf *out, char **before, char **after, char **after_logprobs)
{
    struct front_job job = { .x = x, .what = "open", .ref = x->front->open_ref, .block = b, .sequence = sequence, .out = out,
                             .before = before, .after = after, .after_logprobs = after_logprobs };

    *before = *after = *after_logprobs = NULL;
    return run(&job);
}

int exchange_front_logprobs(struct exchange *x, const struct front_block *b, struct buf *list)
{
    struct buf out = BUF_EMPTY;
    struct front_job job = { .x = x, .what = "logprobs", .ref = x->front->logprobs_ref, .block = b, .out = &out };
    int result = run(&job);

    list->len = 0;
    buf_append(list, out.data, out.len);
    buf_free(&out);
    return result;
}

int exchange_front_close(struct exchange *x, const struct front_block *b, uint64_t *sequence, struct buf *out)
{
    struct front_job job = { .x = x, .what = "close", .ref = x->front->close_ref, .block = b, .sequence = sequence, .out = out };
    return job.ref == LUA_NOREF ? 0 : run(&job);
}

int exchange_front_tool(struct exchange *x, const struct front_call *t, uint64_t *sequence, struct buf *out)
{
    struct front_job job = { .x = x, .what = "tool_call", .ref = x->front->tool_ref, .call = t, .sequence = sequence, .out = out };
    return job.ref == LUA_NOREF ? 0 : run(&job);
}

int exchange_front_finish(struct exchange *x, const struct front_end *end, uint64_t *sequence, struct buf *out)
{
    struct front_job job = { .x = x, .what = "finished", .ref = x->front->finish_ref, .end = end, .sequence = sequence, .out = out };
    return run(&job);
}

int exchange_front_fault(struct exchange *x, const struct failure *f, uint64_t *sequence, struct buf *out)
{
    struct front_job job = { .x = x, .what = "fault", .ref = x->front->fault_ref, .failure = f, .sequence = sequence, .out = out };
    return run(&job);
}

int exchange_front_whole(struct exchange *x, const struct front_end *end, const struct gathered *blocks, size_t n, struct buf *out)
{
    static const struct gathered none;
    struct front_job job = { .x = x, .what = "whole", .ref = x->front->whole_ref, .end = end, .blocks = n ? blocks : &none, .n_blocks = n, .out = out };
    return run(&job);
}

int exchange_front_again(struct exchange *x)
{
    struct buf nothing = BUF_EMPTY;
    struct front_job job = { .x = x, .what = "again", .ref = LUA_NOREF, .out = &nothing };
    return run(&job);
}

int exchange_front_respond(struct exchange *x, struct buf *out, struct failure *f)
{
    struct front_job job = { .x = x, .what = "respond", .ref = x->front->respond_ref, .out = out, .may_refuse = true };
    struct sayer who = { NULL, "the front's respond", x->front->respond_ref, MAY_REJECT };
    struct verdict v = { 0 };
    struct call c;
    int result = -1;

    if (exchange_run(x, &c, front_entry, &job, HOOK_MS, "a front may not wait") != CALL_RETURNED) {
        log_say(LOG_ERROR, "front.failed", "front %s: %s", x->front->name, c.message ? c.message : "no memory");
    } else if (c.n_results > 0) {
        verdict_read(x, &c, -1, &who, &v, NULL);
        if (v.wrong)
            log_say(LOG_ERROR, "front.failed", "%s", v.wrong);
    } else {
        result = 0;
    }
    if (v.kind == VERDICT_REJECT) {
        failure_free(f);
        *f = v.failure;
        memset(&v.failure, 0, sizeof v.failure);
    } else if (result) {
        failure_set(f, 500, c.failure == CALL_MEMORY ? "policy_memory" : "internal_error", "the gateway could not answer this request");
    }
    verdict_free(&v);
    call_finish(&c);
    return result;
}

/* ---- facts for C: of tables that only our own Lua writes, so nothing here can raise */

static bool push_answer(lua_State *L, const struct exchange *x)   /* pushes two values; whether the second is the answer's table */
{
    exchange_push(L, x);                               /* x */
    return lua_rawgeti(L, -1, X_ANSWER) == LUA_TTABLE; /* x answer? */
}

const char *exchange_public_model(struct exchange *x)
{
    lua_State *L = x->gateway->vm->L;
    const char *name = NULL;

    if (push_answer(L, x)) {
        lua_pushliteral(L, "model");
        if (lua_rawget(L, -2) == LUA_TSTRING)          /* x answer name */
            name = lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return name;                                       /* the table keeps it alive */
}

bool exchange_wants_usage(struct exchange *x)
{
    lua_State *L = x->gateway->vm->L;
    bool wants = true;

    if (push_answer(L, x)) {
        lua_pushliteral(L, "include_usage");
        wants = lua_rawget(L, -2) == LUA_TNIL || lua_toboolean(L, -1);
        lua_pop(L, 1);
    }
    lua_pop(L, 2);
    return wants;
}
