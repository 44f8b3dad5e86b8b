/* The happy path: an upstream's read holds whole events of one data line each. The line end is found by memchr, the data is given out as a
 * span of `in`, and when all is read `in` goes back to the allocator, so a stream between two tokens holds no memory. Only an event with
 * several data lines is joined in a buffer of its own, and only a cut line stays in `in`.
 *
 * No byte is searched twice: `lf` remembers the next LF (or how far there is none), `scan` how far there is no CR. Without the first, a
 * stream that ends its lines with CR alone would search for an LF from each line to the end.
 */
#include "wire/sse.h"

#include <string.h>

#define DEFAULT_LIMIT (1024 * 1024)
#define COMPACT 4096                                   /* bytes read before the rest moves to a smaller buffer */

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

/* Lets go of what was read. The rest is copied only when it is less than what goes, so each byte is copied once or so in its life. */
static void give_back(struct sse_reader *r)
{
    size_t rest = r->in.len - r->pos;
    struct buf kept = BUF_EMPTY;

    if (r->span || r->pos == 0)
        return;                                        /* the event in the making still points into `in` */
    if (rest > 0 && (r->pos < COMPACT || r->pos < rest))
        return;
    buf_append(&kept, r->in.data + r->pos, rest);
    buf_free(&r->in);
    r->in = kept;
    r->scan = r->scan > r->pos ? r->scan - r->pos : 0;
    r->lf = r->lf > r->pos ? r->lf - r->pos : 0;
    r->pos = 0;
}

void sse_feed(struct sse_reader *r, const char *bytes, size_t len)
{
    if (r->failed)
        return;
    give_back(r);
    size_t span_at = r->span ? (size_t)(r->span - r->in.data) : 0;
    buf_append(&r->in, bytes, len);
    if (r->span)
        r->span = r->in.data + span_at;                /* `in` may have moved */
}

/* Offset of the next LF at or behind `pos`, in.len if there is none yet. */
static size_t next_lf(struct sse_reader *r)
{
    if (r->lf < r->pos)
        r->lf = r->pos;
    if (r->lf == r->in.len || r->in.data[r->lf] == '\n')
        return r->lf;
    const char *hit = memchr(r->in.data + r->lf, '\n', r->in.len - r->lf);
    return r->lf = hit ? (size_t)(hit - r->in.data) : r->in.len;
}

/* The next whole line as [*line, *line + *len). False: there is none yet. */
static bool next_line(struct sse_reader *r, const char **line, size_t *len)
{
    if (r->skip_lf && r->pos < r->in.len) {            /* the LF of a CRLF whose CR ended the line before */
        r->skip_lf = false;
        if (r->in.data[r->pos] == '\n')
            r->pos++;
    }
    if (r->pos == r->in.len)
        return false;
    if (r->scan < r->pos)
        r->scan = r->pos;

    size_t stop = next_lf(r);
    const char *cr = memchr(r->in.data + r->scan, '\r', stop - r->scan);
    if (cr)
        stop = (size_t)(cr - r->in.data);
    r->scan = stop;
    if (stop == r->in.len)
        return false;
    *line = r->in.data + r->pos;
    *len = stop - r->pos;
    r->pos = stop + 1;
    r->skip_lf = cr;
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
    buf_consume(&r->data, r->data.len);                /* gives big memory back */
    r->data_lines = 0;
    r->event_bytes = 0;
    r->span = NULL;
    r->name[0] = 0;
}

static enum sse_got too_long(struct sse_reader *r)
{
    r->failed = true;
    sse_fini(r);
    r->pos = r->scan = r->lf = 0;
    r->data_lines = 0;
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

size_t sse_waiting(const struct sse_reader *r)
{
    size_t making = r->data_lines > 1 ? r->data.len : r->span ? r->span_len : 0;

    return r->in.len - r->pos + making;
}

bool sse_clean(const struct sse_reader *r)
{
    return r->pos == r->in.len && r->data_lines == 0 && !r->failed;
}
