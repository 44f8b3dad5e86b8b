/* One client request that a stream answers: the stream's host on the network. */
#ifndef SLUICE_SERVE_VISIT_H
#define SLUICE_SERVE_VISIT_H

#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "script/gateway.h"
#include "serve/errand.h"
#include "wire/http.h"

struct conn;
struct generation;
struct stream;
struct upstream;
struct visit;
struct watches;

/* What visits need of the site they belong to. */
struct visit_ground {
    uv_loop_t *loop;
    struct generation *generation;                     /* what new requests begin with */
    struct errand_ways ways;                           /* to upstreams and services */
    struct metrics *metrics;
    struct list visits;                                /* running ones */
    struct list lingering;                             /* upstream transfers whose answer is complete, ending by themselves */
    int64_t unix_offset;                               /* wall clock minus loop clock, ms */
    uint64_t random;
    struct watches *watches;                           /* who wants to see time lines; NULL: nobody */
    void (*on_trace)(void *owner, unsigned watch, struct buf *text);   /* takes the text */
    void *trace_owner;
};

/* Takes the request, which begins with that generation; call inside on_request. */
void visit_start(struct visit_ground *g, struct generation *begins, struct conn *c, const struct route *r, const struct front *f, const struct http_request *request);
void visit_shutdown_all(struct visit_ground *g, const struct generation *of);
/* Gives up transfers that linger longer than 2 s, all of them when `all`. */
void visit_sweep(struct visit_ground *g, bool all);

/* News of the server for a request that a visit owns. */
void visit_on_body(void *visit, const char *bytes, size_t len);
void visit_on_drain(void *visit);
void visit_on_gone(void *visit);

#endif
