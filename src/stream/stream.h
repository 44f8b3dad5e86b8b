/* One request's life, without I/O: the machine in the middle of Sluice.
 *
 * It is fed what happens (functions stream_...) and asks its host for what it needs (struct stream_host). Two hosts exist: serve/ (the
 * network) and testing.c (a virtual world driven from busted), so both run the same core.
 *
 *     stream_open -> accept hooks -> host.read_body -> stream_body -> validate, route, prompt hooks -> host.attempt
 *     stream_upstream_head, stream_upstream_bytes..., stream_upstream_end -> filters -> host.head, host.write..., host.end -> log hooks -> host.closed
 *
 * Rules for hosts: never call a stream_ function from inside a host function. Exactly one `closed` comes for each stream_open; it may call
 * stream_free, and the stream asks for nothing afterwards. All times are milliseconds of one monotonic clock (host.now), and never 0.
 */
#ifndef SLUICE_STREAM_STREAM_H
#define SLUICE_STREAM_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "script/exchange.h"
#include "script/gateway.h"
#include "stream/reason.h"
#include "wire/http.h"

struct service_call;
struct stream;

/* A stream may ask two upstreams at a time (a hedge). Each has a number, 0 or 1, from `attempt` until it is cancelled, finished or has ended. */
#define UPSTREAMS_MAX 2

struct stream_host {
    uint64_t (*now)(void *owner);
    void (*read_body)(void *owner);                                             /* answered by stream_body, later */
    void (*reply)(void *owner, int status, const struct header *headers, size_t n, struct buf *body);   /* a whole answer; ends the client's side */
    void (*head)(void *owner, int status, const struct header *headers, size_t n);                      /* a streamed answer begins */
    bool (*write)(void *owner, struct buf *bytes);                              /* takes the bytes; false: wait for stream_drained */
    void (*end)(void *owner);                                                   /* the streamed answer is complete */
    int (*attempt)(void *owner, unsigned which, const struct upstream_request *want, const char *ca, uint64_t connect_ms);   /* 0, or -1: not even started */
    void (*cancel)(void *owner, unsigned which);                                /* give the upstream up, at once */
    void (*finish)(void *owner, unsigned which);                                /* the answer is complete: the transfer may end by itself, its news are not wanted */
    void (*hold)(void *owner, unsigned which);                                  /* stop reading the upstream ... */
    void (*release)(void *owner, unsigned which);                               /* ... go on */
    int (*service)(void *owner, struct service_call *w);                        /* 0: stream_service_answer comes once; -1: not even started */
    void (*service_cancel)(void *owner, struct service_call *w);                /* its answer is not wanted any more; may still wait for its turn */
    void (*wake)(void *owner, uint64_t at);                                     /* call stream_tick then; replaces the alarm before; 0: none wanted */
    void (*closed)(void *owner);                                                /* all is over and logged */
};

struct stream_facts {
    const char *id;                                    /* copied */
    const char *ip;                                    /* the client behind trusted proxies; copied */
    const struct front *front;                         /* of the route, what is spoken at this path */
    const struct http_request *request;                /* must live until stream_body came back, the reply was given, or the client is gone */
    bool trace;                                        /* its time line is kept */
};

/* Starts with the accept hooks; may ask its host for things before it returns (so the host must know the stream by *ret, which is set first). */
void stream_open(struct stream **ret, const struct stream_host *host, void *owner, const struct gateway *g, const struct route *r,
                 const struct stream_facts *facts, struct metrics *metrics);
void stream_free(struct stream *s);

void stream_body(struct stream *s, const char *bytes, size_t len);              /* the request's whole body */
void stream_upstream_head(struct stream *s, unsigned which, int status, const struct header *headers, size_t n);
void stream_upstream_bytes(struct stream *s, unsigned which, const char *bytes, size_t len);
void stream_upstream_end(struct stream *s, unsigned which, enum reason why, const char *text);   /* REASON_DONE: its HTTP framing was complete; text: detail for the log */
void stream_service_answer(struct stream *s, struct service_call *w);           /* filled in by the host, which forgets it */
void stream_drained(struct stream *s);                                          /* the client took what waited */
void stream_client_gone(struct stream *s);                                      /* the host must not be asked for the client's side any more */
void stream_tick(struct stream *s);                                             /* the alarm rang (early or late does no harm) */
void stream_shutdown(struct stream *s, enum reason why);                        /* its time is over (SHUTTING_DOWN, REPLACED): one error event, then the end */

const char *stream_id(const struct stream *s);
/* Until stream_free. What policies told by ctx:tag, values as text; the most bytes that one filter held back. */
void stream_tags(struct stream *s, void (*fn)(void *arg, const char *name, const char *value), void *arg);
size_t stream_held_max(const struct stream *s);
/* In host.closed. Whom policies say that the client is (ctx.key); false: nobody. The time line of a stream that was opened with facts.trace, as lines of text;
 * once. */
bool stream_key(struct stream *s, struct buf *ret);
void stream_trace(struct stream *s, const char *key, struct buf *out);

#endif
