/* Lines are searched once (memchr finds '\n'; a '\r' before it ends a line too). A single data line is given out as a span of the input; only an
 * event with several data lines is joined in a buffer of its own.
 */
#include "wire/sse.h"

#include <string.h>

#define DEFAULT_LIMIT (1024 * 1024)
#define COMPACT 16384                                  /* bytes read before the rest is moved down */

void sse_init(struct sse_reader *r, size_t limit)
{
    memset(r, 0, sizeof *r);
    r->limit = limit ? limit : DEFAULT_LIMIT;
}

void sse_fini(struct sse_reader *r)
{
    buf_free(&r->in);
    buf_free(&r->data);
}

static void give_back(struct sse_reader *r)
{
    if (r->span || r->pos == 0)
        return;                                        /* the event in the making still points into `in` */
    if (r->pos == r->in.len) {
        buf_free(&r->in);
        r->pos = r->scan = 0;
    } else if (r->pos >= COMPACT) {
        buf_consume(&r->in, r->pos);
        r->scan -= r->pos;
        r->pos = 0;
    }
}

void sse_feed(struct sse_reader *r, const char *bytes, size_t len)
{
    const char *old = r->in.data;

    if (r->failed)
        return;
    give_back(r);
    old = r->in.data;
    buf_append(&r->in, bytes, len);
    if (r->span && r->in.data != old)
        r->span = r->in.data + (r->span - old);
}

/* The next whole line as [*line, *line + *len). False: there is none yet. */
static bool next_line(struct sse_reader *r, const char **line, size_t *len)
{
    if (r->skip_lf && r->pos < r->in.len) {            /* the LF of a CRLF whose CR ended the line before */
        r->skip_lf = false;
        if (r->in.data[r->pos] == '\n')
            r->pos++;
    }
    if (r->scan < r->pos)
        r->scan = r->pos;
    if (r->scan == r->in.len)
        return false;

    const char *from = r->in.data + r->scan, *end = r->in.data + r->in.len;
    const char *lf = memchr(from, '\n', (size_t)(end - from));
    const char *cr = memchr(from, '\r', (size_t)((lf ? lf : end) - from));
    const char *stop = cr ? cr : lf;
    if (!stop) {
        r->scan = r->in.len;
        return false;
    }
    *line = r->in.data + r->pos;
    *len = (size_t)(stop - *line);
    r->pos = r->scan = (size_t)(stop - r->in.data) + 1;
    r->skip_lf = stop == cr;
    return true;
}

static void strip_bom(struct sse_reader *r, const char **line, size_t *len)
{
    r->bom_done = true;
    if (*len >= 3 && memcmp(*line, "\xef\xbb\xbf", 3) == 0) {
        *line += 3;
        *len -= 3;
    }
}

static void add_data(struct sse_reader *r, const char *value, size_t len)
{
    if (r->data_lines++ == 0) {
        r->span = value;
        r->span_len = len;
        return;
    }
    if (r->data_lines == 2) {
        r->data.len = 0;
        buf_append(&r->data, r->span, r->span_len);
        r->span = NULL;
    }
    buf_putc(&r->data, '\n');
    buf_append(&r->data, value, len);
}

static void read_field(struct sse_reader *r, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);
    size_t name = colon ? (size_t)(colon - line) : len;
    const char *value = line + (colon ? name + 1 : name);
    size_t rest = len - (size_t)(value - line);

    if (rest && *value == ' ') {
        value++;
        rest--;
    }
    if (name == 4 && memcmp(line, "data", 4) == 0) {
        add_data(r, value, rest);
    } else if (name == 5 && memcmp(line, "event", 5) == 0) {
        size_t n = rest < sizeof r->name - 1 ? rest : sizeof r->name - 1;
        memcpy(r->name, value, n);
        r->name[n] = 0;
    }                                                  /* id, retry, comments and the unknown: nobody here asks */
}

static void begin_event(struct sse_reader *r)
{
    r->data_lines = 0;
    r->event_bytes = 0;
    r->span = NULL;
    r->name[0] = 0;
}

static enum sse_got too_long(struct sse_reader *r)
{
    r->failed = true;
    sse_fini(r);
    r->pos = r->scan = 0;
    r->span = NULL;
    return SSE_TOO_LONG;
}

static enum sse_got dispatch(struct sse_reader *r, struct sse_event *ret)
{
    bool joined = r->data_lines > 1;

    ret->data = joined ? r->data.data : r->span;
    ret->len = joined ? r->data.len : r->span_len;
    ret->name = r->name;
    r->data_lines = 0;                                 /* name and bytes stay for the caller; begin_event comes with the next call */
    r->span = NULL;
    r->event_bytes = 0;
    return SSE_EVENT;
}

enum sse_got sse_next(struct sse_reader *r, struct sse_event *ret)
{
    const char *line;
    size_t len;

    if (r->failed)
        return SSE_TOO_LONG;
    if (r->event_bytes == 0 && r->data_lines == 0 && !r->span)
        begin_event(r);
    while (next_line(r, &line, &len)) {
        if (!r->bom_done)
            strip_bom(r, &line, &len);
        if (len == 0) {
            if (r->data_lines > 0)
                return dispatch(r, ret);
            begin_event(r);
            continue;
        }
        r->event_bytes += len + 1;
        if (r->event_bytes > r->limit)
            return too_long(r);
        read_field(r, line, len);
    }
    if (r->event_bytes + (r->in.len - r->pos) > r->limit)
        return too_long(r);
    give_back(r);
    return SSE_MORE;
}

size_t sse_waiting(const struct sse_reader *r) { return r->in.len - r->pos + r->data.len; }

bool sse_clean(const struct sse_reader *r)
{
    return r->pos == r->in.len && r->data_lines == 0 && !r->failed;
}
