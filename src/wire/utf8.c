#include "wire/utf8.h"

#include <string.h>

int utf8_next(const char *p, const char *end, uint32_t *ret)
{
    const unsigned char *u = (const unsigned char *)p;
    size_t left = (size_t)(end - p);
    unsigned lo = 0x80, hi = 0xbf, want;
    uint32_t c = u[0];

    if (c < 0x80) {
        *ret = c;
        return 1;
    }
    if (c < 0xc2 || c > 0xf4)
        return -1;
    want = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == 0xe0) lo = 0xa0;                          /* shortest form */
    if (c == 0xed) hi = 0x9f;                          /* no surrogates */
    if (c == 0xf0) lo = 0x90;
    if (c == 0xf4) hi = 0x8f;                          /* at most U+10FFFF */
    c &= 0x7fu >> want;
    for (unsigned i = 1; i < want; i++) {
        if (i >= left)
            return 0;
        if (u[i] < lo || u[i] > hi)
            return -1;
        c = c << 6 | (u[i] & 0x3fu);
        lo = 0x80;
        hi = 0xbf;
    }
    *ret = c;
    return (int)want;
}

int utf8_put(char out[4], uint32_t cp)
{
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

/* The first byte that is not ASCII, eight at a time. */
static const char *skip_ascii(const char *p, const char *end)
{
    uint64_t word;

    while (end - p >= 8) {
        memcpy(&word, p, 8);
        if (word & 0x8080808080808080u)
            break;
        p += 8;
    }
    while (p < end && !(*p & 0x80))
        p++;
    return p;
}

bool utf8_valid(const char *bytes, size_t len)
{
    const char *p = bytes, *end = bytes + len;
    uint32_t c;

    while ((p = skip_ascii(p, end)) < end) {
        int n = utf8_next(p, end, &c);
        if (n <= 0)
            return false;
        p += n;
    }
    return true;
}

size_t utf8_count(const char *bytes, size_t len)
{
    size_t n = 0;

    for (size_t i = 0; i < len; i++)
        n += (bytes[i] & 0xc0) != 0x80;
    return n;
}

bool utf8_is_space(uint32_t c)
{
    return (c >= 9 && c <= 13) || c == ' ' || c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028
        || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
}

void utf8_trim(const char **bytes, size_t *len)
{
    const char *p = *bytes, *end = p + *len;
    uint32_t c;

    for (int n; p < end && (n = utf8_next(p, end, &c)) > 0 && utf8_is_space(c);)
        p += n;
    while (end > p) {
        const char *last = end - 1;
        while (last > p && (*last & 0xc0) == 0x80 && end - last < 4)
            last--;
        if (utf8_next(last, end, &c) != end - last || !utf8_is_space(c))
            break;
        end = last;
    }
    *bytes = p;
    *len = (size_t)(end - p);
}

/* --- mending ---------------------------------------------------------------------------------------------------- */

static void replace(struct buf *out) { buf_append(out, "\xef\xbf\xbd", 3); }

/* A surrogate half as its three bytes: high is ED A0..AF xx, low is ED B0..BF xx. */
static bool is_half(const unsigned char *p, size_t n, unsigned kind)
{
    return n >= 3 && p[0] == 0xed && (p[1] & 0xf0) == kind && (p[2] & 0xc0) == 0x80;
}

static bool is_high_half(const unsigned char *p, size_t n) { return is_half(p, n, 0xa0); }
static bool is_low_half(const unsigned char *p, size_t n) { return is_half(p, n, 0xb0); }

/* Could n < 3 bytes still become a half? Without any byte: anything could. */
static bool may_become_half(const unsigned char *p, size_t n, bool low_only)
{
    return n < 3 && (n < 1 || p[0] == 0xed) && (n < 2 || (p[1] & 0xf0) == 0xb0 || (!low_only && (p[1] & 0xf0) == 0xa0));
}

static uint32_t half(const unsigned char *p) { return 0xd000u | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu); }

/* Length of the maximal subpart of an ill-formed sequence at p: those bytes become one U+FFFD (Unicode 3.9, WHATWG Encoding). */
static size_t ill_formed(const char *p, size_t n)
{
    uint32_t c;

    for (size_t k = 3; k > 1; k--)
        if (k <= n && utf8_next(p, p + k, &c) == 0)
            return k;
    return 1;
}

/* Takes one unit at p: how many bytes it used, 0: more are needed to tell (never when `last`, nothing comes behind). The answer for some
 * bytes must be the same however many more are at hand, else the text would depend on how it was cut.
 */
static size_t mend_one(struct buf *out, const unsigned char *p, size_t n, bool last)
{
    uint32_t c;
    int len = utf8_next((const char *)p, (const char *)p + n, &c);
    bool high = is_high_half(p, n);

    if (len > 0) {
        buf_append(out, (const char *)p, (size_t)len);
        return (size_t)len;
    }
    if (high && is_low_half(p + 3, n - 3)) {
        char four[4];
        buf_append(out, four, (size_t)utf8_put(four, 0x10000 + ((half(p) - 0xd800) << 10) + (half(p + 3) - 0xdc00)));
        return 6;
    }
    if (!last && (len == 0 || (high ? may_become_half(p + 3, n - 3, true) : may_become_half(p, n, false))))
        return 0;
    replace(out);
    return high || is_low_half(p, n) ? 3 : ill_formed((const char *)p, n);   /* a lone half is one U+FFFD */
}

static void drop_waiting(struct utf8_mender *m, size_t n)
{
    m->n -= (unsigned char)n;
    memmove(m->wait, m->wait + n, m->n);
}

/* Where the valid text that begins at p ends. */
static const char *skip_valid(const char *p, const char *end)
{
    uint32_t c;
    int n;

    while ((p = skip_ascii(p, end)) < end && (n = utf8_next(p, end, &c)) > 0)
        p += n;
    return p;
}

void utf8_mend(struct utf8_mender *m, struct buf *out, const char *bytes, size_t len)
{
    const char *end = bytes + len;
    size_t used;

    while (m->n > 0 && bytes < end) {                  /* finish what waited, a byte at a time */
        m->wait[m->n++] = (unsigned char)*bytes++;
        while (m->n > 0 && (used = mend_one(out, m->wait, m->n, false)) > 0)
            drop_waiting(m, used);
    }
    while (bytes < end) {
        const char *stop = skip_valid(bytes, end);
        buf_append(out, bytes, (size_t)(stop - bytes));
        bytes = stop;
        if (bytes == end)
            return;
        used = mend_one(out, (const unsigned char *)bytes, (size_t)(end - bytes), false);
        if (used == 0) {
            m->n = (unsigned char)(end - bytes);       /* at most a high half and two bytes of a low one */
            memcpy(m->wait, bytes, m->n);
            return;
        }
        bytes += used;
    }
}

void utf8_mend_end(struct utf8_mender *m, struct buf *out)
{
    while (m->n > 0)
        drop_waiting(m, mend_one(out, m->wait, m->n, true));
}
