#include "script/init.h"

#include <string.h>

#include "script/exchange_inside.h"

#define INIT_CPU_MS 5000
#define INIT_WAIT_MS 10000                             /* all waits of one init together */

static const struct init_entry *entry(const struct inits *in) { return &in->gateway->inits[in->at]; }
static uint64_t now(const struct inits *in) { return in->desk.host->now(in->desk.owner); }

/* ---- what is told of one that failed: place, finding */

static void complain(struct inits *in, const char *place, const char *what)
{
    in->failed = true;
    buf_printf(in->complaints, "%s%sinit of policy \"%s\" %s\n", place, place[0] ? ": " : "", entry(in)->policy, what);
}

/* Where the waiting call stands. */
static void complain_of_waiting(struct inits *in)
{
    char place[160] = "", function[80];

    vm_place(in->call.co, place, sizeof place, function, sizeof function);
    complain(in, place, "waited longer than 10 s");
}

/* Where the function begins. */
static void complain_of_result(struct inits *in)
{
    lua_State *co = in->call.co;
    char place[160] = "", what[80];
    lua_Debug ar;

    snprintf(what, sizeof what, "returned a %s; it may return nothing", luaL_typename(co, -in->call.n_results));
    lua_settop(co, 0);
    lua_rawgeti(co, LUA_REGISTRYINDEX, entry(in)->fn_ref);   /* f */
    lua_getinfo(co, ">S", &ar);                        /* */
    if (ar.linedefined > 0)
        snprintf(place, sizeof place, "%s:%d", ar.short_src, ar.linedefined);
    complain(in, place, what);
}

static void complain_of_failure(struct inits *in)
{
    const struct call *c = &in->call;
    const char *at = c->failure == CALL_DEPENDENCY ? c->vm->failed_at : "";

    in->failed = true;
    buf_printf(in->complaints, "%s%s%s (init of policy \"%s\")\n", at, at[0] ? ": " : "", c->message, entry(in)->policy);
}

/* ---- running one */

static enum call_state begin(struct inits *in)
{
    struct call *c = &in->call;

    in->waited = 0;
    call_begin(c, in->gateway->vm, INIT_CPU_MS);
    if (c->co)
        lua_rawgeti(c->co, LUA_REGISTRYINDEX, entry(in)->fn_ref);   /* co: f */
    return call_run(c, 0);
}

/* How long it sleeps, or waits for news at most; 0: until there is some. */
static uint64_t pause_of(const struct call *c) { return c->wait == WAIT_SLEEP && c->wait_ms == 0 ? 1 : c->wait_ms; }

/* What it has waited since it began to; a late alarm is not its fault. */
static uint64_t waits(const struct inits *in)
{
    uint64_t t = now(in) - in->since, pause = pause_of(&in->call);

    return pause && t > pause ? pause : t;
}

static bool may_go_on(const struct inits *in)
{
    const struct call *c = &in->call;

    return (c->news && c->wait == WAIT_NEWS) || (pause_of(c) && now(in) >= in->since + pause_of(c));
}

/* False: its time for waits is over, or will be before its sleep is. */
static bool may_wait(const struct inits *in)
{
    const struct call *c = &in->call;

    return in->waited + (c->wait == WAIT_SLEEP ? c->wait_ms : waits(in)) <= INIT_WAIT_MS;
}

static uint64_t sooner(uint64_t a, uint64_t b) { return b && b < a ? b : a; }

static uint64_t when_to_come(const struct inits *in)
{
    uint64_t at = in->since + INIT_WAIT_MS - in->waited + 1, pause = pause_of(&in->call);

    if (may_go_on(in))
        return in->since;
    return sooner(sooner(at, pause ? in->since + pause : 0), desk_due(&in->desk));
}

static void finish(struct inits *in)
{
    desk_drop(&in->desk, NULL);
    call_cancel(&in->call);
    in->at++;
}

/* Begins the next one, or goes on with the one that waits. 0: it is over; else when to come again. */
static uint64_t step(struct inits *in)
{
    struct call *c = &in->call;
    enum call_state state = CALL_WAITS;

    if (!call_open(c)) {
        state = begin(in);
        in->since = now(in);
    } else if (may_go_on(in)) {
        in->waited += waits(in);
        state = call_resume(c, 0);
        in->since = now(in);
    }
    if (state == CALL_WAITS && may_wait(in)) {
        desk_take(&in->desk, c);
        return when_to_come(in);
    }
    if (state == CALL_WAITS)
        complain_of_waiting(in);
    else if (state == CALL_FAILED)
        complain_of_failure(in);
    else if (c->n_results > 0 && !lua_isnil(c->co, -c->n_results))
        complain_of_result(in);
    finish(in);
    return 0;
}

/* ---- all of them */

void inits_begin(struct inits *in, struct gateway *g, const struct desk_host *host, void *owner, struct buf *complaints)
{
    memset(in, 0, sizeof *in);
    in->gateway = g;
    in->complaints = complaints;
    desk_init(&in->desk, host, owner);
}

uint64_t inits_go(struct inits *in)
{
    desk_expire(&in->desk);
    while (in->at < in->gateway->n_inits) {
        uint64_t at = step(in);

        if (at)
            return at;
    }
    return 0;
}

void inits_answered(struct inits *in, struct service_call *w) { desk_answered(&in->desk, w); }

int inits_end(struct inits *in)
{
    bool all = in->at == in->gateway->n_inits;

    if (call_open(&in->call))
        finish(in);
    return all && !in->failed ? 0 : -1;
}
