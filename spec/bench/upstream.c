/* A model service for the benchmark: does as the question says, as fast as the socket takes it.
 *
 *     upstream PORT        127.0.0.1; prints "ready" when it listens; ends when its input ends
 *
 * A request that holds "bench-TOKENS-GAP" anywhere (in its target or its body) is answered with TOKENS events as OpenAI's chat completions send
 * them (about 300 bytes, each its own chunk), GAP milliseconds apart, 0: without a pause; then [DONE]. Connections are kept alive. One thread, epoll.
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

enum { IN_SIZE = 8192, OUT_SIZE = 16384, CONNS = 65536 };

struct conn {
    int fd;
    char *in, *out;                                    /* `out` only while something waits */
    size_t in_len, out_at, out_len;
    unsigned tokens, sent, gap_ms;
    uint64_t due_ms;                                   /* of the next token when gap_ms > 0; 0: no stream runs */
    int streaming;
};

static struct conn *conns[CONNS];                      /* by descriptor */
static int poll_fd, top;

static uint64_t now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void drop(struct conn *c)
{
    close(c->fd);
    conns[c->fd] = NULL;
    free(c->in);
    free(c->out);
    free(c);
}

static void watch(struct conn *c, int writing)
{
    struct epoll_event e = { .events = writing ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.fd = c->fd };
    epoll_ctl(poll_fd, EPOLL_CTL_MOD, c->fd, &e);
}

static size_t put_event(char *out, size_t room, unsigned i)
{
    char event[512];
    int n = snprintf(event, sizeof event,
                     "data: {\"id\":\"chatcmpl-BvE2oGqXn4c7yPz0aKtRr1s8dW3fU\",\"object\":\"chat.completion.chunk\",\"created\":1753000000,"
                     "\"model\":\"gpt-4o-mini-2024-07-18\",\"service_tier\":\"default\",\"system_fingerprint\":\"fp_34a54ae93c\",\"choices\":[{\"index\":0,"
                     "\"delta\":{\"content\":\" token %u\"},\"logprobs\":null,\"finish_reason\":null}],\"usage\":null}\n\n", i);
    int m = snprintf(out, room, "%x\r\n%s\r\n", (unsigned)n, event);
    return (size_t)m;
}

static const char ending[] = "e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/* Writes what is due until the socket is full. -1: the peer is gone. */
static int go_on(struct conn *c)
{
    for (;;) {
        if (!c->out)
            c->out = malloc(OUT_SIZE);
        if (c->out_at == c->out_len) {
            unsigned most = c->gap_ms ? c->sent + 1 : c->tokens;

            c->out_at = c->out_len = 0;
            if (c->gap_ms && now_ms() < c->due_ms)
                break;
            while (c->sent < most && c->sent < c->tokens && c->out_len + 1024 < OUT_SIZE)
                c->out_len += put_event(c->out + c->out_len, OUT_SIZE - c->out_len, c->sent++);
            c->due_ms += c->gap_ms;
            if (c->sent == c->tokens && c->streaming) {
                memcpy(c->out + c->out_len, ending, sizeof ending - 1);
                c->out_len += sizeof ending - 1;
                c->streaming = 0;
            }
            if (c->out_len == 0)
                break;
        }
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(c, 1);
            return 0;
        }
        if (n < 0)
            return -1;
        c->out_at += (size_t)n;
        if (!c->gap_ms && c->out_at == c->out_len && c->streaming) {      /* others' turn */
            watch(c, 1);
            return 0;
        }
    }
    free(c->out);
    c->out = NULL;
    c->out_at = c->out_len = 0;
    watch(c, 0);
    return 0;
}

static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/* A whole request begins its stream. -1: not understood. */
static int maybe_begin(struct conn *c)
{
    c->in[c->in_len] = 0;
    char *end = strstr(c->in, "\r\n\r\n");
    if (!end)
        return c->in_len == IN_SIZE - 1 ? -1 : 0;
    char *length = strcasestr(c->in, "\r\ncontent-length:");
    size_t body = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    if (c->in_len < (size_t)(end + 4 - c->in) + body)
        return 0;
    char *what = strstr(c->in, "bench-");
    if (!what || sscanf(what, "bench-%u-%u", &c->tokens, &c->gap_ms) != 2 || c->streaming)
        return -1;
    c->in_len = 0;
    c->sent = 0;
    c->streaming = 1;
    c->due_ms = now_ms();
    if (send(c->fd, head, sizeof head - 1, MSG_NOSIGNAL) != sizeof head - 1)
        return -1;
    return go_on(c);
}

static void on_readable(struct conn *c)
{
    if (!c->in)
        c->in = malloc(IN_SIZE);
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_SIZE - 1 - c->in_len, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        drop(c);
        return;
    }
    c->in_len += (size_t)n;
    if (maybe_begin(c) < 0) {
        drop(c);
        return;
    }
    if (c->in_len == 0) {
        free(c->in);
        c->in = NULL;
    }
}

static void on_connection(int listener)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
        if (fd >= CONNS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        conns[fd] = calloc(1, sizeof *conns[fd]);
        conns[fd]->fd = fd;
        if (fd > top)
            top = fd;
        epoll_ctl(poll_fd, EPOLL_CTL_ADD, fd, &e);
    }
}

static void on_tick(uint64_t now)
{
    for (int fd = 0; fd <= top; fd++) {
        struct conn *c = conns[fd];
        if (c && c->streaming && c->gap_ms && now >= c->due_ms && go_on(c) < 0)
            drop(c);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(argc > 1 ? (uint16_t)atoi(argv[1]) : 0), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct rlimit files;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
    uint64_t ticked = 0;

    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(listener, 4096) < 0) {
        perror("upstream");
        return 1;
    }
    poll_fd = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event e = { .events = EPOLLIN, .data.fd = listener }, input = { .events = EPOLLIN, .data.fd = 0 };
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, listener, &e);
    epoll_ctl(poll_fd, EPOLL_CTL_ADD, 0, &input);
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct epoll_event news[512];
        int n = epoll_wait(poll_fd, news, 512, 10);

        for (int i = 0; i < n; i++) {
            int fd = news[i].data.fd;
            if (fd == 0)
                return 0;
            if (fd == listener) {
                on_connection(listener);
                continue;
            }
            if (conns[fd] && news[i].events & EPOLLOUT && go_on(conns[fd]) < 0)
                drop(conns[fd]);
            if (conns[fd] && news[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
                on_readable(conns[fd]);
        }
        uint64_t now = now_ms();
        if (now >= ticked + 10) {
            ticked = now;
            on_tick(now);
        }
    }
}
