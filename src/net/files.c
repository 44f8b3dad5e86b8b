/* Files are opened below the root with openat2(RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS): no "..", no symbolic link, whatever the path says.
 * Small web files are read anew each time: the kernel's page cache is the cache.
 */
#include "net/files.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <uv.h>

#include "base/buf.h"
#include "base/mem.h"
#include "net/server.h"
#include "wire/date.h"
#include "wire/percent.h"

#define SIZE_MAX_SERVED (16 * 1024 * 1024)
#define HEADERS_MAX 24

struct files {
    int root;                                          /* directory descriptor */
    char *prefix;                                      /* without trailing '/' */
};

int files_open(struct files **ret, const char *root, const char *prefix)
{
    int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return uv_translate_sys_error(errno);
    struct files *f = mem_alloc(sizeof *f);
    size_t n = strlen(prefix);
    while (n && prefix[n - 1] == '/')
        n--;
    f->root = fd;
    f->prefix = mem_copy(prefix, n);
    *ret = f;
    return 0;
}

void files_close(struct files *f)
{
    close(f->root);
    free(f->prefix);
    free(f);
}

static const char *type_of(const char *path)
{
    static const struct { const char *ending, *type; } known[] = {
        { ".html", "text/html; charset=utf-8" },  { ".css", "text/css; charset=utf-8" },   { ".js", "text/javascript; charset=utf-8" },
        { ".mjs", "text/javascript; charset=utf-8" }, { ".json", "application/json" },     { ".map", "application/json" },
        { ".svg", "image/svg+xml" },              { ".png", "image/png" },                 { ".jpg", "image/jpeg" },
        { ".jpeg", "image/jpeg" },                { ".gif", "image/gif" },                 { ".webp", "image/webp" },
        { ".ico", "image/x-icon" },               { ".woff2", "font/woff2" },              { ".wasm", "application/wasm" },
        { ".txt", "text/plain; charset=utf-8" },  { ".md", "text/plain; charset=utf-8" },
    };
    const char *dot = strrchr(path, '.');

    for (size_t i = 0; dot && i < sizeof known / sizeof *known; i++)
        if (strcasecmp(dot, known[i].ending) == 0)
            return known[i].type;
    return "application/octet-stream";
}

struct answer {                                        /* headers in the making */
    struct header h[HEADERS_MAX];
    size_t n;
};

static void add(struct answer *a, const char *name, const char *value)
{
    if (a->n < HEADERS_MAX)
        a->h[a->n++] = (struct header){ name, value };
}

static void refuse(struct conn *c, struct answer *a, int status, const char *json)
{
    struct buf body = BUF_EMPTY;

    add(a, "Content-Type", "application/json; charset=utf-8");
    buf_puts(&body, json);
    conn_reply(c, status, a->h, a->n, &body);
}

static void not_found(struct conn *c, struct answer *a)
{
    refuse(c, a, 404, "{\"error\":\"there is nothing here\",\"code\":\"not_found\"}");
}

/* The path below the root, decoded once; "" is the root itself. -1: it may not be asked for. */
static int local_path(const struct files *f, const char *path, struct buf *ret)
{
    size_t n = strlen(f->prefix);
    const char *rest = strncmp(path, f->prefix, n) == 0 ? path + n : path;

    while (*rest == '/')
        rest++;
    if (percent_decode(ret, rest, strlen(rest), false) != 0 || memchr(ret->data ? ret->data : "", '\\', ret->len))
        return -1;
    const char *p = buf_cstr(ret);
    for (const char *dots = strstr(p, ".."); dots; dots = strstr(dots + 2, ".."))
        if ((dots == p || dots[-1] == '/') && (dots[2] == 0 || dots[2] == '/'))
            return -1;
    return 0;
}

static int open_below(int root, const char *path)
{
    struct open_how how = { .flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

    return (int)syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof how);
}

/* Is our tag among those of If-None-Match (RFC 9110 13.1.2: weak comparison)? */
static bool has_tag(const char *list, const char *tag)
{
    size_t n = strlen(tag);

    if (strcmp(list, "*") == 0)
        return true;
    for (const char *p = strstr(list, tag); p; p = strstr(p + 1, tag))
        if (p[n] == 0 || p[n] == ',' || p[n] == ' ')
            return true;
    return false;
}

static bool is_fresh(const struct http_request *r, const char *tag, const struct stat *st)
{
    const char *none_match = http_header(r, "if-none-match"), *since = http_header(r, "if-modified-since");
    time_t t;

    if (none_match)
        return has_tag(none_match, tag);
    return since && date_http_parse(since, &t) == 0 && st->st_mtime <= t;
}

static int read_all(int fd, size_t size, struct buf *body)
{
    buf_reserve(body, size + 1);
    for (ssize_t n; body->len < size && (n = read(fd, body->data + body->len, size - body->len)) != 0;) {
        if (n < 0)
            return -1;
        body->len += (size_t)n;
    }
    return body->len == size ? 0 : -1;
}

static void send_file(struct conn *c, const struct http_request *r, struct answer *a, const char *path, int fd, const struct stat *st)
{
    char tag[64], modified[DATE_HTTP_LEN + 1];
    struct buf body = BUF_EMPTY;

    snprintf(tag, sizeof tag, "\"%llx-%llx-%lx\"", (unsigned long long)st->st_size, (unsigned long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
    date_http(modified, st->st_mtime);
    add(a, "ETag", tag);
    add(a, "Last-Modified", modified);
    add(a, "Cache-Control", "no-cache");
    if (is_fresh(r, tag, st)) {
        conn_reply(c, 304, a->h, a->n, &body);
        return;
    }
    if (st->st_size > SIZE_MAX_SERVED || read_all(fd, (size_t)st->st_size, &body) != 0) {
        buf_free(&body);
        refuse(c, a, 500, "{\"error\":\"this file cannot be served\",\"code\":\"internal_error\"}");
        return;
    }
    add(a, "Content-Type", type_of(path));
    conn_reply(c, 200, a->h, a->n, &body);
}

static void send_directory(struct files *f, struct conn *c, const struct http_request *r, struct answer *a, struct buf *path)
{
    struct buf body = BUF_EMPTY;
    size_t n = strlen(r->path);

    if (n == 0 || r->path[n - 1] != '/') {             /* relative links in the page need the '/' */
        bool asks = r->query && *r->query;
        char *to = mem_format("%s/%s%s", r->path, asks ? "?" : "", asks ? r->query : "");
        bool elsewhere = to[0] == '/' && to[1] == '/'; /* "//host" would leave us */
        add(a, "Location", elsewhere ? "/" : to);
        conn_reply(c, 301, a->h, a->n, &body);
        free(to);
        return;
    }
    if (path->len && path->data[path->len - 1] != '/')
        buf_putc(path, '/');
    buf_puts(path, "index.html");
    int fd = open_below(f->root, buf_cstr(path));
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        send_file(c, r, a, "index.html", fd, &st);
    else
        not_found(c, a);
    if (fd >= 0)
        close(fd);
}

void files_serve(struct files *f, struct conn *c, const struct http_request *r, const struct header *extra, size_t n_extra)
{
    struct answer a = { .n = 0 };
    struct buf path = BUF_EMPTY;
    struct stat st;

    add(&a, "X-Content-Type-Options", "nosniff");
    for (size_t i = 0; i < n_extra; i++)
        add(&a, extra[i].name, extra[i].value);
    if (strcmp(r->method, "GET") != 0 && strcmp(r->method, "HEAD") != 0) {
        add(&a, "Allow", "GET, HEAD");
        refuse(c, &a, 405, "{\"error\":\"only GET and HEAD are allowed here\",\"code\":\"method_not_allowed\"}");
        return;
    }
    if (local_path(f, r->path, &path) != 0) {
        buf_free(&path);
        refuse(c, &a, 400, "{\"error\":\"this path cannot be asked for\",\"code\":\"bad_path\"}");
        return;
    }
    int fd = open_below(f->root, buf_cstr(&path));
    if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
        refuse(c, &a, 503, "{\"error\":\"too many files are open; try again\",\"code\":\"overloaded\"}");
    else if (fd < 0 || fstat(fd, &st) != 0)
        not_found(c, &a);
    else if (S_ISDIR(st.st_mode))
        send_directory(f, c, r, &a, &path);
    else if (S_ISREG(st.st_mode))
        send_file(c, r, &a, path.data, fd, &st);
    else
        not_found(c, &a);
    if (fd >= 0)
        close(fd);
    buf_free(&path);
}
