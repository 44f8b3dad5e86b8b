/* The door for operators: a Unix socket beside a running gateway, one line in, some lines back. `sluice reload`, `promote`, `rollback` and `status` knock here.
 *
 * Each gateway file has its own socket, named by the file's real path, in a directory that only its user can enter
 * ($XDG_RUNTIME_DIR/sluice or /tmp/sluice-UID). An answer's lines begin with "+ " (done), "- " (a mistake) or "= " (ask again soon).
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
void control_answer(struct control_client *from, struct buf *answer);   /* takes the answer; once */
void control_close(struct control *c);                 /* the loop must still run for its handles; removes the socket. NULL: nothing */

/* The other side: sends the command to the gateway that runs `file` and prints its answer, "+ " on stdout, "- " on stderr; asks again while it says "= ".
 * Returns the exit code: 0, or 1. */
int control_ask(const char *file, const char *command);

#endif
