/* `sluice dev`: the gateway as `run` has it, for who writes policies. Watches the files that it read and the specs beside it; on a change it has the gateway
 * reload and runs the specs. Of the main thread, but for dev_show_log.
 */
#ifndef SLUICE_DEV_H
#define SLUICE_DEV_H

#include <uv.h>

#include "base/log.h"

struct dev;

/* The log becomes readable lines on stdout (dev_lines.c): before any thread is started. */
void dev_show_log(enum log_level level);

/* digest: of what is served. `reload`: the file and all that it names can be read, and differ from what was read before. A file that cannot is told here, and
 * nothing else happens. */
void dev_open(struct dev **ret, uv_loop_t *loop, const char *file, const char *lua_dir, const char *digest, void (*reload)(void *owner), void *owner);
void dev_close(struct dev *d);                         /* ends the specs that run; the loop must still run for its handles. NULL: nothing */

/* dev_lines.c: a line of our own, as all the others: with the time, coloured where there is a terminal. One write. */
enum dev_mood { DEV_PLAIN, DEV_GOOD, DEV_BAD };
void dev_say(enum dev_mood mood, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
