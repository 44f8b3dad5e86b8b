/* Which model is tried: the plan's next that is free, or of a pool there the member that its rule says; and whether the same is worth another try.
 *
 * A place in the plan is a model or a pool. A model that is full, that its breaker keeps back or that probes do not reach is passed over; nothing is
 * known of most models, and then nothing is asked. Whoever is picked has a place (struct target_place) until pick_leave.
 */
#include <lauxlib.h>
#include <string.h>

#include "base/hash.h"
#include "stream/inside.h"

static uint64_t now(const struct stream *s) { return s->host->now(s->owner); }

static const struct pool *pool_here(const struct stream *s) { return s->plan[s->plan_at]->pool; }

static bool members_left(const struct stream *s)
{
    const struct pool *p = pool_here(s);
    return p && s->pick.tried != (1u << p->n) - 1;
}

static void pass_over(struct stream *s, enum target_state state, uint64_t wait_ms)
{
    struct pick *p = &s->pick;

    metrics_add(s->metrics, METRIC_targets_passed_over, 1);
    p->full = p->full || state == TARGET_FULL;
    p->wait_ms = p->wait_ms == 0 || wait_ms < p->wait_ms ? wait_ms : p->wait_ms;
}

static bool is_free(struct stream *s, const struct model *m)
{
    enum target_state state;
    uint64_t wait_ms;

    if (!m->target || target_free(m->target, now(s), &state, &wait_ms))
        return true;
    pass_over(s, state, wait_ms);
    return false;
}

/* False: another request was quicker. */
static bool take(struct stream *s, const struct model *m, const struct model *pool)
{
    if (m->target && !target_take(m->target, now(s), &s->pick.place))
        return false;
    if (s->model != m)
        s->pick.retries = 0;
    s->model = m;
    s->pick.pool = pool;
    return true;
}

/* ---- a pool */

static unsigned preferred(struct stream *s, const struct pool *p, unsigned among)
{
    unsigned running[BALANCE_MAX];

    if (s->pick.affinity.len)
        return balance_by_key(p->names, p->weights, among, s->pick.affinity.data, s->pick.affinity.len);
    if (!p->least_busy)
        return balance_next(p->balance, p->weights, among);
    for (unsigned i = 0; i < p->n; i++)
        running[i] = target_running(p->members[i]->target);
    return balance_least(p->balance, p->weights, running, among);
}

static bool member(struct stream *s, const struct model *m)
{
    const struct pool *p = m->pool;
    unsigned among = 0;

    for (unsigned i = 0; i < p->n; i++)
        if (!(s->pick.tried & 1u << i) && is_free(s, p->members[i]))
            among |= 1u << i;
    if (among && p->affinity_ref != LUA_NOREF && !s->pick.asked) {
        exchange_affinity(&s->exchange, m, &s->pick.affinity);
        s->pick.asked = true;
    }
    while (among) {
        unsigned i = preferred(s, p, among);

        among &= ~(1u << i);
        if (take(s, p->members[i], m)) {
            s->pick.tried |= 1u << i;
            return true;
        }
        pass_over(s, TARGET_FULL, 1);
    }
    return false;
}

/* ---- the plan */

static void to_place(struct stream *s, size_t at)
{
    s->plan_at = at;
    s->pick.tried = 0;
    s->pick.asked = false;
    s->pick.affinity.len = 0;
}

static bool at_place(struct stream *s)
{
    const struct model *m = s->plan[s->plan_at];

    return m->pool ? member(s, m) : is_free(s, m) && take(s, m, NULL);
}

static bool from_here(struct stream *s)
{
    while (!at_place(s)) {
        if (s->plan_at + 1 == s->n_plan)
            return false;
        to_place(s, s->plan_at + 1);
    }
    return true;
}

bool pick_first(struct stream *s)
{
    s->pick.full = false;
    s->pick.wait_ms = 0;
    to_place(s, 0);
    return from_here(s);
}

bool pick_next(struct stream *s)
{
    if (members_left(s) && at_place(s))
        return true;
    if (s->plan_at + 1 == s->n_plan)
        return false;
    to_place(s, s->plan_at + 1);
    return from_here(s);
}

bool pick_again(struct stream *s)
{
    return is_free(s, s->model) && take(s, s->model, s->pick.pool);
}

bool pick_at(struct stream *s, size_t at)
{
    if (at == s->plan_at)
        return (members_left(s) && at_place(s)) || pick_again(s);
    to_place(s, at);
    return at_place(s);
}

/* ---- a second one beside the first (hedge.c) */

static void leave(struct stream *s, struct target_place *p, enum reason why);

/* A Lua model runs here, where it does not help. */
static bool is_upstream(struct stream *s, bool found)
{
    if (!found || s->model->dialect)
        return found;
    leave(s, &s->pick.place, REASON_CLIENT_CLOSED);
    return false;
}

static bool beside(struct stream *s)
{
    bool found = is_upstream(s, members_left(s) && at_place(s));

    while (!found && s->plan_at + 1 < s->n_plan) {
        to_place(s, s->plan_at + 1);
        found = is_upstream(s, at_place(s));
    }
    return found;
}

bool pick_rival(struct stream *s, struct rival *ret)
{
    const struct model *mine = s->model;
    struct pick first = s->pick;
    size_t at = s->plan_at;
    bool found;

    s->pick = (struct pick){ .pool = first.pool, .tried = first.tried };   /* a place of its own; what affinity says is asked anew */
    found = beside(s);
    if (!found) {                                      /* nobody else: the same once more */
        s->model = mine;
        s->plan_at = at;
        s->pick.pool = first.pool;
        s->pick.tried = first.tried;
        found = pick_again(s);
    }
    buf_free(&s->pick.affinity);
    ret->model = s->model;
    ret->plan_at = s->plan_at;
    ret->pick = s->pick;
    s->pick = first;
    s->model = mine;
    s->plan_at = at;
    return found;
}

void pick_rival_leave(struct stream *s, struct rival *r, enum reason why) { leave(s, &r->pick.place, why); }

void pick_behind(struct stream *s, const struct rival *r)
{
    if (s->plan_at != r->plan_at) {
        to_place(s, r->plan_at);
        s->pick.pool = r->pick.pool;
    }
    s->pick.tried |= r->pick.tried;
}

void pick_rival_takes_over(struct stream *s, struct rival *r)
{
    s->model = r->model;
    pick_behind(s, r);
    s->pick.pool = r->pick.pool;
    s->pick.retries = 0;
    s->pick.place = r->pick.place;
    r->pick.place = (struct target_place){ 0 };
}

static bool found_none(enum reason why) { return why == REASON_MODEL_BUSY || why == REASON_MODEL_DOWN; }

bool pick_more(const struct stream *s, enum reason why)
{
    return !found_none(why) && (s->plan_at + 1 < s->n_plan || members_left(s));
}

enum reason pick_none(struct stream *s)
{
    s->model = s->plan[0];
    s->retry_after = (int64_t)((s->pick.wait_ms + 999) / 1000);
    return s->pick.full ? REASON_MODEL_BUSY : REASON_MODEL_DOWN;
}

/* ---- how it went */

/* The upstream's doing, and not what it thinks of this request. */
static bool is_failure(const struct stream *s, enum reason why)
{
    if (why == REASON_REFUSED || why == REASON_RATE_LIMITED)
        return false;
    if (why == REASON_BAD_STATUS)
        return s->upstream_status >= 500;
    return why == REASON_MODEL_ERROR || strcmp(reason_text(why)->kind, "upstream") == 0;
}

static bool is_answer(enum reason why)
{
    return why == REASON_DONE || why == REASON_REFUSED || why == REASON_RATE_LIMITED || why == REASON_BAD_STATUS;
}

void pick_answers(struct stream *s)
{
    if (s->pick.place.of && !s->pick.place.told)
        target_told(&s->pick.place, false, now(s));
}

static void leave(struct stream *s, struct target_place *p, enum reason why)
{
    if (!p->of)
        return;
    if (is_failure(s, why)) {
        if (target_told(p, true, now(s)))
            metrics_add(s->metrics, METRIC_breakers_opened, 1);
    } else if (is_answer(why) && !p->told) {
        target_told(p, false, now(s));
    }
    target_leave(p);
}

void pick_leave(struct stream *s, enum reason why) { leave(s, &s->pick.place, why); }

/* ---- the same again */

/* What may be over in a moment. Not what took its time already: then the next model's turn has come. */
static bool may_pass(const struct stream *s, enum reason why)
{
    switch (why) {
    case REASON_CONNECT_FAILED:
    case REASON_RESOLVE_FAILED:
    case REASON_RESET:
    case REASON_TRUNCATED:
    case REASON_PROTOCOL:
    case REASON_UPSTREAM_ERROR:
    case REASON_RATE_LIMITED:
        return true;
    case REASON_BAD_STATUS:
        return s->upstream_status >= 500 || s->upstream_status == 408 || s->upstream_status == 425;
    default:
        return false;
    }
}

/* From 0 to `most` - 1; the same for the same try of the same stream. */
static uint64_t drawn(const struct stream *s, uint64_t most)
{
    const uint64_t key[2] = { s->tries, 0 };
    return hash_under(key, s->id, strlen(s->id)) % most;
}

int64_t pick_retry(const struct stream *s, enum reason why)
{
    const struct retry *r = s->model->retry ? s->model->retry : s->route->retry;
    uint64_t wait;

    if (!r || s->pick.retries >= r->times || s->tries >= TRIES_MAX || !may_pass(s, why))
        return -1;
    wait = r->backoff_ms << s->pick.retries;           /* at most 9 times */
    wait = drawn(s, wait < r->max_ms ? wait : r->max_ms);
    if (s->retry_after >= 0) {
        uint64_t told = (uint64_t)s->retry_after > r->max_ms ? UINT64_MAX : (uint64_t)s->retry_after * 1000;

        if (told > r->max_ms)
            return -1;                                 /* by then another has answered */
        wait = told > wait ? told : wait;
    }
    if (s->due[CLOCK_TOTAL] && now(s) + wait >= s->due[CLOCK_TOTAL])
        return -1;
    return (int64_t)wait;
}
