/* Calls of the services that a gateway file declares: what a script asks for, what it is told.
 *
 * A script that calls a service leaves a struct service_call in its call's `wants` and waits (WAIT_NEWS). Who runs the call takes it from there, has it
 * made, fills in the answer and hands it back with service_answer; then it resumes the call.
 */
#ifndef SLUICE_SCRIPT_SERVICE_H
#define SLUICE_SCRIPT_SERVICE_H

#include <lua.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/breaker.h"
#include "base/buf.h"
#include "base/list.h"
#include "wire/http.h"

struct call;
struct stream;

struct service {
    const char *name, *url;                            /* url without trailing '/'; NULL: a Redis server */
    struct {
        const char *host;                              /* NULL: it speaks HTTP */
        int port;
        const char *login;                             /* commands that begin a connection (wire/resp.h), so many */
        size_t login_len;
        unsigned login_replies;
    } redis;
    const char *ca;                                    /* PEM file or NULL */
    uint64_t timeout_ms, connect_ms;
    unsigned max_parallel;                             /* a worker; 0: no bound */
    size_t max_body;                                   /* of an answer, bytes */
    struct breaker breaker;
    unsigned running;                                  /* the host's: calls under way ... */
    struct list waiting;                               /* ... and those that wait for their turn (service_call.link) */
};

enum service_end { SERVICE_OK, SERVICE_TIMEOUT, SERVICE_CONNECT, SERVICE_TLS, SERVICE_BROKEN, SERVICE_TOO_LARGE, SERVICE_PROTOCOL, SERVICE_BREAKER_OPEN };
extern const char *const service_end_names[];          /* err.kind: "timeout" "connect" "tls" ... */

struct service_call {
    struct service_call *next;                         /* in call.wants, call.answers */
    struct list link;                                  /* who has it made may use these three */
    void *owner, *work;
    struct stream *stream;                             /* set by a stream whose call it is */
    struct list running;                               /* of the desk: */
    struct call *asker;
    uint64_t due;                                      /* when its time is up */
    unsigned id;
    struct service *service;

    char *method, *url;                                /* NULL for Redis: `body` is a command, `answer` a reply (wire/resp.h) */
    struct header *headers;                            /* owned */
    size_t n_headers;
    struct buf body;
    bool has_body;
    uint64_t timeout_ms;

    enum service_end end;
    int status;
    struct buf head;                                   /* of the answer: name NUL value NUL ... */
    size_t n_head;
    struct buf answer;
    char *message;                                     /* when it failed: what the network said; may be NULL */
};

void service_call_free(struct service_call *w);
void service_head(struct service_call *w, int status, const struct header *headers, size_t n);   /* copies an answer's head */
/* The call is over, well or not: `c` may look at it as soon as it is resumed. */
void service_answer(struct call *c, struct service_call *w);

/* For host.c. */
int service_start(lua_State *L);                       /* host.service_start(index, method, target, headers, body | nil, timeout ms | nil) -> id */
int service_command(lua_State *L);                     /* host.service_command(index, { word, ... }) -> id */
int service_take(lua_State *L);                        /* host.service_take(id) -> nil: not yet | status, headers, body; or 200, reply | false, kind, message */
int service_wait(lua_State *L);                        /* host.wait(what, ms | nil): until there is news of any call, or so long */

#endif
