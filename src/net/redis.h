/* Commands to Redis servers: each asked once, answered once. Hides how they travel.
 *
 * A connection carries one command at a time, so a late answer is never taken for another's: what is given up takes its connection along. Idle ones are kept
 * for a while and used again. Names are resolved off the loop's thread. No TLS.
 *
 * Invariant: after redis_start returned 0, on_done comes exactly once, whatever happens, unless redis_cancel was called; and never from inside a call that you made.
 */
#ifndef SLUICE_NET_REDIS_H
#define SLUICE_NET_REDIS_H

#include <stddef.h>
#include <stdint.h>
#include <uv.h>

#include "base/buf.h"

struct redis_pool;                                     /* one per loop */
struct redis;                                          /* one command on its way */

enum redis_end {
    REDIS_OK,                                          /* it answered, be it with an error of its own */
    REDIS_CONNECT,                                     /* no address, refused, unreachable, or it does not let us in */
    REDIS_CONNECT_TIMEOUT,
    REDIS_RESET,                                       /* the connection broke: nobody knows whether the command was run */
    REDIS_PROTOCOL,                                    /* what came is no reply, or more than one */
    REDIS_TOO_LARGE,
};

struct redis_request {                                 /* read during redis_start only; copied as needed */
    const char *host;
    int port;
    const char *login;                                 /* commands (wire/resp.h) that begin a connection, each to be answered without an error */
    size_t login_len;
    unsigned login_replies;
    const char *command;                               /* one command */
    size_t command_len;
    size_t max_reply;                                  /* bytes */
    uint64_t connect_ms;                               /* name, TCP and login together */
};

/* `reply`: the reply's bytes, may be taken; empty unless OK. `text`: a scrubbed sentence, "" when OK. The command is gone when this is called. */
typedef void redis_done(void *owner, enum redis_end end, struct buf *reply, const char *text);

struct redis_pool *redis_pool_open(uv_loop_t *loop);
void redis_pool_close(struct redis_pool *p);                            /* cancels silently what still runs; handles close with the loop's next turns */

int redis_start(struct redis **ret, struct redis_pool *p, const struct redis_request *want, redis_done *on_done, void *owner);
void redis_cancel(struct redis *r);                    /* no news comes any more. The server may still run what it has read */

#endif
