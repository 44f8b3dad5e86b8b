#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/secret.h"

#define VALUE_MOST 1024                                /* bytes of one value, escaped */
#define LINE_MOST 8192                                 /* bytes of one line with its LF */

static struct {
    enum log_level max;
    enum log_format format;
    int fd;
} settings = { LOG_INFO, LOG_TEXT, STDERR_FILENO };   /* written before the workers start */

static struct {
    enum log_level max;
    void (*fn)(void *arg, const char *line, size_t len);
    void *arg;
    bool alone;                                        /* nothing is written */
} tap;                                                 /* likewise */

static const char *const level_names[] = { "error", "warn", "info", "debug" };

void log_setup(enum log_level max, enum log_format format, int fd)
{
    settings.max = max;
    settings.format = format;
    settings.fd = fd;
}

void log_tap(enum log_level max, void (*fn)(void *arg, const char *line, size_t len), void *arg)
{
    tap.max = max;
    tap.fn = fn;
    tap.arg = arg;
}

void log_mute(bool on) { tap.alone = on; }

static bool is_tapped(enum log_level level) { return tap.fn && level <= tap.max; }

int log_level_parse(const char *name, enum log_level *ret)
{
    for (int i = 0; i < 4; i++)
        if (strcmp(name, level_names[i]) == 0) {
            *ret = i;
            return 0;
        }
    return -1;
}

int log_format_parse(const char *name, enum log_format *ret)
{
    bool json = strcmp(name, "json") == 0;

    if (!json && strcmp(name, "text") != 0)
        return -1;
    *ret = json ? LOG_JSON : LOG_TEXT;
    return 0;
}

/* One code point at p, or 0 when the bytes are no UTF-8 (base/ stands below wire/utf8). *n: bytes it took. */
static unsigned code_point(const unsigned char *p, size_t left, size_t *n)
{
    static const unsigned least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    unsigned c = p[0], want = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;

    *n = 1;
    if (want < 2)
        return want ? c : 0;
    if (left < want)
        return 0;
    c &= 0x7fu >> want;
    for (unsigned i = 1; i < want; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (p[i] & 0x3f);
    }
    if (c < least[want] || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
        return 0;
    *n = want;
    return c;
}

/* Characters that could forge a line or turn text around: controls, C1, line separators, bidi marks. */
static bool is_risky(unsigned c)
{
    return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029 || c == 0x200e || c == 0x200f || c == 0x61c
        || (c >= 0x202a && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

static void put_risky(struct buf *b, unsigned c)
{
    if (c == '\n')
        buf_puts(b, "\\n");
    else if (c == '\r')
        buf_puts(b, "\\r");
    else if (c == '\t')
        buf_puts(b, "\\t");
    else
        buf_printf(b, "\\u%04x", c);
}

static void put_character(struct buf *b, const unsigned char *p, size_t left, size_t *n, enum log_format as)
{
    unsigned c = code_point(p, left, n);

    if (c == 0 && *p == 0)
        buf_puts(b, "\\u0000");
    else if (c == 0 && as == LOG_JSON)
        buf_puts(b, "\xef\xbf\xbd");
    else if (c == 0)
        buf_printf(b, "\\x%02x", *p);
    else if (is_risky(c))
        put_risky(b, c);
    else if (c == '"' || c == '\\')
        buf_printf(b, "\\%c", (int)c);
    else
        buf_append(b, (const char *)p, *n);
}

/* The cap is on what is written, not on what came: escapes make a value up to six times longer. */
void log_escape(struct buf *b, const char *value, size_t len, enum log_format as)
{
    size_t n, most = b->len + VALUE_MOST;

    for (size_t i = 0; i < len; i += n) {
        size_t before = b->len;
        put_character(b, (const unsigned char *)value + i, len - i, &n, as);
        if (b->len > most) {
            b->len = before;
            buf_puts(b, "...");
            return;
        }
    }
}

static void put_escaped(struct buf *b, const char *value, size_t len) { log_escape(b, value, len, settings.format); }

static bool is_plain(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        if (c <= ' ' || c >= 0x7f || c == '"' || c == '=' || c == '\\')
            return false;
    }
    return len > 0 && len <= VALUE_MOST;
}

static void put_time(struct buf *b)
{
    struct timespec t;
    struct tm tm;

    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    buf_printf(b, "%04d-%02d-%02dT%02d:%02d:%02d.%03ldZ", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
               t.tv_nsec / 1000000);
}

/* Text form of an event or a key; some come from scripts, so none may hold what parts fields or lines. */
static void put_name(struct buf *b, const char *name)
{
    for (const char *p = name; *p && p - name < VALUE_MOST; p++)
        buf_putc(b, *p > ' ' && *p < 0x7f && *p != '=' && *p != '"' ? *p : '_');
}

bool log_begin(struct log_line *l, enum log_level level, const char *event)
{
    if (level > settings.max && !is_tapped(level))
        return false;
    l->bytes = BUF_EMPTY;
    l->level = level;
    if (settings.format == LOG_JSON) {
        buf_puts(&l->bytes, "{\"time\":\"");
        put_time(&l->bytes);
        buf_printf(&l->bytes, "\",\"level\":\"%s\",\"event\":\"", level_names[level]);
        put_escaped(&l->bytes, event, strlen(event));
        buf_putc(&l->bytes, '"');
    } else {
        put_time(&l->bytes);
        buf_printf(&l->bytes, " %s ", level_names[level]);
        put_name(&l->bytes, event);
    }
    return true;
}

void log_str(struct log_line *l, const char *key, const char *value)
{
    if (value)
        log_bytes(l, key, value, strlen(value));
}

static void put_key(struct log_line *l, const char *key)
{
    if (settings.format == LOG_JSON) {
        buf_puts(&l->bytes, ",\"");
        put_escaped(&l->bytes, key, strlen(key));
        buf_puts(&l->bytes, "\":");
        return;
    }
    buf_putc(&l->bytes, ' ');
    put_name(&l->bytes, key);
    buf_putc(&l->bytes, '=');
}

/* A field that makes the line too long is left out again; a shorter one may still find room. */
static void end_field(struct log_line *l, size_t before)
{
    if (l->bytes.len > LINE_MOST - strlen("}\n"))
        l->bytes.len = before;
}

void log_bytes(struct log_line *l, const char *key, const char *value, size_t len)
{
    struct buf clean = BUF_EMPTY;
    size_t before = l->bytes.len;

    buf_append(&clean, value, len);
    secret_scrub(&clean);                              /* before the escapes and the cut: they would hide a secret */
    put_key(l, key);
    bool bare = settings.format == LOG_TEXT && is_plain(clean.data, clean.len);
    if (!bare)
        buf_putc(&l->bytes, '"');
    put_escaped(&l->bytes, clean.data, clean.len);
    if (!bare)
        buf_putc(&l->bytes, '"');
    buf_free(&clean);
    end_field(l, before);
}

void log_int(struct log_line *l, const char *key, int64_t value)
{
    size_t before = l->bytes.len;

    put_key(l, key);
    buf_printf(&l->bytes, "%lld", (long long)value);
    end_field(l, before);
}

void log_double(struct log_line *l, const char *key, double value)
{
    char text[40];
    size_t before = l->bytes.len;

    snprintf(text, sizeof text, "%.15g", value);
    if (!isfinite(value)) {
        log_str(l, key, text);
        return;
    }
    put_key(l, key);
    buf_puts(&l->bytes, text);
    end_field(l, before);
}

void log_bool(struct log_line *l, const char *key, bool value)
{
    size_t before = l->bytes.len;

    put_key(l, key);
    buf_puts(&l->bytes, value ? "true" : "false");
    end_field(l, before);
}

/* One write a line. The lock keeps lines whole where the kernel does not: a write over PIPE_BUF into a full pipe may be parted, and a
 * signal (the watchdog's) may cut one short.
 */
static void write_whole(const char *bytes, size_t len)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

    pthread_mutex_lock(&lock);
    while (len > 0) {
        ssize_t wrote = write(settings.fd, bytes, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            break;                                     /* a full disk must not stop the gateway */
        bytes += wrote;
        len -= (size_t)wrote;
    }
    pthread_mutex_unlock(&lock);
}

void log_end(struct log_line *l)
{
    if (settings.format == LOG_JSON)
        buf_putc(&l->bytes, '}');
    if (is_tapped(l->level))
        tap.fn(tap.arg, l->bytes.data, l->bytes.len);
    buf_putc(&l->bytes, '\n');
    if (l->level <= settings.max && !tap.alone)
        write_whole(l->bytes.data, l->bytes.len);
    buf_free(&l->bytes);
}

void log_say(enum log_level level, const char *event, const char *fmt, ...)
{
    struct log_line line;
    struct buf text = BUF_EMPTY;
    va_list ap;

    if (!log_begin(&line, level, event))
        return;
    va_start(ap, fmt);
    buf_vprintf(&text, fmt, ap);
    va_end(ap);
    log_bytes(&line, "message", text.data ? text.data : "", text.len);
    buf_free(&text);
    log_end(&line);
}
