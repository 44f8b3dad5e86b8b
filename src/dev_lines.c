/* The log as a person reads it who sits before it: each line of the JSON log in, one readable line out. Called by whatever thread logs: nothing here is shared
 * but what dev_show_log set.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "dev.h"
#include "base/buf.h"
#include "wire/json.h"

#define FIELDS_MAX 64
#define SHOWN_AROUND 1                                 /* lines of a script before and behind the one that failed */

struct field { struct json_token key, value; bool told; };
struct entry {                                         /* a line of the log */
    struct field fields[FIELDS_MAX];
    size_t n;
};

static bool coloured;

/* ---- writing */

static void put_time(struct buf *out)
{
    time_t t = time(NULL);
    struct tm tm;
    char text[16];

    localtime_r(&t, &tm);
    strftime(text, sizeof text, "%H:%M:%S  ", &tm);
    buf_puts(out, text);
}

static void colour(struct buf *out, enum dev_mood mood)
{
    static const char *const codes[] = { [DEV_GOOD] = "\033[32m", [DEV_BAD] = "\033[31m" };

    if (coloured && mood != DEV_PLAIN)
        buf_puts(out, codes[mood]);
}

static void plain(struct buf *out, enum dev_mood mood)
{
    if (coloured && mood != DEV_PLAIN)
        buf_puts(out, "\033[0m");
}

static void write_line(struct buf *line)
{
    size_t at = 0;

    if (line->len == 0 || line->data[line->len - 1] != '\n')
        buf_putc(line, '\n');
    while (at < line->len) {
        ssize_t n = write(STDOUT_FILENO, line->data + at, line->len - at);

        if (n <= 0)
            break;
        at += (size_t)n;
    }
    buf_free(line);
}

void dev_say(enum dev_mood mood, const char *fmt, ...)
{
    struct buf line = BUF_EMPTY;
    va_list ap;

    put_time(&line);
    colour(&line, mood);
    va_start(ap, fmt);
    buf_vprintf(&line, fmt, ap);
    va_end(ap);
    plain(&line, mood);
    write_line(&line);
}

/* ---- an entry */

static void read_entry(struct entry *e, const char *bytes, size_t len)
{
    struct json_reader r;
    struct json_token key, value;

    e->n = 0;
    json_open(&r, bytes, len);
    if (json_next(&r, &key) != JSON_OBJECT)
        return;
    while (e->n < FIELDS_MAX && json_next(&r, &key) == JSON_KEY && json_next(&r, &value) >= JSON_STRING)
        e->fields[e->n++] = (struct field){ key, value, false };
}

static struct field *find(struct entry *e, const char *name)
{
    for (size_t i = 0; i < e->n; i++)
        if (json_key_is(&e->fields[i].key, name))
            return &e->fields[i];
    return NULL;
}

static bool is(struct entry *e, const char *name, const char *value)
{
    const struct field *f = find(e, name);
    return f && f->value.len == strlen(value) && memcmp(f->value.bytes, value, f->value.len) == 0;
}

/* As the log wrote it, whose escapes keep a terminal safe; only those of quotes and backslashes are not needed. */
static void put_raw(struct buf *out, const struct json_token *t)
{
    for (size_t i = 0; i < t->len; i++) {
        if (t->kind == JSON_STRING && t->bytes[i] == '\\' && i + 1 < t->len && (t->bytes[i + 1] == '"' || t->bytes[i + 1] == '\\'))
            i++;
        buf_putc(out, t->bytes[i]);
    }
}

/* The value at least `width` wide; "-" where there is none. */
static void put(struct buf *out, struct entry *e, const char *name, size_t width)
{
    struct field *f = find(e, name);
    size_t from = out->len;

    if (f && !(f->value.kind == JSON_NUMBER && f->value.bytes[0] == '-'))
        put_raw(out, &f->value);
    else
        buf_putc(out, '-');
    if (f)
        f->told = true;
    while (out->len - from < width)
        buf_putc(out, ' ');
}

static void put_if(struct buf *out, struct entry *e, const char *before, const char *name, const char *after)
{
    if (!find(e, name))
        return;
    buf_puts(out, before);
    put(out, e, name, 0);
    buf_puts(out, after);
}

static void skip(struct entry *e, const char *name)
{
    struct field *f = find(e, name);

    if (f)
        f->told = true;
}

static void put_others(struct buf *out, struct entry *e)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->fields[i].told)
            continue;
        buf_puts(out, "  ");
        put_raw(out, &e->fields[i].key);
        buf_putc(out, '=');
        put_raw(out, &e->fields[i].value);
    }
}

/* ---- the kinds */

static enum dev_mood mood_of(struct entry *e)
{
    struct field *status = find(e, "status");

    if (is(e, "end", "done") || is(e, "end", "stopped") || is(e, "end", "replied"))
        return DEV_GOOD;
    return is(e, "end", "client_closed") || !status || atoi(status->value.bytes) < 400 ? DEV_PLAIN : DEV_BAD;
}

static void tell_exchange(struct entry *e, struct buf *out)
{
    enum dev_mood mood = mood_of(e);

    skip(e, "id"), skip(e, "bytes"), skip(e, "held_ms"), skip(e, "generation");
    put(out, e, "route", 10);
    buf_putc(out, ' ');
    colour(out, mood);
    put(out, e, "status", 3);
    buf_putc(out, ' ');
    put(out, e, "end", 18);
    plain(out, mood);
    buf_putc(out, ' ');
    put(out, e, "model", 10);
    buf_putc(out, ' ');
    put(out, e, "tokens", 0);
    buf_puts(out, " tokens  first ");
    put(out, e, "first_token_ms", 0);
    buf_puts(out, " ms  total ");
    put(out, e, "total_ms", 0);
    buf_puts(out, " ms");
    put_if(out, e, "  held ", "held_bytes", " bytes");
    put_if(out, e, "  by ", "ended_by", "");
    put_if(out, e, "  monitor ", "monitor", "");
    put_others(out, e);
}

/* Where an error stands ("policies/pii.lua:31: ..."): the line of the script and those around it. */
static void show_source(struct buf *out, const struct field *message)
{
    const char *p = message->value.bytes, *end = p + message->value.len, *colon = memchr(p, ':', (size_t)(end - p));
    int at = colon && colon + 1 < end ? atoi(colon + 1) : 0, n = 0;
    char path[512], line[300];
    FILE *f;

    if (at <= 0 || (size_t)(colon - p) >= sizeof path)
        return;
    snprintf(path, sizeof path, "%.*s", (int)(colon - p), p);
    if (strlen(path) < 4 || strcmp(path + strlen(path) - 4, ".lua") != 0 || !(f = fopen(path, "r")))
        return;
    while (n < at + SHOWN_AROUND && fgets(line, sizeof line, f)) {
        if (++n >= at - SHOWN_AROUND) {
            line[strcspn(line, "\n")] = '\0';
            buf_printf(out, "\n          %c %4d | ", n == at ? '>' : ' ', n);
            for (const char *c = line; *c; c++)
                buf_putc(out, (unsigned char)*c >= ' ' && *c != 0x7f ? *c : ' ');
        }
    }
    fclose(f);
}

static void tell_event(struct entry *e, struct buf *out)
{
    enum dev_mood mood = is(e, "level", "error") || is(e, "level", "warn") ? DEV_BAD : DEV_PLAIN;
    struct field *message = find(e, "message");

    skip(e, "time"), skip(e, "level"), skip(e, "id");
    colour(out, mood);
    put(out, e, "event", 0);
    if (message) {
        buf_puts(out, ": ");
        put(out, e, "message", 0);
    }
    plain(out, mood);
    put_others(out, e);
    if (message && mood == DEV_BAD)
        show_source(out, message);
}

static void on_log(void *arg, const char *bytes, size_t len)
{
    struct entry e;
    struct buf out = BUF_EMPTY;

    (void)arg;
    read_entry(&e, bytes, len);
    if (e.n == 0 || is(&e, "event", "metrics") || is(&e, "event", "shared"))
        return;
    put_time(&out);
    if (is(&e, "event", "request") && find(&e, "id")) {
        skip(&e, "time"), skip(&e, "level"), skip(&e, "event");
        tell_exchange(&e, &out);
    } else if (is(&e, "event", "listening")) {
        buf_puts(&out, "listening at ");
        put(&out, &e, "url", 0);
        buf_puts(&out, "; Ctrl-C ends it");
    } else if (is(&e, "event", "reload") && find(&e, "generation")) {
        colour(&out, DEV_GOOD);
        buf_puts(&out, "generation ");
        put(&out, &e, "generation", 0);
        buf_puts(&out, " serves new requests");
        plain(&out, DEV_GOOD);
    } else {
        tell_event(&e, &out);
    }
    write_line(&out);
}

void dev_show_log(enum log_level level)
{
    const char *no_colour = getenv("NO_COLOR");

    coloured = isatty(STDOUT_FILENO) && !(no_colour && *no_colour);
    log_setup(level, LOG_JSON, STDERR_FILENO);
    log_tap(level, on_log, NULL);
    log_mute(true);
}
