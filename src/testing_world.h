/* What testing_host.c (a host that writes down what it is asked for), testing_init.c (the inits of a gateway there) and testing_world.c (the world as specs
 * see it) share.
 */
#ifndef SLUICE_TESTING_WORLD_H
#define SLUICE_TESTING_WORLD_H

#include <lua.h>

#include "base/list.h"
#include "script/init.h"
#include "script/vm.h"
#include "stream/stream.h"

#define EPOCH_MS 1000000                               /* where virtual time starts */

struct world {
    struct vm *vm;
    struct gateway *gateway;
    struct metrics metrics;
    uint64_t now;
    struct list streams;
    int next_id;
    unsigned asked;                                    /* exchanges so far: they are named by it; goes back with a mark */
};

/* One exchange in the world, or the inits of its gateway. What they asked for is written down in order, for the spec to read. */
struct play {
    struct list link;
    struct world *world;
    int id;
    struct stream *stream;                             /* NULL: closed */
    struct inits *inits;                               /* NULL: an exchange, or they are over */
    struct buf complaints;                             /* of theirs */
    struct http_request request;
    struct header *headers;
    char *body;
    size_t body_len;
    uint64_t alarm;
    struct list errands;                               /* calls of services that the spec has to answer (service_call.link) */
    bool slow, wants_body;
    lua_State *L;                                      /* of the spec, while a feed runs */
    int said;                                          /* stack index of the table that the stream's requests go into */
};

extern struct coverage *testing_coverage;              /* where the lines that policies run are noted; NULL: nowhere */
extern const struct stream_host testing_host;
extern const struct desk_host testing_desk;            /* the same, for inits */
struct play *testing_play(struct world *w, int id);
void testing_enter(struct play *p, lua_State *L);      /* the result of each call of the module: what was asked for meanwhile */
int testing_leave(struct play *p, lua_State *L);
void testing_say_loaded(struct play *p);               /* how the inits ended, as an entry */

int testing_init(lua_State *L, struct world *w);       /* world:init() -> said, id */
void testing_init_go(struct play *p);
void testing_init_answered(struct play *p, struct service_call *w);
void testing_init_give_up(struct play *p);             /* harmless when none run */

int testing_save(lua_State *L, struct world *w);       /* world:save() -> mark */
int testing_restore(lua_State *L, struct world *w);    /* world:restore(mark) */
int testing_forget(lua_State *L);                       /* forget(): counters, limiters and caches forget everything */
int luaopen_sluice_world(lua_State *L);                /* the module sluice.world of the specs' Lua state */

#endif
