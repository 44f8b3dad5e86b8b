#include "wire/head.h"

#include <stdbool.h>
#include <string.h>
#include <strings.h>

#define DEFAULT_MAX (64 * 1024)
#define FIELDS_MAX 100
#define TARGET_MAX (16 * 1024)
#define BLANK_MAX 2
#define VERSION_LEN 8                                  /* "HTTP/1.1" */

enum { S_START, S_START_LF, S_METHOD, S_TARGET, S_VERSION, S_LINE_LF, S_FIELD_START, S_NAME, S_VALUE, S_END_LF };

void head_init(struct head_guard *g, size_t max)
{
    memset(g, 0, sizeof *g);
    g->max = max ? max : DEFAULT_MAX;
}

static bool is_token(unsigned char c)                  /* RFC 9110 5.6.2: tchar */
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_control(unsigned char c) { return (c < 0x20 && c != '\t') || c == 0x7f; }

static bool fits_version(unsigned at, unsigned char c)
{
    unsigned char want = (unsigned char)"HTTP/0.0"[at];

    return want == '0' ? c >= '0' && c <= '9' : c == want;
}

static enum head_verdict refuse(struct head_guard *g, enum head_verdict v, const char *why)
{
    g->why = why;
    return v;
}

/* One byte of the head. HEAD_MORE: fine so far. */
static enum head_verdict step(struct head_guard *g, unsigned char c)
{
    switch (g->state) {
    case S_START:
        if (c == '\r' && g->blank < BLANK_MAX) {
            g->state = S_START_LF;
            return HEAD_MORE;
        }
        if (!is_token(c))
            return refuse(g, HEAD_BAD, "the request line must begin with a method");
        g->state = S_METHOD;
        return HEAD_MORE;
    case S_START_LF:
        if (c != '\n')
            return refuse(g, HEAD_BAD, "a bare CR before the request line");
        g->blank++;
        g->state = S_START;
        return HEAD_MORE;
    case S_METHOD:
        if (c == ' ')
            g->state = S_TARGET;
        else if (!is_token(c))
            return refuse(g, HEAD_BAD, "the method is not a token");
        return HEAD_MORE;
    case S_TARGET:
        if (c == ' ' && g->target > 0) {
            g->state = S_VERSION;
            return HEAD_MORE;
        }
        if (c <= ' ' || c == 0x7f)
            return refuse(g, HEAD_BAD, "the request target is empty or holds a control character, or the version is missing");
        if (++g->target > TARGET_MAX)
            return refuse(g, HEAD_TARGET_TOO_LONG, "the request target is too long");
        return HEAD_MORE;
    case S_VERSION:
        if (c == '\r' && g->version == VERSION_LEN)
            g->state = S_LINE_LF;
        else if (g->version == VERSION_LEN || !fits_version(g->version++, c))
            return refuse(g, HEAD_BAD, "the request line must end with one space, a version like HTTP/1.1 and CRLF");
        return HEAD_MORE;
    case S_LINE_LF:
        if (c != '\n')
            return refuse(g, HEAD_BAD, "a bare CR in the head");
        g->state = S_FIELD_START;
        return HEAD_MORE;
    case S_FIELD_START:
        if (c == '\r') {
            g->state = S_END_LF;
            return HEAD_MORE;
        }
        if (c == ' ' || c == '\t')
            return refuse(g, HEAD_BAD, "a folded header line");
        if (!is_token(c))
            return refuse(g, HEAD_BAD, c == ':' ? "an empty header name" : "a header name that is not a token");
        if (++g->fields > FIELDS_MAX)
            return refuse(g, HEAD_TOO_LARGE, "too many header fields");
        g->state = S_NAME;
        return HEAD_MORE;
    case S_NAME:
        if (c == ':')
            g->state = S_VALUE;
        else if (!is_token(c))
            return refuse(g, HEAD_BAD, "a header name that is not a token");
        return HEAD_MORE;
    case S_VALUE:
        if (c == '\r')
            g->state = S_LINE_LF;
        else if (is_control(c))
            return refuse(g, HEAD_BAD, c == '\n' ? "a bare LF in the head" : "a control character in a header value");
        return HEAD_MORE;
    default:                                           /* S_END_LF */
        return c == '\n' ? HEAD_DONE : refuse(g, HEAD_BAD, "a bare CR in the head");
    }
}

enum head_verdict head_feed(struct head_guard *g, const char *bytes, size_t len, size_t *used)
{
    for (size_t i = 0; i < len; i++) {
        *used = i + 1;
        if (++g->seen > g->max)
            return refuse(g, HEAD_TOO_LARGE, "the request head is too large");
        enum head_verdict v = step(g, (unsigned char)bytes[i]);
        if (v != HEAD_MORE)
            return v;
    }
    *used = len;
    return HEAD_MORE;
}

static bool is_number(const char *s)
{
    size_t n = strspn(s, "0123456789");
    return n > 0 && n <= 18 && s[n] == 0;
}

const char *head_check_fields(const struct header *h, size_t n, int major, int minor)
{
    unsigned hosts = 0, lengths = 0, codings = 0;

    if (major != 1 || (minor != 0 && minor != 1))
        return "only HTTP/1.0 and HTTP/1.1 are spoken here";
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(h[i].name, "host") == 0) {
            if (strpbrk(h[i].value, " \t,/@?#\\"))
                return "the Host field is malformed";
            hosts++;
        } else if (strcasecmp(h[i].name, "content-length") == 0) {
            if (!is_number(h[i].value))
                return "Content-Length is not a number";
            lengths++;
        } else if (strcasecmp(h[i].name, "transfer-encoding") == 0) {
            if (strcasecmp(h[i].value, "chunked") != 0)
                return "the only Transfer-Encoding spoken here is chunked";
            codings++;
        }
    }
    if (hosts > 1 || lengths > 1 || codings > 1)
        return "a field that may stand once stands twice (Host, Content-Length or Transfer-Encoding)";
    if (hosts == 0 && minor == 1)
        return "the Host field is missing";
    if (codings && lengths)
        return "Transfer-Encoding and Content-Length together";
    if (codings && minor == 0)
        return "Transfer-Encoding in HTTP/1.0";
    return NULL;
}
