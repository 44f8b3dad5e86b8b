/* What server.c, conn.c, request.c and answer.c share: one client connection.
 *
 *     server.c   listening, the cap, the flush once a turn, the clocks      conn.c    bytes in, the states, the ends
 *     request.c  a head becomes a request; a body is read                  answer.c  replies and streams become bytes out
 */
#ifndef SLUICE_NET_CONN_H
#define SLUICE_NET_CONN_H

#include <llhttp.h>
#include <time.h>
#include <uv.h>

#include "base/buf.h"
#include "base/list.h"
#include "net/server.h"
#include "wire/date.h"
#include "wire/head.h"

enum conn_state {
    CONN_HEAD,                                         /* a head is expected or arriving (idle before its first byte) */
    CONN_ANSWER,                                       /* a request is with its owner */
    CONN_DONE,                                         /* its answer is complete; once flushed, the next head or CLOSING */
    CONN_CLOSING,                                      /* the last bytes leave, then FIN */
    CONN_LINGER,                                       /* FIN sent; what still comes is read and dropped, for a moment */
    CONN_DEAD,                                         /* uv_close was called */
};

enum body_state { BODY_NONE, BODY_UNREAD, BODY_READING, BODY_COMPLETE };

struct conn {
    uv_tcp_t tcp;
    struct list link;                                  /* in server->conns */
    struct list dirty;                                 /* in server->dirty */
    struct server *server;
    enum conn_state state;
    char ip[46];

    struct buf in;                                     /* received, not yet parsed */
    struct head_guard guard;
    size_t guarded;                                    /* bytes of `in` that the guard has seen */
    bool fresh, reading, eof;                          /* fresh: no request was read yet */
    uint64_t deadline;                                 /* loop time of the state's own clock; 0: none */

    llhttp_t *parser;                                  /* from the head to the body's end */
    struct http_request request;
    char *strings;                                     /* the request's */
    enum body_state body_state;
    struct buf body;
    size_t quiet;                                      /* bytes of the body's framing since something came of it */
    bool last_chunk, body_owed;                        /* owed: on_body with nothing, at the end of this turn */
    int body_error;                                    /* status to refuse the body with */
    void *owner;
    bool head_only, chunked, streaming, keep, want_drain;

    struct buf payload;                                /* of a chunked answer: gathered for one chunk */
    struct buf out;                                    /* framed, not yet offered to the kernel */
    struct buf sending;                                /* with uv_write */
    uv_write_t write;
    uv_shutdown_t shutdown;
    size_t queue_seen;                                 /* at the last look: has the kernel taken anything since? */
    uint64_t progress_at;
    size_t dropped;                                    /* while lingering */
};

struct server {
    uv_loop_t *loop;
    uv_tcp_t listener;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_idle_t busy;                                    /* active while someone is dirty: the loop must not block */
    uv_timer_t clock;
    struct server_limits limits;
    struct server_events events;
    void *owner;
    struct metrics *metrics;
    struct list conns, dirty;
    unsigned n_conns;
    bool waiting_accept;                               /* a connection waits at the cap */
    bool stopped;                                      /* accepting has ended */
    bool closing;
    void (*on_closed)(void *owner);
    int handles;                                       /* open uv handles, connections' too */
    time_t date_at;
    char date[DATE_HTTP_LEN + 1];
    char read_buffer[64 * 1024];                       /* one for the loop: bytes move on before the next read */
};

/* server.c */
void server_dirty(struct conn *c);                     /* flush it at the end of this turn */
void server_conn_closed(struct server *s);             /* after the memory of one went */
const char *server_date(struct server *s);

/* conn.c */
void conn_accept(struct server *s);
void conn_process(struct conn *c);                     /* parses what `in` holds as far as the state allows */
void conn_flush(struct conn *c);                       /* offers the gathered bytes to the kernel; goes on with the next request */
void conn_check_clock(struct conn *c, uint64_t now);
void conn_lost(struct conn *c);                        /* the client is gone or too slow: tells the owner; closes */
void conn_kill(struct conn *c);                        /* closes without telling */

/* request.c */
void request_read_head(struct conn *c, size_t head_len);
void request_read_body(struct conn *c);
void request_free(struct conn *c);

/* answer.c */
void answer_refuse(struct conn *c, int status, const char *code, const char *why);   /* one last answer, then close */
void answer_frame(struct conn *c);                     /* payload -> out, as one chunk */

#endif
