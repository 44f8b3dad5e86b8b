#include "knock.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/buf.h"
#include "control.h"

#define AGAIN_US 200000
#define ENDED_BY_SIGNAL 130

static volatile sig_atomic_t interrupted;
static int listening;                                  /* for the handler */

enum said { SAID_NOTHING, SAID_DONE, SAID_ALL, SAID_AGAIN, SAID_WRONG };   /* ALL: "."; what stands behind counts more */

static int send_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = send(fd, bytes, len, MSG_NOSIGNAL);

        if (n <= 0)
            return -1;
        bytes += n;
        len -= (size_t)n;
    }
    return 0;
}

/* told: that it waits stands there already. */
static enum said print_line(const char *line, size_t len, bool told)
{
    const char *text = len >= 2 ? line + 2 : line;
    FILE *to = line[0] == '+' ? stdout : stderr;

    if (len == 1 && line[0] == '.')
        return SAID_ALL;
    if (line[0] != '=' || !told)
        fprintf(to, "%.*s\n", (int)(line + len - text), text);
    return line[0] == '-' ? SAID_WRONG : line[0] == '=' ? SAID_AGAIN : SAID_DONE;
}

/* Whole lines are printed as they come. What counts most of what they said. */
static enum said print_answer(int fd, bool told)
{
    enum said all = SAID_NOTHING;
    struct buf text = BUF_EMPTY;
    ssize_t n;

    do {
        char *end;

        buf_reserve(&text, 4096);
        n = read(fd, text.data + text.len, 4096);
        if (n > 0)
            text.len += (size_t)n;
        while (text.len && (end = memchr(text.data, '\n', text.len)) != NULL) {
            enum said said = print_line(text.data, (size_t)(end - text.data), told);

            if (said > all)
                all = said;
            buf_consume(&text, (size_t)(end - text.data) + 1);
        }
        fflush(stdout);
    } while (n > 0);
    buf_free(&text);
    return all;
}

static int begin(const char *file, const char *command)
{
    struct buf text = BUF_EMPTY;
    int fd = control_connect(file, &text);

    if (fd < 0) {
        fprintf(stderr, "sluice: %s\n", buf_cstr(&text));
    } else {
        buf_printf(&text, "%s\n", command);
        send_all(fd, text.data, text.len);             /* if it is gone, so is its answer */
    }
    buf_free(&text);
    return fd;
}

int knock_ask(const char *file, const char *command)
{
    enum said said = SAID_AGAIN;

    for (bool told = false; said == SAID_AGAIN; told = true) {
        int fd = begin(file, command);

        if (fd < 0)
            return 1;
        said = print_answer(fd, told);
        close(fd);
        if (said == SAID_NOTHING)
            fprintf(stderr, "sluice: the gateway closed the connection without an answer\n");
        if (said == SAID_AGAIN)
            usleep(AGAIN_US);
    }
    return said == SAID_DONE ? 0 : 1;
}

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
    shutdown(listening, SHUT_RDWR);                    /* the read ends, also one that has not begun */
}

int knock_listen(const char *file, const char *command, const char *what)
{
    struct sigaction act = { .sa_handler = on_signal };
    int fd = begin(file, command);

    if (fd < 0)
        return 1;
    listening = fd;
    sigaction(SIGINT, &act, NULL);
    sigaction(SIGTERM, &act, NULL);
    enum said said = print_answer(fd, false);
    close(fd);
    if (interrupted)
        return ENDED_BY_SIGNAL;
    if (said == SAID_NOTHING || said == SAID_DONE)
        fprintf(stderr, "sluice: %s: the gateway has gone; what came before it is all there is\n", what);
    return said == SAID_ALL ? 0 : 1;
}
