/* A guarded head becomes a struct http_request; the body, when its owner asks for it, one buffer. llhttp does the parsing (strict). */
#include <llhttp.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "net/conn.h"

#define CHUNK_LINE_MAX 256
#define TRAILERS_MAX 4096
#define SLICE 64                                       /* body framing is looked at in slices: limits hold to this grain */

struct spans {                                         /* of one head, while it is parsed; they point into conn->in */
    const char *url;
    size_t url_len;
    struct { const char *name, *value; size_t name_len, value_len; } field[128];
    size_t n;
};

static int on_url(llhttp_t *p, const char *at, size_t len)
{
    struct spans *s = p->data;

    if (!s->url)
        s->url = at;
    s->url_len += len;
    return 0;
}

static int on_field(llhttp_t *p, const char *at, size_t len)
{
    struct spans *s = p->data;

    if (s->n == 0 || s->field[s->n - 1].value) {
        if (s->n == sizeof s->field / sizeof *s->field)
            return -1;
        s->field[s->n++].name = at;
    }
    s->field[s->n - 1].name_len += len;
    return 0;
}

static int on_value(llhttp_t *p, const char *at, size_t len)
{
    struct spans *s = p->data;

    if (s->n == 0)
        return -1;
    if (!s->field[s->n - 1].value)
        s->field[s->n - 1].value = at;
    s->field[s->n - 1].value_len += len;
    return 0;
}

static int on_head_complete(llhttp_t *p)
{
    p->upgrade = 0;                                    /* we upgrade to nothing: an Upgrade field is only a wish (RFC 9110 7.8) */
    return 0;
}

static const llhttp_settings_t head_settings = {
    .on_url = on_url,
    .on_header_field = on_field,
    .on_header_value = on_value,
    .on_headers_complete = on_head_complete,
};

void request_free(struct conn *c)
{
    free(c->parser);
    c->parser = NULL;
    free(c->strings);
    c->strings = NULL;
    free((void *)c->request.headers);
    memset(&c->request, 0, sizeof c->request);
    buf_free(&c->body);
    c->body_state = BODY_NONE;
    c->owner = NULL;
}

static char *put(char **at, const char *bytes, size_t len)
{
    char *from = *at;

    memcpy(from, bytes, len);
    from[len] = 0;
    *at = from + len + 1;
    return from;
}

/* "http://host/path?query" is "/path?query" to us (RFC 9112 3.2.2). */
static void to_origin_form(const char **url, size_t *len)
{
    if (**url == '/' || **url == '*' || *len < 8)
        return;
    const char *scheme_end = memmem(*url, *len, "://", 3);
    if (!scheme_end)
        return;
    const char *end = *url + *len, *path = scheme_end + 3;
    while (path < end && *path != '/' && *path != '?')
        path++;
    *len = (size_t)(end - path);
    *url = path;
}

/* All strings of the request in one block. */
static void keep_strings(struct conn *c, const struct spans *s)
{
    size_t total = s->url_len + 4;
    const char *url = s->url ? s->url : "";
    size_t url_len = s->url_len;
    struct header *headers = mem_alloc((s->n + 1) * sizeof *headers);

    for (size_t i = 0; i < s->n; i++)
        total += s->field[i].name_len + s->field[i].value_len + 2;
    char *at = c->strings = mem_alloc(total);

    to_origin_form(&url, &url_len);
    const char *mark = memchr(url, '?', url_len);
    size_t path_len = mark ? (size_t)(mark - url) : url_len;
    c->request.path = path_len ? put(&at, url, path_len) : "/";
    c->request.query = mark ? put(&at, mark + 1, url_len - path_len - 1) : "";
    for (size_t i = 0; i < s->n; i++) {
        size_t len = s->field[i].value_len;
        const char *value = s->field[i].value ? s->field[i].value : "";
        while (len && (value[len - 1] == ' ' || value[len - 1] == '\t'))
            len--;
        headers[i].name = put(&at, s->field[i].name, s->field[i].name_len);
        headers[i].value = put(&at, value, len);
    }
    c->request.headers = headers;
    c->request.n_headers = s->n;
}

static bool wants_keep_alive(const struct conn *c)
{
    for (size_t i = 0; i < c->request.n_headers; i++) {
        if (strcasecmp(c->request.headers[i].name, "connection") != 0)
            continue;
        if (strcasestr(c->request.headers[i].value, "close"))
            return false;
        if (strcasestr(c->request.headers[i].value, "keep-alive"))
            return true;
    }
    return c->request.minor == 1;
}

/* What cannot be answered by anyone above. True: it was refused. */
static bool refused(struct conn *c)
{
    const struct http_request *r = &c->request;
    const char *expect = http_header(r, "expect");

    if (strcmp(r->method, "CONNECT") == 0 || strcmp(r->method, "TRACE") == 0) {
        answer_refuse(c, 405, "method_not_allowed", "this method is not allowed here");
        return true;
    }
    if (strcmp(r->path, "*") == 0 && strcmp(r->method, "OPTIONS") != 0) {
        answer_refuse(c, 400, "bad_request", "the target * is for OPTIONS only");
        return true;
    }
    if (r->path[0] != '/' && strcmp(r->path, "*") != 0) {
        answer_refuse(c, 400, "bad_request", "the request target is not a path");
        return true;
    }
    if (strchr(r->path, '#') || (r->query && strchr(r->query, '#'))) {
        answer_refuse(c, 400, "bad_request", "the request target holds a fragment (#), which a client keeps for itself");
        return true;
    }
    if (expect && strcasecmp(expect, "100-continue") != 0) {
        answer_refuse(c, 417, "expectation_failed", "the only expectation met here is 100-continue");
        return true;
    }
    if (r->has_body && c->parser->content_length > c->server->limits.body_bytes && !(c->parser->flags & F_CHUNKED)) {
        answer_refuse(c, 413, "body_too_large", "the request body is too large");
        return true;
    }
    return false;
}

void request_read_head(struct conn *c, size_t head_len)
{
    struct spans spans = { 0 };

    c->parser = mem_alloc(sizeof *c->parser);
    llhttp_init(c->parser, HTTP_REQUEST, &head_settings);
    c->parser->data = &spans;
    enum llhttp_errno failed = llhttp_execute(c->parser, c->in.data, head_len);
    if (failed != HPE_OK) {
        bool version = failed == HPE_INVALID_VERSION;
        answer_refuse(c, version ? 505 : failed == HPE_INVALID_METHOD ? 501 : 400, version ? "http_version" : "bad_request",
                      version ? "only HTTP/1.0 and HTTP/1.1 are spoken here" : "the request head is malformed");
        return;
    }
    keep_strings(c, &spans);
    c->parser->data = c;
    c->request.method = llhttp_method_name(llhttp_get_method(c->parser));
    c->request.minor = llhttp_get_http_minor(c->parser);
    c->request.has_body = (c->parser->flags & F_CHUNKED) || ((c->parser->flags & F_CONTENT_LENGTH) && c->parser->content_length > 0);
    memcpy(c->request.ip, c->ip, sizeof c->ip);
    c->head_only = strcmp(c->request.method, "HEAD") == 0;
    buf_consume(&c->in, head_len);

    const char *why = head_check_fields(c->request.headers, c->request.n_headers, llhttp_get_http_major(c->parser), c->request.minor);
    if (why) {
        answer_refuse(c, 400, "bad_request", why);
        return;
    }
    c->keep = wants_keep_alive(c) && !c->server->stopped;
    c->body_state = c->request.has_body ? BODY_UNREAD : BODY_NONE;
    c->body_error = 0;
    c->last_chunk = c->body_owed = false;
    c->quiet = 0;
    c->state = CONN_ANSWER;
    c->deadline = 0;
    c->owner = NULL;
    c->streaming = c->chunked = c->want_drain = false;
    if (refused(c))
        return;
    if (!c->request.has_body) {
        free(c->parser);
        c->parser = NULL;
    }
    metrics_add(c->server->metrics, METRIC_requests_total, 1);
    c->server->events.on_request(c->server->owner, c, &c->request);
}

/* --- the body --------------------------------------------------------------------------------------------------- */

static int on_chunk_header(llhttp_t *p)
{
    struct conn *c = p->data;

    c->quiet = 0;
    c->last_chunk = p->content_length == 0;
    if (p->content_length > c->server->limits.body_bytes - c->body.len)
        c->body_error = 413;
    return c->body_error ? -1 : 0;
}

static int on_chunk_complete(llhttp_t *p)
{
    struct conn *c = p->data;
    c->quiet = 0;
    return 0;
}

static int on_body(llhttp_t *p, const char *at, size_t len)
{
    struct conn *c = p->data;

    c->quiet = 0;
    if (len > c->server->limits.body_bytes - c->body.len)
        c->body_error = 413;
    else
        buf_append(&c->body, at, len);
    return c->body_error ? -1 : 0;
}

static int on_message_complete(llhttp_t *p)
{
    struct conn *c = p->data;

    c->body_state = BODY_COMPLETE;
    return HPE_PAUSED;
}

static const llhttp_settings_t body_settings = {
    .on_body = on_body,
    .on_chunk_header = on_chunk_header,
    .on_chunk_complete = on_chunk_complete,
    .on_message_complete = on_message_complete,
};

static void refuse_body(struct conn *c, int status)
{
    void *owner = c->owner;

    c->owner = NULL;
    answer_refuse(c, status, status == 413 ? "body_too_large" : "bad_request", status == 413 ? "the request body is too large" : "the request body is malformed");
    if (owner)
        c->server->events.on_gone(owner);
}

void request_read_body(struct conn *c)
{
    c->parser->settings = (void *)&body_settings;
    while (c->in.len > 0 && c->body_state == BODY_READING) {
        bool slice = (c->parser->flags & F_CHUNKED) && c->in.len > SLICE;
        size_t n = slice ? SLICE : c->in.len;
        c->quiet += n;
        enum llhttp_errno failed = llhttp_execute(c->parser, c->in.data, n);
        size_t used = failed == HPE_PAUSED ? (size_t)(llhttp_get_error_pos(c->parser) - c->in.data) : n;
        if (failed != HPE_OK && failed != HPE_PAUSED) {
            refuse_body(c, c->body_error ? c->body_error : 400);
            return;
        }
        buf_consume(&c->in, used);
        if (c->quiet > (c->last_chunk ? TRAILERS_MAX : CHUNK_LINE_MAX) && c->body_state == BODY_READING) {
            refuse_body(c, 400);
            return;
        }
    }
    if (c->body_state != BODY_COMPLETE)
        return;
    free(c->parser);
    c->parser = NULL;
    c->deadline = 0;
    c->server->events.on_body(c->owner, c->body.data, c->body.len);
}
