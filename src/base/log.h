/* One event, one line, one write(2): whole lines even when all workers log at once.
 *
 *     struct log_line line;
 *     if (log_begin(&line, LOG_INFO, "request")) {
 *         log_str(&line, "id", id);
 *         log_int(&line, "status", 200);
 *         log_end(&line);
 *     }
 *
 * Text format (logfmt): `2026-11-23T14:52:26.123Z info request id=... status=200`.
 * JSON format: {"time":...,"level":"info","event":"request",...}.
 * Values are escaped (controls, C1, U+2028/9, bidi marks, quotes; invalid UTF-8 as \xNN in text and U+FFFD in JSON), one value at most
 * 1,024 bytes as written (then "..."), one line at most 8 KiB: a field that finds no room is left out. Events and keys may come from
 * scripts and are made harmless too. Known secrets (base/secret.h) are masked in values. Thread-safe.
 */
#ifndef SLUICE_BASE_LOG_H
#define SLUICE_BASE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };
enum log_format { LOG_TEXT, LOG_JSON };

struct log_line {
    struct buf bytes;
    enum log_level level;
};

void log_setup(enum log_level max, enum log_format format, int fd);   /* before the workers start; default: info, text, stderr */
int log_level_parse(const char *name, enum log_level *ret);           /* "error" "warn" "info" "debug"; 0 or -1 */
int log_format_parse(const char *name, enum log_format *ret);         /* "text" "json"; 0 or -1 */

/* Lines up to level `max` are handed to `fn` too, without their LF; for tests. NULL: to nobody. Set while no other thread logs. */
void log_tap(enum log_level max, void (*fn)(void *arg, const char *line, size_t len), void *arg);
void log_mute(bool on);                                               /* lines go to the tap only */

bool log_begin(struct log_line *l, enum log_level level, const char *event);   /* false: not wanted, nothing to end */
void log_str(struct log_line *l, const char *key, const char *value);          /* NULL: the field is left out */
void log_bytes(struct log_line *l, const char *key, const char *value, size_t len);
void log_int(struct log_line *l, const char *key, int64_t value);
void log_double(struct log_line *l, const char *key, double value);             /* one that is not finite is written as text */
void log_bool(struct log_line *l, const char *key, bool value);
void log_end(struct log_line *l);                                              /* writes and frees */

/* A value as it stands in a line, without its quotes: for whatever else goes to a terminal or into JSON. */
void log_escape(struct buf *b, const char *value, size_t len, enum log_format as);

/* The short way: one free sentence in the field "message". */
void log_say(enum log_level level, const char *event, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

#endif
