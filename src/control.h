/* The door for operators: a Unix socket beside a running gateway, one line in, some lines back. `sluice reload`, `status`, `trace` and their kin knock here
 * (knock.h).
 *
 * Each gateway file has its own socket, named by the file's real path, in a directory that only its user can enter
 * ($XDG_RUNTIME_DIR/sluice or /tmp/sluice-UID). An answer's lines begin with "+ " (done), "- " (a mistake), "~ " (said beside it) or "= " (ask again
 * soon). The answer of who stayed ends with a line "." when all is told; one without it was cut off.
 */
#ifndef SLUICE_CONTROL_H
#define SLUICE_CONTROL_H

#include <uv.h>

#include "base/buf.h"

#define CONTROL_LINE_MAX 200                           /* bytes of a command */

struct control;
struct control_client;                                 /* who asked */

/* Serves the file's socket on the loop; on_command appends the answer's lines, or none: then control_answer comes later, before control_close. 0; or -1 and
 * a sentence in *why: another process serves it, or the directory is not ours. */
int control_open(struct control **ret, uv_loop_t *loop, const char *file,
                 void (*on_command)(void *owner, const char *line, struct control_client *from, struct buf *answer), void *owner, struct buf *why);
void control_close(struct control *c);                 /* the loop must still run for its handles; removes the socket. NULL: nothing */

/* Within on_command: the answer comes bit by bit, the client stays until control_answer. on_gone comes once if it leaves before (or does not read what it is
 * sent), perhaps from within control_send; then it is gone. */
void control_stay(struct control_client *from, void (*on_gone)(void *what), void *what);
void control_send(struct control_client *from, struct buf *text);   /* takes the text. May drop the client */
void control_answer(struct control_client *from, struct buf *text); /* takes all, or the last, of the answer; once: the client is not ours any more */

/* The other side: a connection to the gateway of this user that runs `file`. A descriptor; or -1 and a sentence in *why. */
int control_connect(const char *file, struct buf *why);

#endif
