/* What testing_host.c (a stream's host that writes down what it is asked for) and testing_world.c (the world as specs see it) share. */
#ifndef SLUICE_TESTING_WORLD_H
#define SLUICE_TESTING_WORLD_H

#include <lua.h>

#include "base/list.h"
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
};

/* One exchange in the world. What its stream asked for is written down in order, for the spec to read. */
struct play {
    struct list link;
    struct world *world;
    int id;
    struct stream *stream;                             /* NULL: closed */
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
int testing_save(lua_State *L, struct world *w);       /* world:save() -> mark */
int testing_restore(lua_State *L, struct world *w);    /* world:restore(mark) */
int testing_forget(lua_State *L);                       /* forget(): counters, limiters and caches forget everything */
int luaopen_sluice_world(lua_State *L);                /* the module sluice.world of the specs' Lua state */

#endif
