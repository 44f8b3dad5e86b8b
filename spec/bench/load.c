/* The benchmark's client: many streams at once, each checked to its last byte.
 *
 *     load PORT STREAMS AT_ONCE TOKENS GAP_MS token|openai TEXT RAMP
 *
 * Each stream is a connection of its own that asks GET /api/stream?q=bench-TOKENS-GAP_MS. Its events must be TOKENS tokens, the i-th of them the text
 * TEXT with its # replaced by i (framed as {"token":...}, or anything with "content":...), then [DONE], then the response's own end. RAMP: how many
 * connections are opened in one millisecond at most. Prints one JSON object. One thread, epoll.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 2048, CONNS = 65536 };
enum state { HEAD, SIZE, CHUNK, AFTER, LAST, DONE };

struct stream {
    int fd;
    enum state state;
    size_t need;                                       /* bytes left of the chunk */
    unsigned tokens;
    int marked;                                        /* [DONE] was seen */
    size_t len;
    char line[LINE];                                   /* of the head, of the framing or of the body, until it is whole */
    size_t body_len;
    char body[LINE];
    uint64_t asked_us;
};

static struct stream *streams[CONNS];
static int poll_fd, openai;
static unsigned total, at_once, want_tokens, gap_ms, ramp, started, running, good, bad;
static unsigned long long tokens_seen;
static struct sockaddr_in target;
static const char *text;
static uint32_t *first_us;
static unsigned n_first;
static char why[200];

static uint64_t now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

static void over(struct stream *s, const char *failure)
{
    if (failure && bad++ == 0)
        snprintf(why, sizeof why, "%s after %u tokens", failure, s->tokens);
    if (!failure)
        good++;
    close(s->fd);
    streams[s->fd] = NULL;
    free(s);
    running--;
}

static void start(void)
{
    struct stream *s = calloc(1, sizeof *s);
    struct epoll_event e = { .events = EPOLLIN };
    char request[200];
    int one = 1;

    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    started++;
    running++;
    if (s->fd < 0 || s->fd >= CONNS) {
        perror("load: socket");
        exit(1);
    }
    s->asked_us = now_us();
    if (connect(s->fd, (struct sockaddr *)&target, sizeof target) < 0) {      /* loopback: at once */
        streams[s->fd] = s;
        over(s, "connect failed");
        return;
    }
    setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    int n = snprintf(request, sizeof request, "GET /api/stream?q=bench-%u-%u HTTP/1.1\r\nHost: bench.test\r\nAccept: text/event-stream\r\n\r\n", want_tokens, gap_ms);
    streams[s->fd] = s;
    e.data.fd = s->fd;
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, s->fd, &e);
    if (send(s->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
        over(s, "send failed");
}

/* One line of the event stream, without its LF. NULL: as it should be. */
static const char *check_line(struct stream *s, const char *line, size_t len)
{
    char want[200];
    const char *mark = openai ? "\"content\":\"" : "data: {\"token\":\"";

    if (len == 0 || line[0] == ':')
        return NULL;
    if (s->marked)
        return "something after [DONE]";
    if (len == 12 && memcmp(line, "data: [DONE]", 12) == 0) {
        s->marked = 1;
        return s->tokens == want_tokens ? NULL : "[DONE] too early";
    }
    const char *at = memmem(line, len, mark, strlen(mark));
    if (!at || memcmp(line, "data: ", 6) != 0)
        return "an event that is no token";
    const char *hash = strchr(text, '#');
    int n = snprintf(want, sizeof want, "%.*s%u%s\"}", (int)(hash - text), text, s->tokens, hash + 1);
    at += strlen(mark);
    if ((size_t)(line + len - at) < (size_t)n || memcmp(at, want, (size_t)n) != 0)
        return "another text than was sent";
    if (s->tokens++ == 0)
        first_us[n_first++] = (uint32_t)(now_us() - s->asked_us);
    tokens_seen++;
    return NULL;
}

static const char *take_body(struct stream *s, const char *at, size_t len)
{
    while (len > 0) {
        const char *lf = memchr(at, '\n', len);
        size_t n = lf ? (size_t)(lf - at) : len;
        const char *failure = NULL;

        if (lf && s->body_len == 0) {
            failure = check_line(s, at, n);
        } else {
            if (s->body_len + n > LINE)
                return "a line that is too long";
            memcpy(s->body + s->body_len, at, n);
            s->body_len += n;
            if (lf) {
                failure = check_line(s, s->body, s->body_len);
                s->body_len = 0;
            }
        }
        if (failure)
            return failure;
        at += n + (lf != NULL);
        len -= n + (lf != NULL);
    }
    return NULL;
}

/* A line of the head or of the framing. */
static const char *take_line(struct stream *s)
{
    s->line[s->len] = 0;
    switch (s->state) {
    case HEAD:
        if (!strstr(s->line, "\r\n\r\n"))
            return NULL;
        if (strncmp(s->line, "HTTP/1.1 200", 12) != 0)
            return "no status 200";
        if (!strcasestr(s->line, "transfer-encoding: chunked"))
            return "no chunks";
        s->state = SIZE;
        break;
    case SIZE:
        s->need = strtoul(s->line, NULL, 16);
        s->state = s->need ? CHUNK : LAST;
        break;
    case AFTER:
        s->state = SIZE;
        break;
    default:
        s->state = DONE;
    }
    s->len = 0;
    return NULL;
}

static const char *take(struct stream *s, const char *at, size_t len)
{
    const char *failure = NULL;

    while (len > 0 && !failure && s->state != DONE) {
        if (s->state == CHUNK) {
            size_t n = len < s->need ? len : s->need;
            failure = take_body(s, at, n);
            at += n;
            len -= n;
            s->need -= n;
            if (s->need == 0)
                s->state = AFTER;
            continue;
        }
        if (s->len == LINE - 1)
            return "a head or a chunk line that is too long";
        s->line[s->len++] = *at++;
        len--;
        if (s->line[s->len - 1] == '\n')
            failure = take_line(s);
    }
    if (s->state == DONE && len > 0)
        return "bytes after the end";
    return failure;
}

static void on_readable(struct stream *s)
{
    static char bytes[65536];
    ssize_t n = recv(s->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (n < 0 && errno == EAGAIN)
        return;
    const char *failure = n < 0 ? "reset" : n == 0 ? "closed before its end" : take(s, bytes, (size_t)n);
    if (failure)
        over(s, failure);
    else if (s->state == DONE)
        over(s, s->marked ? NULL : "an end without [DONE]");
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    uint64_t began = now_us(), heard = began;

    if (argc != 9) {
        fputs("usage: load PORT STREAMS AT_ONCE TOKENS GAP_MS token|openai TEXT RAMP\n", stderr);
        return 2;
    }
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    target = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    total = (unsigned)atoi(argv[2]);
    at_once = (unsigned)atoi(argv[3]);
    want_tokens = (unsigned)atoi(argv[4]);
    gap_ms = (unsigned)atoi(argv[5]);
    openai = strcmp(argv[6], "openai") == 0;
    text = argv[7];
    ramp = (unsigned)atoi(argv[8]);
    first_us = calloc(total + 1, sizeof *first_us);
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    while (started < total || running > 0) {
        struct epoll_event news[512];
        unsigned fresh = 0;

        while (started < total && running < at_once && fresh++ < ramp)
            start();
        int n = epoll_wait(poll_fd, news, 512, started < total && running < at_once ? 1 : 100);
        for (int i = 0; i < n; i++)
            if (streams[news[i].data.fd])
                on_readable(streams[news[i].data.fd]);
        if (n > 0)
            heard = now_us();
        if (now_us() - heard > 60000000) {
            fprintf(stderr, "load: nothing came for a minute, %u streams hang\n", running);
            return 1;
        }
    }
    qsort(first_us, n_first, sizeof *first_us, by_size);
    printf("{\"streams\":%u,\"good\":%u,\"bad\":%u,\"why\":\"%s\",\"tokens\":%llu,\"wall_ms\":%llu,\"first_us_p50\":%u,\"first_us_p99\":%u}\n", total, good, bad, why, tokens_seen,
           (unsigned long long)((now_us() - began) / 1000), n_first ? first_us[n_first / 2] : 0, n_first ? first_us[n_first * 99 / 100] : 0);
    return bad != 0;
}
