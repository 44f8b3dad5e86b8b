/* Routes: what lua/sluice/config.lua made of them, read into struct route. */
#include <lauxlib.h>
#include <string.h>

#include "base/mem.h"
#include "script/gateway_inside.h"
#include "script/match_value.h"

static struct header *front_headers(struct loaded *o, lua_State *L, size_t *n)   /* front -> front */
{
    struct header *h;

    *n = read_list(L, "headers") / 2;                  /* front headers */
    h = read_array(o, *n, sizeof *h);
    for (size_t i = 0; i < *n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i * 2 + 1);
        lua_rawgeti(L, -2, (lua_Integer)i * 2 + 2);    /* front headers name value */
        h[i].name = read_own(o, mem_string(lua_tostring(L, -2)));
        h[i].value = read_own(o, mem_string(lua_tostring(L, -1)));
        lua_pop(L, 2);
    }
    lua_pop(L, 1);                                     /* front */
    return h;
}

static const struct front *front(struct loaded *o, lua_State *L)   /* front -> front */
{
    struct front *f = read_array(o, 1, sizeof *f);
    const char *operation = read_text(o, L, "operation");

    f->name = read_text(o, L, "name");
    f->methods = read_text(o, L, "methods");
    f->operation = strcmp(operation, "embed") == 0 ? OPERATION_EMBED : OPERATION_CHAT;
    f->speaks = read_text(o, L, "speaks");
    f->request_id = read_text(o, L, "request_id");
    f->beside = (size_t)read_number(L, "beside");
    f->headers = front_headers(o, L, &f->n_headers);
    f->content_before = read_text(o, L, "content_before");
    f->content_after = read_text(o, L, "content_after");
    f->reasoning_before = read_text(o, L, "reasoning_before");
    f->reasoning_after = read_text(o, L, "reasoning_after");
    f->tool_before = read_text(o, L, "tool_before");
    f->tool_after = read_text(o, L, "tool_after");
    f->finish_before = read_text(o, L, "finish_before");
    f->finish_after = read_text(o, L, "finish_after");
    f->done = read_text(o, L, "done");
    f->begin_ref = read_reference(o, L, "begin");
    f->open_ref = read_reference(o, L, "open");
    f->close_ref = read_reference(o, L, "close");
    f->tool_ref = read_reference(o, L, "tool");
    f->gather = read_flag(L, "gather");
    f->finish_ref = read_reference(o, L, "finish");
    f->fault_ref = read_reference(o, L, "fault");
    f->logprobs_ref = read_reference(o, L, "logprobs");
    f->whole_ref = read_reference(o, L, "whole");
    f->respond_ref = read_reference(o, L, "respond");
    f->read_ref = read_reference(o, L, "read");
    f->error_ref = read_reference(o, L, "error");
    return f;
}

static void fronts(struct loaded *o, lua_State *L, struct route *r)   /* route -> route */
{
    size_t n = read_list(L, "fronts");                 /* route fronts */

    r->fronts = read_array(o, n, sizeof *r->fronts);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route fronts front */
        r->fronts[i] = front(o, L);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

static void policies(struct loaded *o, lua_State *L, struct route *r)
{
    r->n_policies = read_list(L, "policies");          /* route policies */
    r->policies = read_array(o, r->n_policies, sizeof *r->policies);
    for (size_t i = 0; i < r->n_policies; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route policies policy */
        r->policies[i].name = read_text(o, L, "name");
        r->policies[i].open_hooks = (unsigned)read_number(L, "open_hooks");
        r->policies[i].only_if_ref = read_reference(o, L, "only_if");
        r->conditional |= r->policies[i].only_if_ref != LUA_NOREF;
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

static void hooks(struct loaded *o, lua_State *L, struct route *r)
{
    size_t n = read_list(L, "hooks");                  /* route hooks */

    for (size_t h = 0; h < n && h < HOOK_COUNT; h++) {
        lua_rawgeti(L, -1, (lua_Integer)h + 1);        /* route hooks list */
        r->n_hooks[h] = lua_rawlen(L, -1);
        r->hooks[h] = read_array(o, r->n_hooks[h], sizeof *r->hooks[h]);
        for (size_t i = 0; i < r->n_hooks[h]; i++) {
            lua_rawgeti(L, -1, (lua_Integer)i + 1);    /* route hooks list entry */
            r->hooks[h][i].fn_ref = read_reference(o, L, "fn");
            r->hooks[h][i].policy = (int)read_number(L, "policy");
            lua_pop(L, 1);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

static const struct matcher *matcher(struct loaded *o, lua_State *L)   /* filter -> filter; the reference keeps it alive */
{
    const struct matcher *m;

    lua_getfield(L, -1, "match");                      /* filter matcher? */
    m = match_value(L, -1);
    lua_pop(L, 1);                                     /* filter */
    if (m)
        read_reference(o, L, "match");
    return m;
}

static void filters(struct loaded *o, lua_State *L, struct route *r)
{
    r->n_filters = read_list(L, "filters");            /* route filters */
    r->filters = read_array(o, r->n_filters, sizeof *r->filters);
    for (size_t i = 0; i < r->n_filters; i++) {
        struct filter *f = &r->filters[i];

        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route filters filter */
        f->kind = read_number(L, "kind");
        f->fn_ref = read_reference(o, L, "fn");
        f->policy = (int)read_number(L, "policy");
        f->shadow = (int)read_number(L, "shadow");
        f->match = matcher(o, L);
        f->match_ref = read_reference(o, L, "match_fn");
        f->replace = read_text(o, L, "replace");
        f->unit = (struct unit){ .kind = read_number(L, "unit"), .chars = (size_t)read_number(L, "chars"), .overlap = (size_t)read_number(L, "overlap") };
        f->unit_ref = read_reference(o, L, "unit_fn");
        f->when_ref = read_reference(o, L, "when");
        f->judges = read_flag(L, "judges");
        f->keeps = read_flag(L, "keeps");
        f->parallel = (size_t)read_number(L, "parallel");
        f->optimistic = read_flag(L, "optimistic");
        f->channels = (unsigned)read_number(L, "channels");
        f->max_hold = (size_t)read_number(L, "max_hold");
        f->overflow_release = read_flag(L, "overflow_release");
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

/* Its policies in monitor mode, each as a route of its own, which shares what it does not change. */
static void shadows(struct loaded *o, lua_State *L, struct route *r)
{
    r->n_shadows = read_list(L, "shadows");            /* route shadows */
    r->shadows = read_array(o, r->n_shadows, sizeof *r->shadows);
    for (size_t i = 0; i < r->n_shadows; i++) {
        struct route *w = &r->shadows[i];

        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route shadows shadow */
        *w = (struct route){ .name = r->name, .policies = r->policies, .n_policies = r->n_policies, .table_ref = r->table_ref };
        w->watches = (int)read_number(L, "policy");
        hooks(o, L, w);
        filters(o, L, w);
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
}

void read_route(struct loaded *o, lua_State *L, struct route *r)
{
    r->name = read_text(o, L, "name");
    r->files = read_text(o, L, "files");
    r->heartbeat = (uint64_t)read_number(L, "heartbeat");
    r->prerelease = (struct window){ .chars = (size_t)read_number(L, "prerelease_chars"), .ms = (uint64_t)read_number(L, "prerelease_ms") };
    if (read_number(L, "hedge_ms")) {
        r->hedge = read_array(o, 1, sizeof *r->hedge);
        *r->hedge = (struct hedge){ .after = (uint64_t)read_number(L, "hedge_ms"), .budget = (unsigned)read_number(L, "hedge_budget") };
    }
    r->continues = strcmp(read_text(o, L, "on_death") ? read_text(o, L, "on_death") : "", "continue") == 0;
    r->table_ref = read_reference(o, L, "table");
    r->retry = read_retry(o, L);
    r->n_plan = read_list(L, "plan");                  /* route plan */
    for (size_t i = 0; i < r->n_plan; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route plan name */
        r->plan[i] = gateway_model(&o->g, lua_tostring(L, -1));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
    fronts(o, L, r);
    read_clocks(L, &r->clocks);
    r->n_paths = read_list(L, "paths");                /* route paths */
    r->paths = read_array(o, r->n_paths, sizeof *r->paths);
    for (size_t i = 0; i < r->n_paths; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);        /* route paths path */
        r->paths[i] = read_own(o, mem_string(lua_tostring(L, -1)));
        lua_pop(L, 1);
    }
    lua_pop(L, 1);                                     /* route */
    policies(o, L, r);
    hooks(o, L, r);
    filters(o, L, r);
    shadows(o, L, r);
}
