/* Numbers come from base (named_view); here they are put into rows, as a table or as JSON. Names and keys may be clients' words: escaped, secrets masked. */
#include "state.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/keyed.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/secret.h"

#define ROWS_MAX 50
#define KEY_SHOWN 200                                  /* bytes of a key */

struct row {
    double rank;
    char *key;
    size_t len;
    struct named_figure figures[NAMED_FIGURES];
};

struct table {                                         /* one limiter, counter or cache */
    struct named *of;
    struct named_figure settings[NAMED_FIGURES];
    size_t keys, bytes, live;                          /* live: those whose time is not over */
    const struct named_times *now;
    struct row rows[ROWS_MAX];                         /* the highest rank first */
    size_t n_rows;
};

struct look {
    const char *name;                                  /* NULL: all */
    const struct named_times *now;
    struct table *tables;
    size_t n;
};

/* ---- looking */

static void take_row(void *arg, const char *key, size_t len, const void *payload, size_t bytes)
{
    struct table *t = arg;
    struct row r = { .len = len };
    size_t at;

    (void)bytes;
    if (!t->of->view->figures(t->settings, payload, t->now, r.figures, &r.rank))
        return;
    t->live++;
    for (at = t->n_rows; at > 0 && t->rows[at - 1].rank < r.rank; at--)
        ;
    if (at == ROWS_MAX)
        return;
    if (t->n_rows == ROWS_MAX)
        free(t->rows[--t->n_rows].key);
    memmove(&t->rows[at + 1], &t->rows[at], (t->n_rows - at) * sizeof r);
    r.key = mem_copy(key, len < KEY_SHOWN ? len : KEY_SHOWN);
    t->rows[at] = r;
    t->n_rows++;
}

static void take(void *arg, struct named *n)
{
    struct look *look = arg;
    struct table *t;

    if (!n->view || (look->name && strcmp(look->name, n->name) != 0))
        return;
    look->tables = mem_resize(look->tables, (look->n + 1) * sizeof *look->tables);
    t = &look->tables[look->n++];
    *t = (struct table){ .of = named_open(n->kind, n->name, NULL), .now = look->now };   /* it is open, so none is made */
    n->view->settings(n, t->settings);
    t->keys = keyed_count(n->keys);
    t->bytes = keyed_bytes(n->keys);
    if (look->name)
        keyed_each(n->keys, take_row, t);
}

static int compare(const void *a, const void *b)
{
    const struct table *x = a, *y = b;
    int kind = strcmp(x->of->kind, y->of->kind);

    return kind ? kind : strcmp(x->of->name, y->of->name);
}

static void forget(struct look *look)
{
    for (size_t i = 0; i < look->n; i++) {
        for (size_t k = 0; k < look->tables[i].n_rows; k++)
            free(look->tables[i].rows[k].key);
        named_close(look->tables[i].of);
    }
    free(look->tables);
}

/* ---- words */

static bool is_time(const char *name)
{
    size_t n = strlen(name);
    return n > 3 && strcmp(name + n - 3, "_ms") == 0;
}

/* The two largest parts: "1d", "3h12m", "1.5s". */
static void put_time(struct buf *out, double ms)
{
    static const struct { double ms; char unit; } units[] = { { 86400000, 'd' }, { 3600000, 'h' }, { 60000, 'm' }, { 1000, 's' } };

    if (ms < 0) {
        buf_puts(out, "for ever");
        return;
    }
    if (ms < 1000) {
        buf_printf(out, "%.0fms", ms);
        return;
    }
    if (ms < 60000) {
        buf_printf(out, "%.3gs", ms / 1000);
        return;
    }
    for (size_t i = 0; i < 3; i++) {
        double whole = floor(ms / units[i].ms), rest = floor((ms - whole * units[i].ms) / units[i + 1].ms);

        if (whole < 1)
            continue;
        buf_printf(out, "%.0f%c", whole, units[i].unit);
        if (rest > 0)
            buf_printf(out, "%.0f%c", rest, units[i + 1].unit);
        return;
    }
}

/* "ends_in_ms" -> "ends in" */
static void put_title(struct buf *out, const char *name)
{
    size_t n = strlen(name) - (is_time(name) ? 3 : 0);

    for (size_t i = 0; i < n; i++)
        buf_putc(out, name[i] == '_' ? ' ' : name[i]);
}

static void put_value(struct buf *out, const struct named_figure *f)
{
    if (is_time(f->name))
        put_time(out, f->value);
    else
        buf_printf(out, f->value == floor(f->value) && fabs(f->value) < 1e15 ? "%.0f" : "%.6g", f->value);
}

static void put_settings(struct buf *out, const struct table *t)
{
    for (size_t i = 0; i < NAMED_FIGURES && t->settings[i].name; i++) {
        if (i)
            buf_puts(out, ", ");
        put_title(out, t->settings[i].name);
        buf_putc(out, ' ');
        put_value(out, &t->settings[i]);
    }
}

static void put_safe(struct buf *out, const char *text, size_t len, enum log_format as)
{
    struct buf clean = BUF_EMPTY;

    buf_append(&clean, text, len);
    secret_scrub(&clean);
    log_escape(out, clean.data ? clean.data : "", clean.len, as);
    buf_free(&clean);
}

static void put_key(struct buf *out, const struct row *r, enum log_format as)
{
    put_safe(out, r->key, r->len < KEY_SHOWN ? r->len : KEY_SHOWN, as);
    if (r->len > KEY_SHOWN)
        buf_puts(out, "...");
}

static void pad(struct buf *out, size_t from, size_t width)
{
    while (out->len - from < width)
        buf_putc(out, ' ');
    buf_puts(out, "  ");
}

/* ---- as a table */

static void tell_list(const struct look *look, struct buf *out)
{
    size_t width = 4;

    for (size_t i = 0; i < look->n; i++) {
        struct buf name = BUF_EMPTY;

        put_safe(&name, look->tables[i].of->name, strlen(look->tables[i].of->name), LOG_TEXT);
        if (name.len > width && name.len <= 60)
            width = name.len;
        buf_free(&name);
    }
    buf_printf(out, "+ kind       %-*s  %8s  %10s  settings\n", (int)width, "name", "keys", "bytes");
    for (size_t i = 0; i < look->n; i++) {
        const struct table *t = &look->tables[i];

        buf_printf(out, "+ %-9s  ", t->of->kind);
        size_t from = out->len;
        put_safe(out, t->of->name, strlen(t->of->name), LOG_TEXT);
        pad(out, from, width);
        buf_printf(out, "%8zu  %10zu  ", t->keys, t->bytes);
        put_settings(out, t);
        buf_putc(out, '\n');
    }
}

static void tell_titles(const struct table *t, struct buf *out)
{
    buf_puts(out, "+   ");
    for (size_t i = 0; i < NAMED_FIGURES && t->rows[0].figures[i].name; i++) {
        size_t from = out->len;
        put_title(out, t->rows[0].figures[i].name);
        pad(out, from, 12);
    }
    buf_puts(out, "key\n");
}

static void tell_keys(const struct table *t, struct buf *out)
{
    buf_printf(out, "+ %s ", t->of->kind);
    put_safe(out, t->of->name, strlen(t->of->name), LOG_TEXT);
    buf_printf(out, ": %zu key%s, %zu bytes; ", t->keys, t->keys == 1 ? "" : "s", t->bytes);
    put_settings(out, t);
    buf_putc(out, '\n');
    if (t->n_rows)
        tell_titles(t, out);
    for (size_t i = 0; i < t->n_rows; i++) {
        buf_puts(out, "+   ");
        for (size_t k = 0; k < NAMED_FIGURES && t->rows[i].figures[k].name; k++) {
            size_t from = out->len;
            put_value(out, &t->rows[i].figures[k]);
            pad(out, from, 12);
        }
        put_key(out, &t->rows[i], LOG_TEXT);
        buf_putc(out, '\n');
    }
    if (t->live > t->n_rows)
        buf_printf(out, "+   (%zu more left out)\n", t->live - t->n_rows);
}

/* ---- as JSON */

static void json_figures(const struct named_figure *f, struct buf *out)
{
    for (size_t i = 0; i < NAMED_FIGURES && f[i].name; i++) {
        buf_printf(out, "%s\"%s\":", i ? "," : "", f[i].name);
        if (is_time(f[i].name) && f[i].value < 0)
            buf_puts(out, "null");
        else
            buf_printf(out, "%.17g", f[i].value);
    }
}

static void json_table(const struct table *t, bool rows, struct buf *out)
{
    buf_printf(out, "{\"kind\":\"%s\",\"name\":\"", t->of->kind);
    put_safe(out, t->of->name, strlen(t->of->name), LOG_JSON);
    buf_printf(out, "\",\"keys\":%zu,\"bytes\":%zu,\"settings\":{", t->keys, t->bytes);
    json_figures(t->settings, out);
    buf_putc(out, '}');
    if (rows) {
        buf_puts(out, ",\"rows\":[");
        for (size_t i = 0; i < t->n_rows; i++) {
            buf_puts(out, i ? ",{\"key\":\"" : "{\"key\":\"");
            put_key(out, &t->rows[i], LOG_JSON);
            buf_puts(out, "\",");
            json_figures(t->rows[i].figures, out);
            buf_putc(out, '}');
        }
        buf_printf(out, "],\"left_out\":%zu", t->live - t->n_rows);
    }
    buf_putc(out, '}');
}

/* ---- both */

void state_tell(const char *name, bool json, const struct named_times *now, struct buf *answer)
{
    struct look look = { .name = name, .now = now };

    named_each(take, &look);
    if (look.n)
        qsort(look.tables, look.n, sizeof *look.tables, compare);
    if (name && look.n == 0) {
        buf_puts(answer, "- there is no limiter, counter, semaphore or cache named \"");
        log_escape(answer, name, strlen(name), LOG_TEXT);
        buf_puts(answer, "\": sluice state FILE lists those there are\n");
    } else if (json) {
        buf_puts(answer, "+ [");
        for (size_t i = 0; i < look.n; i++) {
            if (i)
                buf_putc(answer, ',');
            json_table(&look.tables[i], name != NULL, answer);
        }
        buf_puts(answer, "]\n");
    } else if (name) {
        for (size_t i = 0; i < look.n; i++)
            tell_keys(&look.tables[i], answer);
    } else if (look.n == 0) {
        buf_puts(answer, "+ the gateway has no limiter, counter, semaphore or cache\n");
    } else {
        tell_list(&look, answer);
    }
    forget(&look);
}
