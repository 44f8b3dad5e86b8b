/* What gateway.c (the whole, models, services), target.c (pools, what workers share of models) and route.c read a checked gateway file with. */
#ifndef SLUICE_SCRIPT_GATEWAY_INSIDE_H
#define SLUICE_SCRIPT_GATEWAY_INSIDE_H

#include "script/gateway.h"
#include "script/inside.h"

struct loaded {                                        /* a gateway with all that is freed with it */
    struct gateway g;
    void **owned;
    size_t n_owned;
    struct json_places **places;
    size_t n_places;
    int *refs;
    size_t n_refs;
    struct target **targets;                           /* these are closed with it */
    size_t n_targets;
    struct balance **balances;
    size_t n_balances;
};

void *read_own(struct loaded *o, void *p);             /* p is freed with the gateway */
void *read_array(struct loaded *o, size_t n, size_t size);   /* zeroed */

/* Members of the table at the top of the stack. */
const char *read_text(struct loaded *o, lua_State *L, const char *name);   /* a copy, or NULL when absent */
lua_Integer read_number(lua_State *L, const char *name);   /* 0 when absent */
bool read_flag(lua_State *L, const char *name);
int read_reference(struct loaded *o, lua_State *L, const char *name);   /* LUA_NOREF when absent */
size_t read_list(lua_State *L, const char *name);      /* t -> t list; its length, 0 when absent */
void read_clocks(lua_State *L, struct clocks *ret);

/* target.c. The table at the top is a model's, or one with a member "retry". */
void read_target(struct loaded *o, lua_State *L, struct model *m);
const struct retry *read_retry(struct loaded *o, lua_State *L);   /* NULL when absent */
void targets_close(struct loaded *o);

void read_route(struct loaded *o, lua_State *L, struct route *r);

#endif
