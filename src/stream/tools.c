/* Tool calls. A model tells one in pieces; they are gathered until the call is whole, since half a call is of no use to anybody. Then its arguments pass
 * the filters of the channel tool_args, the hooks tool_call see it whole, and it goes to the client if its front can tell it.
 *
 *     tools_read (each event) ... tools_next: pieces of channel tool_args, PIECE_TOOL -> sieve -> tool_whole -> tool_call hooks -> tool_leaves
 */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/vm.h"
#include "stream/inside.h"
#include "wire/json.h"

#define TOOLS_MAX 64                                   /* calls in one answer */
#define ARGS_MAX (1024 * 1024)                         /* bytes of all their arguments together */

struct tool {
    unsigned choice;
    long index;                                        /* the model's number for it */
    struct buf id, name, args, signature;
};

bool tools_wanted(const struct stream *s)
{
    if (s->route->n_hooks[HOOK_TOOL_CALL] || s->front->tool_before || s->front->tool_ref != LUA_NOREF || !s->streams)
        return true;
    for (size_t i = 0; i < s->route->n_filters; i++)
        if (s->route->filters[i].channels & 1u << CHANNEL_TOOL_ARGS)
            return true;
    return false;
}

/* ---- gathering */

static void add_string(struct buf *to, const struct json_token *t)
{
    struct utf8_mender mender = { { 0 }, 0 };
    struct buf plain = BUF_EMPTY;

    if (t->kind != JSON_STRING)
        return;
    json_unescape(&plain, t->bytes, t->len);
    utf8_mend(&mender, to, plain.data, plain.len);
    utf8_mend_end(&mender, to);
    buf_free(&plain);
}

#define INDEX_NONE (-1L)

/* INDEX_NONE: a call of its own. NULL: too many. */
static struct tool *tool_of(struct stream *s, unsigned choice, long index)
{
    struct tool *t;

    for (size_t i = s->tool_at; index != INDEX_NONE && i < s->n_tools; i++)
        if (s->tools[i].index == index && s->tools[i].choice == choice)
            return &s->tools[i];
    if (s->n_tools == TOOLS_MAX)
        return NULL;
    s->tools = mem_resize(s->tools, (s->n_tools + 1) * sizeof *s->tools);
    t = &s->tools[s->n_tools++];
    *t = (struct tool){ .choice = choice, .index = index };
    return t;
}

static int add_arguments(struct stream *s, struct tool *t, const struct json_token *arguments)
{
    if (arguments->kind == JSON_OBJECT)                /* whole, as it stands */
        buf_append(&t->args, arguments->bytes, arguments->len);
    else
        add_string(&t->args, arguments);
    s->tools_size += arguments->kind == JSON_OBJECT || arguments->kind == JSON_STRING ? arguments->len : 0;
    return s->tools_size > ARGS_MAX ? -1 : 0;
}

static int read_item(struct stream *s, unsigned choice, const char *bytes, size_t len)
{
    struct json_place_found at[TOOL_PLACE_COUNT];
    const struct json_token *index = &at[TOOL_INDEX].token;
    struct tool *t;

    if (json_places_find(s->model->dialect->tool_places, bytes, len, at) != 0)
        return -1;
    t = tool_of(s, choice, !s->model->dialect->tools_numbered ? INDEX_NONE : index->kind == JSON_NUMBER ? strtol(index->bytes, NULL, 10) : 0);
    if (!t)
        return -1;
    if (t->id.len == 0)
        add_string(&t->id, &at[TOOL_ID].token);
    if (t->name.len == 0)
        add_string(&t->name, &at[TOOL_NAME].token);
    return add_arguments(s, t, &at[TOOL_ARGUMENTS].token);
}

int tools_piece(struct stream *s, unsigned choice, long index, const struct json_token *arguments)
{
    if (arguments->kind != JSON_STRING)
        return 0;
    for (size_t i = s->tool_at; i < s->n_tools; i++)   /* of a call that nobody began: a tool that the provider runs itself */
        if (s->tools[i].index == index && s->tools[i].choice == choice)
            return add_arguments(s, &s->tools[i], arguments);
    return 0;
}

int tools_add(struct stream *s, const struct event_op *op)
{
    struct tool *t = tool_of(s, op->choice, op->index);

    if (!t)
        return -1;
    if (t->id.len == 0)
        buf_append(&t->id, op->id.data, op->id.len);
    if (t->name.len == 0)
        buf_append(&t->name, op->name.data, op->name.len);
    buf_append(&t->args, op->text.data, op->text.len);
    if (t->signature.len == 0)
        buf_append(&t->signature, op->signature.data, op->signature.len);
    s->tools_size += op->text.len + op->signature.len;
    return s->tools_size > ARGS_MAX ? -1 : 0;
}

int tools_read(struct stream *s, unsigned choice, const struct json_token *list)
{
    struct json_reader r;
    struct json_token t;

    if (list->kind != JSON_ARRAY)
        return 0;
    json_open(&r, list->bytes, list->len);
    json_next(&r, &t);                                 /* [ */
    while (json_next(&r, &t) == JSON_OBJECT) {
        const char *from = r.pos - 1;

        if (json_skip(&r, &t) != 0 || read_item(s, choice, from, (size_t)(r.pos - from)) != 0)
            return -1;
    }
    return 0;
}

bool tools_waiting(const struct stream *s) { return s->tool_at < s->n_tools; }

/* The next whole call as pieces; false: none is left. */
bool tools_next(struct stream *s)
{
    struct tool *t;
    unsigned choice;

    if (!tools_waiting(s))
        return false;
    t = &s->tools[s->tool_at];
    choice = t->choice;
    if (t->id.len == 0)                                /* some models give none; clients answer by it */
        buf_printf(&t->id, "call_%.12s_%zu", s->id, s->tool_at + 1);
    if (t->args.len == 0)
        buf_puts(&t->args, "{}");
    pieces_begin(s);
    piece_block_end(s, choice);                        /* what filters hold of the text before it leaves first */
    buf_append(&s->texts, t->args.data, t->args.len);
    s->tool_args.len = 0;
    piece_add(s, PIECE_TEXT, choice, CHANNEL_TOOL_ARGS, 0, t->args.len);
    piece_add(s, PIECE_LAST, choice, CHANNEL_TOOL_ARGS, 0, 0);
    piece_add(s, PIECE_TOOL, choice, CHANNEL_TOOL_ARGS, 0, 0);
    return true;
}

void tools_free(struct stream *s)
{
    for (size_t i = 0; i < s->n_tools; i++) {
        buf_free(&s->tools[i].id);
        buf_free(&s->tools[i].name);
        buf_free(&s->tools[i].args);
        buf_free(&s->tools[i].signature);
    }
    free(s->tools);
    s->tools = NULL;
    s->n_tools = s->tool_at = s->tools_size = 0;
    s->tools_due = s->ending = false;
    buf_free(&s->tool_args);
    buf_free(&s->deferred);
}

/* ---- a whole call */

/* A filter has cut the JSON of the arguments to pieces. Which one is not known: the last one is named. */
static void broken(struct stream *s)
{
    const struct filter *last = NULL;

    for (size_t i = 0; i < s->route->n_filters; i++)
        if (s->route->filters[i].channels & 1u << CHANNEL_TOOL_ARGS)
            last = &s->route->filters[i];
    policy_failed(s, last->policy, "filter", "what it left of a tool call's arguments is no JSON");
    stream_fail(s, REASON_POLICY_ERROR);
}

/* Then its model did not sign it. */
static bool is_changed(const struct stream *s, const struct tool *t)
{
    return s->tool_args.len != t->args.len || (t->args.len && memcmp(s->tool_args.data, t->args.data, t->args.len) != 0);
}

void tool_whole(struct stream *s)
{
    const struct tool *t = &s->tools[s->tool_at];

    if (is_changed(s, t) && !json_valid(s->tool_args.data ? s->tool_args.data : "", s->tool_args.len)) {
        broken(s);
        return;
    }
    s->tool_dropped = false;
    if (s->route->n_hooks[HOOK_TOOL_CALL] == 0)
        tool_leaves(s);
    else if (exchange_tool(&s->exchange, &t->id, &t->name, &s->tool_args) != 0)
        stream_fail(s, REASON_POLICY_MEMORY);
    else
        hooks_begin(s, HOOK_TOOL_CALL);
}

void tool_leaves(struct stream *s)
{
    static const struct buf none = { NULL, 0, 0 };
    const struct tool *t = &s->tools[s->tool_at];

    if (s->route->n_hooks[HOOK_TOOL_CALL] && !s->tool_dropped && exchange_tool_args(&s->exchange, &s->tool_args) != 0) {
        stream_fail(s, REASON_POLICY_ERROR);
        return;
    }
    if (!s->tool_dropped)
        answer_tool(s, &(struct front_call){ .choice = t->choice, .id = &t->id, .name = &t->name, .arguments = &s->tool_args,
                                            .signature = is_changed(s, t) ? &none : &t->signature });
    s->tool_at++;
}
