/* The HTTP server by itself: what it makes of requests is the same for every cut of their bytes; bodies of both framings within their limits; streamed
 * answers on 1.1 and 1.0; a client that leaves is told of. One loop holds the server and the raw client. */
#include "net/server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static uv_loop_t loop;
static struct server *server;
static struct metrics metrics;
static struct conn *held;                              /* of the request that waits for the spec */
static char told[200];                                 /* what the server told last */
static int n_gone, n_drain;
static bool closed;

static void answer(struct conn *c, const char *text, size_t len)
{
    struct header h = { "Content-Type", "text/plain" };
    struct buf body = BUF_EMPTY;

    buf_append(&body, text, len);
    conn_reply(c, 200, &h, 1, &body);
}

/* /echo answers with the request as understood, its body too; /hold waits for the spec; /ignore answers without having read the body. */
static void on_request(void *owner, struct conn *c, const struct http_request *r)
{
    (void)owner;
    snprintf(told, sizeof told, "%s %s?%s 1.%d %s %zu", r->method, r->path, r->query, r->minor, r->has_body ? "body" : "no body", r->n_headers);
    conn_own(c, c);
    if (strcmp(r->path, "/hold") == 0)
        held = c;
    else if (strcmp(r->path, "/ignore") == 0)
        answer(c, "ignored", 7);
    else
        conn_read_body(c);
}

static void on_body(void *owner, const char *bytes, size_t len)
{
    struct buf text = BUF_EMPTY;

    buf_printf(&text, "%s [", told);
    buf_append(&text, bytes, len);
    buf_putc(&text, ']');
    answer(owner, text.data, text.len);
    buf_free(&text);
}

static void on_drain(void *owner) { (void)owner; n_drain++; }
static void on_gone(void *owner) { (void)owner; n_gone++; held = NULL; }

static const struct server_events events = { on_request, on_body, on_drain, on_gone };

static void turns(int n)
{
    while (n-- > 0)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static int dial(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons((uint16_t)server_port(server)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    CHECK_INT(0, connect(fd, (struct sockaddr *)&at, sizeof at));
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Reads what is there. True: the server closed. */
static bool hear(int fd, struct buf *out)
{
    char bytes[4096];
    ssize_t n;

    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
        buf_append(out, bytes, (size_t)n);
    CHECK(n == 0 || errno == EAGAIN || errno == ECONNRESET);
    return n == 0 || errno == ECONNRESET;
}

/* Status codes and bodies, in order: what matters of the answers. Dates and the like are left out. */
static void gist(const struct buf *raw, struct buf *out)
{
    const char *at = raw->data, *end = raw->data + raw->len;

    while (at && at < end) {
        const char *body = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
        const char *length = strcasestr(at, "\r\ncontent-length: ");
        CHECK(body && strncmp(at, "HTTP/1.1 ", 9) == 0);
        buf_printf(out, "%.3s ", at + 9);
        body += 4;
        at = body;
        if (length && length < body) {
            size_t n = strtoul(length + 18, NULL, 10);
            CHECK(body + n <= end);
            buf_append(out, body, n);
            at = body + n;
        }
        buf_puts(out, "; ");
    }
    buf_cstr(out);
}

/* Sends `bytes` in two parts (cut 0: byte by byte) and returns the gist of all that came until the server closed or went quiet. */
static const char *talk(const char *bytes, size_t len, size_t cut)
{
    static struct buf out;
    struct buf raw = BUF_EMPTY;
    int fd = dial(), quiet = 0;

    buf_free(&out);
    turns(2);
    for (size_t at = 0; at < len;) {
        size_t n = cut == 0 ? 1 : at < cut && cut < len ? cut - at : len - at;
        if (send(fd, bytes + at, n, MSG_NOSIGNAL) < 0)
            break;                                     /* it has refused and closed */
        at += n;
        turns(2);
    }
    shutdown(fd, SHUT_WR);
    while (!hear(fd, &raw) && quiet++ < 200)
        turns(3);
    close(fd);
    turns(2);
    buf_cstr(&raw);
    if (raw.len)
        gist(&raw, &out);
    else
        buf_puts(&out, "nothing");
    buf_free(&raw);
    return buf_cstr(&out);
}

static void says_at(int line, const char *want, const char *bytes, size_t len)
{
    for (size_t cut = 0; cut <= len; cut++) {
        const char *got = talk(bytes, len, cut);
        if (strncmp(got, want, strlen(want)) != 0)
            CHECK_FAIL("line %d, cut %zu: got \"%s\"", line, cut, got);
    }
}

#define SAYS(want, request) says_at(__LINE__, want, request, sizeof request - 1)
#define HOST "Host: x\r\n"

static void requests_at_every_cut(void)
{
    SAYS("200 GET /echo?a=1&b 1.1 no body 1 []; ", "GET /echo?a=1&b HTTP/1.1\r\n" HOST "\r\n");
    SAYS("200 GET /echo? 1.0 no body 0 []; ", "GET /echo HTTP/1.0\r\n\r\n");
    SAYS("200 GET /echo? 1.1 no body 1 []; 200 GET /echo?2 1.1 no body 1 []; ", "GET /echo HTTP/1.1\r\n" HOST "\r\nGET /echo?2 HTTP/1.1\r\n" HOST "\r\n");
    SAYS("200 GET /echo?q 1.1 no body 1 []; ", "GET http://x/echo?q HTTP/1.1\r\n" HOST "\r\n");
    SAYS("200 GET /? 1.1 no body 1 []; ", "GET http://x HTTP/1.1\r\n" HOST "\r\n");
}

static void bodies_at_every_cut(void)
{
    SAYS("200 POST /echo? 1.1 body 2 [hello]; ", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
    SAYS("200 POST /echo? 1.1 no body 2 []; ", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n");
    SAYS("200 POST /echo? 1.1 body 2 [hello]; 200 GET /echo?next 1.1 no body 1 []; ",
         "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhelloGET /echo?next HTTP/1.1\r\n" HOST "\r\n");
    SAYS("200 POST /echo? 1.1 body 2 [hello world]; 200 GET /echo?next 1.1 no body 1 []; ",
         "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nTrailer: z\r\n\r\nGET /echo?next HTTP/1.1\r\n" HOST "\r\n");
    SAYS("200 POST /echo? 1.1 body 2 []; ", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n");
}

static void bad_bodies_at_every_cut(void)
{
    SAYS("400 ", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nx\r\nhello\r\n0\r\n\r\n");
    SAYS("400 ", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5\r\nhelloX\r\n0\r\n\r\n");
    SAYS("400 ", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n");
    SAYS("413 ", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nfffffff\r\n");
    SAYS("413 ", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 101\r\n\r\n");
    SAYS("413 ", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n40\r\n");
}

static void refusals_end_the_connection(void)
{
    static const char smuggled[] = "GET / HTTP/1.1\r\nX: y\r\n folded\r\n\r\nGET /echo HTTP/1.1\r\n" HOST "\r\n";
    const char *got = talk(smuggled, sizeof smuggled - 1, SIZE_MAX);

    CHECK(strncmp(got, "400 ", 4) == 0);
    CHECK(strstr(got, "GET /echo") == NULL);
    CHECK(strstr(got, "; ") == got + strlen(got) - 2); /* one answer */
}

static void a_long_chunk_line_and_long_trailers(void)
{
    struct buf b = BUF_EMPTY;

    buf_puts(&b, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5;");
    for (int i = 0; i < 400; i++)
        buf_putc(&b, 'x');
    buf_puts(&b, "\r\nhello\r\n0\r\n\r\n");
    CHECK(strncmp(talk(b.data, b.len, SIZE_MAX), "400 ", 4) == 0);
    buf_free(&b);
    buf_puts(&b, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n");
    for (int i = 0; i < 500; i++)
        buf_puts(&b, "Trailer: xxxxxxxx\r\n");
    buf_puts(&b, "\r\n");
    CHECK(strncmp(talk(b.data, b.len, SIZE_MAX), "400 ", 4) == 0);
    buf_free(&b);
}

static void a_body_nobody_reads_is_no_request(void)
{
    const char *got = talk("POST /ignore HTTP/1.1\r\n" HOST "Content-Length: 27\r\n\r\nGET /echo HTTP/1.1\r\nHost: x\r\n\r\nGET /echo?after HTTP/1.1\r\n" HOST "\r\n", 120, SIZE_MAX);

    CHECK(strncmp(got, "200 ignored; ", 13) == 0);
    CHECK(strstr(got, "GET /echo? ") == NULL);
}

static void expect_continue(void)
{
    static const char head[] = "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\nExpect: 100-continue\r\n\r\n";
    struct buf raw = BUF_EMPTY;
    int fd = dial();

    CHECK(send(fd, head, sizeof head - 1, MSG_NOSIGNAL) > 0);
    for (int i = 0; i < 100 && raw.len == 0; i++) {
        turns(2);
        hear(fd, &raw);
    }
    CHECK(raw.len > 12 && strncmp(raw.data, "HTTP/1.1 100", 12) == 0);
    CHECK(send(fd, "ok", 2, MSG_NOSIGNAL) > 0);
    for (int i = 0; i < 100 && !memmem(raw.data, raw.len, "[ok]", 4); i++) {
        turns(2);
        hear(fd, &raw);
    }
    CHECK(memmem(raw.data, raw.len, "\r\n\r\nHTTP/1.1 200", 16) != NULL);
    close(fd);
    turns(4);
    buf_free(&raw);
}

static int hold(const char *request)
{
    int fd = dial();

    held = NULL;
    CHECK(send(fd, request, strlen(request), MSG_NOSIGNAL) > 0);
    for (int i = 0; i < 100 && !held; i++)
        turns(2);
    CHECK(held != NULL);
    return fd;
}

static void say(const char *text)
{
    struct buf b = BUF_EMPTY;

    buf_puts(&b, text);
    conn_write(held, &b);
}

static void streamed_answers(void)
{
    static const char *const requests[] = { "GET /hold HTTP/1.1\r\n" HOST "\r\n", "GET /hold HTTP/1.0\r\n\r\n", "HEAD /hold HTTP/1.1\r\n" HOST "\r\n" };
    static const char *const ends[] = { "\r\n\r\n6\r\nonetwo\r\n5\r\nthree\r\n0\r\n\r\n", "\r\n\r\nonetwothree", "\r\n\r\n" };
    struct header type = { "Content-Type", "text/event-stream" };

    for (int i = 0; i < 3; i++) {
        struct buf raw = BUF_EMPTY;
        int fd = hold(requests[i]);
        size_t n = strlen(ends[i]);

        conn_head(held, 200, &type, 1);
        say("one");
        say("two");                                    /* one turn, one write, one chunk */
        turns(3);
        hear(fd, &raw);
        CHECK(i == 2 || memmem(raw.data, raw.len, "onetwo", 6));
        say("three");
        conn_end(held);
        for (int k = 0; k < 100 && (raw.len < n || memcmp(raw.data + raw.len - n, ends[i], n) != 0); k++) {
            turns(2);
            hear(fd, &raw);
        }
        CHECK(raw.len >= n && memcmp(raw.data + raw.len - n, ends[i], n) == 0);
        buf_cstr(&raw);
        CHECK((strcasestr(raw.data, "transfer-encoding: chunked") != NULL) == (i != 1));
        close(fd);
        turns(4);
        buf_free(&raw);
    }
}

static void a_leaving_client_is_told_of(void)
{
    for (int how = 0; how < 3; how++)
        for (int streaming = 0; streaming < 2; streaming++) {
            struct header type = { "Content-Type", "text/event-stream" };
            struct linger reset = { 1, 0 };
            int fd = hold("GET /hold HTTP/1.1\r\n" HOST "\r\n");

            n_gone = 0;
            if (streaming) {
                conn_head(held, 200, &type, 1);
                say("x");
                turns(3);
            }
            if (how == 0)
                setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
            if (how == 2)
                shutdown(fd, SHUT_WR);                 /* half: it asked and will say no more; a browser that leaves looks the same */
            else
                close(fd);
            for (int i = 0; i < 200 && !n_gone; i++)
                turns(2);
            CHECK_INT(1, n_gone);
            if (how == 2)
                close(fd);
            turns(4);
        }
}

static void a_client_that_does_not_read(void)
{
    struct header type = { "Content-Type", "text/event-stream" };
    char block[8192];
    struct buf raw = BUF_EMPTY;
    int fd = hold("GET /hold HTTP/1.1\r\n" HOST "\r\n");
    bool more = true;
    size_t sent = 0, most = 0;

    memset(block, 'x', sizeof block);
    conn_head(held, 200, &type, 1);
    for (int i = 0; i < 100000 && more; i++) {
        struct buf b = BUF_EMPTY;
        buf_append(&b, block, sizeof block);
        more = conn_write(held, &b);
        sent += sizeof block;
        turns(1);
        most = conn_waiting(held) > most ? conn_waiting(held) : most;
    }
    CHECK(!more);                                      /* told to wait, before anything like a megabyte waited here */
    CHECK(most <= 256 * 1024);
    n_drain = 0;
    for (int i = 0; i < 10000 && !n_drain; i++) {
        hear(fd, &raw);
        turns(1);
    }
    CHECK_INT(1, n_drain);
    conn_end(held);
    for (int i = 0; i < 10000 && (raw.len < 5 || memcmp(raw.data + raw.len - 5, "0\r\n\r\n", 5) != 0); i++) {
        turns(1);
        hear(fd, &raw);
    }
    CHECK(raw.len > sent);                             /* all of it, framed */
    close(fd);
    turns(4);
    buf_free(&raw);
}

static void on_closed(void *owner) { (void)owner; closed = true; }

static void closes_with_requests_running(void)
{
    int fd = hold("GET /hold HTTP/1.1\r\n" HOST "\r\n"), idle = dial();

    n_gone = 0;
    server_close(server, on_closed);
    for (int i = 0; i < 100 && !closed; i++)
        turns(2);
    CHECK(closed);
    CHECK_INT(1, n_gone);
    close(fd);
    close(idle);
    uv_run(&loop, UV_RUN_DEFAULT);
    CHECK_INT(0, uv_loop_close(&loop));
}

int main(void)
{
    struct server_limits limits = { .body_bytes = 100 };

    uv_loop_init(&loop);
    CHECK_INT(0, server_open(&server, &loop, "127.0.0.1", 0, false, &limits, &events, NULL, &metrics));
    RUN(requests_at_every_cut);
    RUN(bodies_at_every_cut);
    RUN(bad_bodies_at_every_cut);
    RUN(refusals_end_the_connection);
    RUN(a_long_chunk_line_and_long_trailers);
    RUN(a_body_nobody_reads_is_no_request);
    RUN(expect_continue);
    RUN(streamed_answers);
    RUN(a_leaving_client_is_told_of);
    RUN(a_client_that_does_not_read);
    RUN(closes_with_requests_running);
    return check_done();
}
