/* One transfer: its options, what curl brings, holding and cancelling, its end. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <stdlib.h>

#include "base/mem.h"
#include "base/secret.h"
#include "net/fetch_inside.h"

#define BUFFER_SIZE 8192                               /* of each transfer; curl's default of 16 KiB only costs memory: SSE reads are small */
#define HEADERS_MAX 100
#define CONNECT_MS 10000

/* --- the end ---------------------------------------------------------------------------------------------------- */

static void put_back(struct fetch_pool *p, CURL *easy)
{
    if (p->n_spare == FREE_EASY_MAX) {
        curl_easy_cleanup(easy);
        return;
    }
    curl_easy_reset(easy);
    p->spare[p->n_spare++] = easy;
}

void fetch_destroy(struct fetch *f)
{
    list_remove(&f->link);
    list_remove(&f->later_link);
    if (f->added)
        curl_multi_remove_handle(f->pool->multi, f->easy);
    put_back(f->pool, f->easy);
    curl_slist_free_all(f->headers);
    buf_free(&f->body);
    buf_free(&f->head);
    free(f);
}

/* The request had been sent when it ended. */
static bool was_asked(const struct fetch *f)
{
    curl_off_t us = 0;

    return curl_easy_getinfo(f->easy, CURLINFO_PRETRANSFER_TIME_T, &us) == CURLE_OK && us > 0;
}

static enum fetch_end end_of(const struct fetch *f, CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return f->head_told ? FETCH_OK : FETCH_RESET;  /* closed within the head is fine by curl */
    case CURLE_URL_MALFORMAT:
        return FETCH_BAD_URL;
    case CURLE_UNSUPPORTED_PROTOCOL:                   /* of the URL, or what came back had no head at all (HTTP/0.9) */
        return was_asked(f) ? FETCH_PROTOCOL : FETCH_BAD_URL;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return FETCH_RESOLVE;
    case CURLE_COULDNT_CONNECT:
        return FETCH_CONNECT;
    case CURLE_OPERATION_TIMEDOUT:
        return FETCH_CONNECT_TIMEOUT;                  /* the connect phase is the only one we let curl time */
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_INVALIDCERTSTATUS:
        return FETCH_TLS;
    case CURLE_BAD_CONTENT_ENCODING:
        return FETCH_DECODE;
    case CURLE_WRITE_ERROR:                            /* curl 7.88 says so for some broken encodings */
        return f->head_told ? FETCH_DECODE : FETCH_PROTOCOL;
    case CURLE_WEIRD_SERVER_REPLY:
    case CURLE_HTTP2:
    case CURLE_HTTP2_STREAM:
        return FETCH_PROTOCOL;
    default:
        return FETCH_RESET;
    }
}

/* curl's words, without keys. */
static void describe(const struct fetch *f, CURLcode code, struct buf *text)
{
    if (code == CURLE_OK)
        return;
    buf_puts(text, f->error[0] ? f->error : curl_easy_strerror(code));
    secret_scrub(text);
}

void fetch_over(struct fetch *f, CURLcode code)
{
    struct fetch_events events = f->events;
    void *owner = f->owner;
    struct buf text = BUF_EMPTY;

    if (f->cancelled) {
        fetch_destroy(f);
        return;
    }
    enum fetch_end end = end_of(f, code);
    if (end == FETCH_OK && f->pool->idle < IDLE_CONNECTIONS)
        f->pool->idle++;
    describe(f, code, &text);
    fetch_destroy(f);
    events.on_done(owner, end, buf_cstr(&text));
    buf_free(&text);
}

/* --- what curl brings ------------------------------------------------------------------------------------------- */

static void tell_head(struct fetch *f)
{
    struct header h[HEADERS_MAX];
    const char *at = f->head.data;
    long status = 0;

    for (int i = 0; i < f->n_head - 1; i++) {
        h[i].name = at;
        at += strlen(at) + 1;
        h[i].value = at;
        at += strlen(at) + 1;
    }
    f->head_told = true;
    curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
    if (!f->cancelled)
        f->events.on_head(f->owner, (int)status, h, (size_t)(f->n_head - 1));
    buf_free(&f->head);
}

static void keep_header(struct fetch *f, const char *line, size_t len)
{
    const char *colon = memchr(line, ':', len);

    if (!colon || f->n_head >= HEADERS_MAX || memchr(line, 0, len))
        return;
    const char *value = colon + 1, *end = line + len;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    buf_append(&f->head, line, (size_t)(colon - line));
    buf_putc(&f->head, 0);
    buf_append(&f->head, value, (size_t)(end - value));
    buf_putc(&f->head, 0);
    f->n_head++;
}

static size_t on_header(char *line, size_t one, size_t len, void *arg)
{
    struct fetch *f = arg;

    (void)one;
    if (f->head_told)
        return len;                                    /* trailers */
    if (len >= 5 && strncasecmp(line, "HTTP/", 5) == 0) {
        buf_free(&f->head);                            /* a new head: what came before was a 1xx */
        f->n_head = 1;                                 /* the status line counts as one */
    } else if (len > 2) {
        keep_header(f, line, len);
    } else {
        long status = 0;
        curl_easy_getinfo(f->easy, CURLINFO_RESPONSE_CODE, &status);
        if (status >= 200)
            tell_head(f);
    }
    return f->cancelled ? 0 : len;
}

static size_t on_body(char *bytes, size_t one, size_t len, void *arg)
{
    struct fetch *f = arg;

    (void)one;
    if (f->cancelled)
        return 0;
    if (f->held) {
        f->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    f->events.on_bytes(f->owner, bytes, len);
    return f->cancelled ? 0 : len;
}

/* --- starting --------------------------------------------------------------------------------------------------- */

static void set_headers(struct fetch *f, const struct fetch_request *want)
{
    for (size_t i = 0; i < want->n_headers; i++) {
        char *line = mem_format("%s: %s", want->headers[i].name, want->headers[i].value);
        f->headers = curl_slist_append(f->headers, line);
        free(line);
    }
    f->headers = curl_slist_append(f->headers, "Accept-Encoding: identity");
    f->headers = curl_slist_append(f->headers, "Expect:");
    curl_easy_setopt(f->easy, CURLOPT_HTTPHEADER, f->headers);
}

/* To find an idle connection curl looks at all of a host's, busy ones too: thousands, when thousands stream. Where none can be idle it need not look.
 * (Over TLS a busy one may do, by HTTP/2.) */
static bool none_is_idle(struct fetch_pool *p, const char *url)
{
    if (strncasecmp(url, "http:", 5) != 0)
        return false;
    if (p->idle == 0)
        return true;
    p->idle--;
    return false;
}

static void set_options(struct fetch *f, const struct fetch_request *want)
{
    CURL *e = f->easy;

    curl_easy_setopt(e, CURLOPT_PRIVATE, f);
    curl_easy_setopt(e, CURLOPT_URL, want->url);
    curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(e, CURLOPT_PROXY, "");            /* none, whatever the environment says */
    curl_easy_setopt(e, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
    if (want->ca)
        curl_easy_setopt(e, CURLOPT_CAINFO, want->ca);
    curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, none_is_idle(f->pool, want->url) ? 1L : 0L);
    curl_easy_setopt(e, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "");  /* decode what comes; our own header asks for identity */
    curl_easy_setopt(e, CURLOPT_BUFFERSIZE, (long)BUFFER_SIZE);
    curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)(want->connect_ms ? want->connect_ms : CONNECT_MS));
    curl_easy_setopt(e, CURLOPT_ERRORBUFFER, f->error);
    curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(e, CURLOPT_HEADERDATA, f);
    curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(e, CURLOPT_WRITEDATA, f);
    if (want->body) {
        buf_append(&f->body, want->body, want->body_len);
        curl_easy_setopt(e, CURLOPT_POSTFIELDS, f->body.data ? f->body.data : "");
        curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)f->body.len);
    }
    if (strcmp(want->method, want->body ? "POST" : "GET") != 0)
        curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, want->method);
}

static int add(struct fetch *f)
{
    if (curl_multi_add_handle(f->pool->multi, f->easy) != CURLM_OK)   /* starts with curl's alarm of 0: the next turn */
        return -1;
    f->added = true;
    return 0;
}

int fetch_start(struct fetch **ret, struct fetch_pool *p, const struct fetch_request *want, const struct fetch_events *events, void *owner)
{
    CURL *easy = p->n_spare ? p->spare[--p->n_spare] : curl_easy_init();

    if (!easy)
        return UV_ENOMEM;
    struct fetch *f = mem_alloc(sizeof *f);
    f->pool = p;
    f->easy = easy;
    f->events = *events;
    f->owner = owner;
    list_init(&f->later_link);
    list_append(&p->running, &f->link);
    set_options(f, want);
    set_headers(f, want);
    if (p->in_curl) {
        fetch_pool_later(f);
    } else if (add(f) != 0) {
        fetch_destroy(f);
        return UV_EINVAL;
    }
    *ret = f;
    return 0;
}

/* --- flow ------------------------------------------------------------------------------------------------------- */

void fetch_hold(struct fetch *f)
{
    f->held = true;
    if (f->added && !f->pool->in_curl && !f->paused) { /* within a callback the next on_body says so */
        f->paused = true;
        curl_easy_pause(f->easy, CURLPAUSE_RECV);      /* stop reading the socket too */
    }
}

void fetch_release(struct fetch *f)
{
    if (!f->held)
        return;
    f->held = false;
    if (f->paused)
        fetch_pool_later(f);
}

void fetch_cancel(struct fetch *f)
{
    f->cancelled = true;
    if (f->pool->in_curl)
        fetch_pool_later(f);
    else
        fetch_destroy(f);
}

/* One thing that had to wait: a start, a release or a cancel. */
void fetch_do_now(struct fetch *f)
{
    struct fetch_pool *p = f->pool;

    if (f->cancelled) {
        fetch_destroy(f);
    } else if (!f->added) {
        if (add(f) != 0)
            fetch_over(f, CURLE_FAILED_INIT);
    } else if (!f->held && f->paused) {
        f->paused = false;
        p->in_curl++;
        CURLcode code = curl_easy_pause(f->easy, CURLPAUSE_CONT);   /* may deliver at once */
        p->in_curl--;
        if (code != CURLE_OK && !f->cancelled)         /* what waited could not be decoded */
            fetch_over(f, code);
    }
}
