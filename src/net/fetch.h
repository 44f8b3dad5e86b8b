/* One exchange with an upstream: started once, ended once. Hides libcurl.
 *
 * Knows HTTP and time; knows nothing of providers, policies or Lua. Only the origin in the URL is contacted: no redirects, no proxy from the
 * environment, no netrc, cookies, alt-svc, HSTS or Negotiate. Certificates and host names are always verified. Asks for identity encoding;
 * an upstream that sends gzip or deflate anyway is decoded statefully.
 *
 * Invariant: after fetch_start returned 0, on_done comes exactly once, whatever happens, unless fetch_cancel was called; and no news comes
 * from inside a call that you made. on_head comes at most once, before any on_bytes (1xx answers are not told).
 */
#ifndef SLUICE_NET_FETCH_H
#define SLUICE_NET_FETCH_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "wire/http.h"

struct fetch_pool;                                     /* one per loop: connections and easy handles, reused */
struct fetch;

enum fetch_end {
    FETCH_OK,                                          /* the response was complete by its own framing */
    FETCH_BAD_URL,
    FETCH_RESOLVE,                                     /* the host name has no address */
    FETCH_CONNECT,                                     /* refused, unreachable */
    FETCH_CONNECT_TIMEOUT,
    FETCH_TLS,                                         /* handshake, certificate or host name; the text says which */
    FETCH_RESET,                                       /* the connection broke, or closed before its framing ended */
    FETCH_DECODE,                                      /* bad content encoding */
    FETCH_PROTOCOL,                                    /* not HTTP, or malformed */
};

struct fetch_request {                                 /* read during fetch_start only; copied as needed */
    const char *method;
    const char *url;                                   /* http or https */
    const struct header *headers;
    size_t n_headers;
    const char *body;                                  /* NULL: none */
    size_t body_len;
    const char *ca;                                    /* file with CA certificates (PEM), or NULL: the system's */
    uint64_t connect_ms;                               /* 0: 10 s; covers name, TCP and TLS */
};

struct fetch_events {
    void (*on_head)(void *owner, int status, const struct header *headers, size_t n);   /* strings live for this call only */
    void (*on_bytes)(void *owner, const char *bytes, size_t len);                       /* bytes live for this call only */
    void (*on_done)(void *owner, enum fetch_end end, const char *text);                 /* text: scrubbed sentence, "" when OK; the fetch is gone when this returns */
};

int fetch_pool_open(struct fetch_pool **ret, uv_loop_t *loop);          /* 0 or a negative uv code */
void fetch_pool_close(struct fetch_pool *p);                            /* cancels silently what still runs; handles close with the loop's next turns */

int fetch_start(struct fetch **ret, struct fetch_pool *p, const struct fetch_request *want, const struct fetch_events *events, void *owner);
/* Flow: while held no on_bytes comes and the socket is not read. Bytes that curl already had are kept for the release. Idempotent. May be called in on_bytes. */
void fetch_hold(struct fetch *f);
void fetch_release(struct fetch *f);
/* Ends it at once, also while connecting; no news comes any more, the upstream sees its connection close. Not inside on_done. Allowed inside on_head and on_bytes. */
void fetch_cancel(struct fetch *f);

#endif
