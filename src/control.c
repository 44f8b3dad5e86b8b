#include "control.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/list.h"
#include "base/mem.h"

#define CLIENTS_MAX 16
#define BEHIND_MAX (1024 * 1024)                       /* bytes that may wait for a client who stays; more: it is let go */

struct control {
    uv_pipe_t pipe;
    struct sockaddr_un at;
    struct list clients;
    int n_clients, handles;
    void (*on_command)(void *owner, const char *line, struct control_client *from, struct buf *answer);
    void *owner;
};

struct control_client {
    struct list link;
    struct control *control;
    uv_pipe_t pipe;
    char line[CONTROL_LINE_MAX + 1];
    size_t len;
    bool answered, leaving;                            /* leaving: when all is written */
    void (*on_gone)(void *what);                       /* it stays, for `what`; NULL: it does not */
    void *what;
};

struct letter {                                        /* on its way to a client */
    uv_write_t write;
    struct control_client *to;
    struct buf text;
};

/* ---- where */

static uint64_t hash(const char *s)                    /* FNV-1a: only names differ by it */
{
    uint64_t h = 0xcbf29ce484222325ULL;

    for (; *s; s++)
        h = (h ^ (unsigned char)*s) * 0x100000001b3ULL;
    return h;
}

/* A directory that is ours alone. */
static int private_dir(char *dir, size_t room)
{
    const char *run = getenv("XDG_RUNTIME_DIR");
    struct stat st;

    if (run && *run)
        snprintf(dir, room, "%s/sluice", run);
    else
        snprintf(dir, room, "/tmp/sluice-%u", (unsigned)geteuid());
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return -1;
    if (lstat(dir, &st) != 0)
        return -1;
    errno = EPERM;
    return S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 077) == 0 ? 0 : -1;
}

static int address(struct sockaddr_un *ret, const char *file, struct buf *why)
{
    char *real = realpath(file, NULL), dir[80];
    int n;

    memset(ret, 0, sizeof *ret);
    ret->sun_family = AF_UNIX;
    if (!real) {
        buf_printf(why, "%s: %s", file, strerror(errno));
        return -1;
    }
    uint64_t name = hash(real);
    free(real);
    if (private_dir(dir, sizeof dir) != 0) {
        buf_printf(why, "%s is not a directory of ours alone: %s", dir, strerror(errno));
        return -1;
    }
    n = snprintf(ret->sun_path, sizeof ret->sun_path, "%s/%016llx.sock", dir, (unsigned long long)name);
    if (n < (int)sizeof ret->sun_path)
        return 0;
    buf_printf(why, "the path of the socket is too long: %s", dir);
    return -1;
}

static int connect_to(const struct sockaddr_un *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd >= 0 && connect(fd, (const struct sockaddr *)at, sizeof *at) != 0) {
        int error = errno;

        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

int control_connect(const char *file, struct buf *why)
{
    struct sockaddr_un at;

    if (address(&at, file, why) != 0)
        return -1;
    int fd = connect_to(&at);
    if (fd < 0)
        buf_printf(why, "no gateway of this user runs %s (%s)", file, strerror(errno));
    return fd;
}

/* ---- a client */

static void handle_closed(struct control *c)
{
    if (--c->handles == 0)
        free(c);
}

static void on_client_closed(uv_handle_t *h)
{
    struct control_client *k = h->data;
    struct control *c = k->control;

    free(k);
    handle_closed(c);
}

static void drop(struct control_client *k)
{
    void (*on_gone)(void *what) = k->on_gone;
    void *what = k->what;

    if (uv_is_closing((uv_handle_t *)&k->pipe))
        return;
    list_remove(&k->link);
    k->control->n_clients--;
    k->on_gone = NULL;
    uv_close((uv_handle_t *)&k->pipe, on_client_closed);
    if (on_gone)
        on_gone(what);
}

static void on_written(uv_write_t *w, int status)
{
    struct letter *l = w->data;
    struct control_client *k = l->to;

    buf_free(&l->text);
    free(l);
    if (status != 0 || (k->leaving && uv_stream_get_write_queue_size((uv_stream_t *)&k->pipe) == 0))
        drop(k);
}

static void send_letter(struct control_client *k, struct buf *text)
{
    struct letter *l = mem_alloc(sizeof *l);
    uv_buf_t out;

    l->to = k;
    l->text = *text;
    *text = BUF_EMPTY;
    l->write.data = l;
    out = uv_buf_init(l->text.data, (unsigned)l->text.len);
    if (uv_write(&l->write, (uv_stream_t *)&k->pipe, &out, 1, on_written) == 0)
        return;
    buf_free(&l->text);
    free(l);
    drop(k);
}

static void answer(struct control_client *k)
{
    struct buf text = BUF_EMPTY;

    k->answered = true;
    if (k->len > CONTROL_LINE_MAX)
        buf_printf(&text, "- a command has at most %d bytes\n", CONTROL_LINE_MAX);
    else
        k->control->on_command(k->control->owner, k->line, k, &text);
    if (!k->on_gone)
        uv_read_stop((uv_stream_t *)&k->pipe);
    k->leaving = !k->on_gone && text.len > 0;
    if (text.len)
        send_letter(k, &text);
}

void control_stay(struct control_client *k, void (*on_gone)(void *what), void *what)
{
    k->on_gone = on_gone;
    k->what = what;
}

void control_send(struct control_client *k, struct buf *text)
{
    if (uv_stream_get_write_queue_size((uv_stream_t *)&k->pipe) + text->len <= BEHIND_MAX) {
        send_letter(k, text);
        return;
    }
    buf_free(text);
    drop(k);
}

void control_answer(struct control_client *k, struct buf *text)
{
    k->on_gone = NULL;
    k->leaving = true;
    uv_read_stop((uv_stream_t *)&k->pipe);
    send_letter(k, text);
}

/* What a client says after its command is not read, only noticed. */
static void on_room(uv_handle_t *h, size_t suggested, uv_buf_t *ret)
{
    struct control_client *k = h->data;
    size_t used = k->answered ? 0 : k->len;

    (void)suggested;
    *ret = uv_buf_init(k->line + used, (unsigned)(sizeof k->line - used));
}

static void on_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *b)
{
    struct control_client *k = stream->data;
    char *end;

    (void)b;
    if (n < 0) {
        drop(k);
        return;
    }
    if (k->answered)
        return;
    k->len += (size_t)n;
    end = memchr(k->line, '\n', k->len);
    if (!end && k->len <= CONTROL_LINE_MAX)
        return;
    if (end) {
        *end = '\0';
        k->len = strlen(k->line);
    }
    answer(k);
}

static void on_connection(uv_stream_t *stream, int status)
{
    struct control *c = stream->data;
    struct control_client *k;

    if (status != 0)
        return;
    k = mem_alloc(sizeof *k);
    k->control = c;
    k->pipe.data = k;
    uv_pipe_init(stream->loop, &k->pipe, 0);
    c->handles++;
    c->n_clients++;
    list_append(&c->clients, &k->link);
    if (uv_accept(stream, (uv_stream_t *)&k->pipe) != 0 || c->n_clients > CLIENTS_MAX || uv_read_start((uv_stream_t *)&k->pipe, on_room, on_read) != 0)
        drop(k);
}

/* ---- the door */

static void on_door_closed(uv_handle_t *h) { handle_closed(h->data); }

int control_open(struct control **ret, uv_loop_t *loop, const char *file,
                 void (*on_command)(void *owner, const char *line, struct control_client *from, struct buf *answer), void *owner, struct buf *why)
{
    struct control *c = mem_alloc(sizeof *c);
    int fd, failed;
    mode_t was;

    if (address(&c->at, file, why) != 0) {
        free(c);
        return -1;
    }
    fd = connect_to(&c->at);
    if (fd >= 0) {
        close(fd);
        free(c);
        buf_printf(why, "another process runs %s already; it keeps the control socket", file);
        return -1;
    }
    unlink(c->at.sun_path);                            /* of a process that is gone */
    c->on_command = on_command;
    c->owner = owner;
    list_init(&c->clients);
    uv_pipe_init(loop, &c->pipe, 0);
    c->pipe.data = c;
    c->handles = 1;
    was = umask(077);
    failed = uv_pipe_bind(&c->pipe, c->at.sun_path);
    umask(was);
    if (failed == 0)
        failed = uv_listen((uv_stream_t *)&c->pipe, 16, on_connection);
    if (failed) {
        buf_printf(why, "%s: %s", c->at.sun_path, uv_strerror(failed));
        uv_close((uv_handle_t *)&c->pipe, on_door_closed);
        return -1;
    }
    *ret = c;
    return 0;
}

void control_close(struct control *c)
{
    if (!c)
        return;
    unlink(c->at.sun_path);
    list_each_safe(it, &c->clients)
        drop(list_of(it, struct control_client, link));
    uv_close((uv_handle_t *)&c->pipe, on_door_closed);
}
