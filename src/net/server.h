/* The HTTP/1.x server: connections, requests in, answers out. Knows bytes and time; nothing of routes, policies or Lua.
 *
 * One server belongs to one loop (one worker). A connection carries requests one after another; a pipelined request waits, unparsed,
 * until the answer before it has ended. For each request, in this order:
 *
 *     on_request   the head is in and passed every guard of wire/head.h and the limits below
 *     on_body      only after conn_read_body: the whole body, at most the limit (bigger ones were answered 413 by us)
 *     on_drain     only after conn_write returned false: the client took what was waiting, write on
 *     on_gone      the client left, stalled or broke the rules before the answer ended; the request is dead
 *
 * After conn_end or on_gone no further news of that request comes. News never comes from inside a call that you made, and may not
 * free the server. The request and its strings live from on_request until conn_end or on_gone returned.
 *
 * While an answer is under way the client is watched: FIN or RST is on_gone at once, also when nothing is being sent.
 */
#ifndef SLUICE_NET_SERVER_H
#define SLUICE_NET_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"
#include "base/metrics.h"
#include "wire/http.h"

struct server;
struct conn;

struct server_limits {                                 /* 0 means the default in brackets */
    size_t head_bytes;                                 /* [64 KiB] else 431 */
    size_t body_bytes;                                 /* [1 MiB] else 413, decided before reading where Content-Length tells */
    unsigned connections;                              /* [1024] per server; at the cap accepting stops until one closes */
    uint64_t head_ms;                                  /* [10 s] from accept, or the first byte of a next request, to the head's end: 408 */
    uint64_t body_ms;                                  /* [30 s] from the head's end to the body's end: 408 */
    uint64_t idle_ms;                                  /* [75 s] between requests: closed silently */
    uint64_t stall_ms;                                 /* [60 s] bytes wait and the client took none: on_gone, reset */
    unsigned sharers;                                  /* [1] servers of this process: they share its descriptors */
    size_t high_water;                                 /* [128 KiB] conn_write returns false from here on */
    size_t low_water;                                  /* [32 KiB] on_drain comes at or below */
};

struct server_events {
    void (*on_request)(void *owner, struct conn *c, const struct http_request *r);
    void (*on_body)(void *request_owner, const char *bytes, size_t len);
    void (*on_drain)(void *request_owner);
    void (*on_gone)(void *request_owner);
};

/* Listens at host:port ("0.0.0.0", "::1", "::" is dual-stack; port 0 picks one, see server_port) with SO_REUSEPORT when `share` is true.
 * 0 or a negative uv code. server_close stops accepting, drops idle connections, and calls `on_closed` when the last connection is gone. */
int server_open(struct server **ret, uv_loop_t *loop, const char *host, int port, bool share, const struct server_limits *limits,
                const struct server_events *events, void *owner, struct metrics *metrics);
/* Whether the address is free: 0 or a negative uv code. For a process whose servers share it, since another process might share it as well. */
int server_probe(const char *host, int port);
int server_port(const struct server *s);
/* Drain: accept no more (the listening socket closes), close idle connections, answer what runs with `Connection: close`. */
void server_stop_accepting(struct server *s);
unsigned server_connections(const struct server *s);
/* Resets every connection that is left (on_gone for running requests), frees the server, then calls on_closed(owner). */
void server_close(struct server *s, void (*on_closed)(void *owner));

/* Who gets on_body, on_drain, on_gone for this request; call it inside on_request. */
void conn_own(struct conn *c, void *request_owner);
/* Ask for the body (sends 100 Continue if the client waits for it). on_body comes later, also for an empty body. */
void conn_read_body(struct conn *c);

/* A whole answer. `headers` need no Content-Length, Date or Connection: we add them. The body is taken. For HEAD the body is left out, its length told.
 * Ends the request. An unread request body is drained up to a small bound, else the connection closes after the answer. */
void conn_reply(struct conn *c, int status, const struct header *headers, size_t n, struct buf *body);
/* A streamed answer: chunked on 1.1, close-delimited on 1.0; for HEAD the head only. Bytes wait for the end of this loop turn and leave in one write. */
void conn_head(struct conn *c, int status, const struct header *headers, size_t n);
bool conn_write(struct conn *c, struct buf *bytes);    /* takes the bytes; false: at the high-water mark, wait for on_drain */
void conn_end(struct conn *c);                         /* last chunk; keep-alive goes on if both sides want it */
void conn_abort(struct conn *c);                       /* no clean end possible: reset; no on_gone follows */
size_t conn_waiting(const struct conn *c);             /* bytes not yet taken by the kernel */

#endif
