#include "base/snapshot.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/counter.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/named.h"

static const char HEAD[] = "sluice counters 1\n";
#define TEXT_MOST 4096                                 /* of a name or a key */

static uint64_t digest(const char *bytes, size_t len)   /* the same in every process: against damage, not against people */
{
    static const uint64_t key[2] = { 0x736c756963650001, 0x636f756e74657273 };
    return hash_under(key, bytes, len);
}

/* ---- taking one */

struct taking {
    struct buf *out;
    int64_t now;
    uint64_t window_ms;
    size_t sums;
};

static void take_sum(void *arg, const char *key, size_t len, int64_t window, double sum)
{
    struct taking *t = arg;
    bool over = t->window_ms > 0 && window + (int64_t)t->window_ms <= t->now;

    if (over || len > TEXT_MOST)
        return;
    buf_printf(t->out, "%" PRId64 " %a %zu ", window, sum, len);
    buf_append(t->out, key, len);
    buf_putc(t->out, '\n');
    t->sums++;
}

static void take_counter(void *arg, struct named *n)
{
    struct counter *c = (struct counter *)n;           /* its first member */
    struct taking *t = arg;

    if (strlen(n->name) > TEXT_MOST)
        return;
    t->window_ms = counter_window(c);
    buf_printf(t->out, "counter %" PRIu64 " %zu %s\n", t->window_ms, strlen(n->name), n->name);
    counter_each(c, take_sum, t);
}

void snapshot_take(struct buf *ret, int64_t unix_ms)
{
    struct taking t = { .out = ret, .now = unix_ms };

    buf_puts(ret, HEAD);
    named_every("counter", take_counter, &t);
    uint64_t sum = digest(ret->data, ret->len);
    buf_printf(ret, "end %zu %016" PRIx64 "\n", t.sums, sum);
}

/* ---- reading one back */

struct reading {
    const char *at, *end;                              /* what is left of it, without the last line */
    bool apply;                                        /* else it is only looked at */
    size_t sums;
};

/* A number of decimal digits, maybe with a minus, and the blank behind it. */
static bool number(struct reading *r, int64_t *ret)
{
    char *behind;

    if (r->at == r->end || strchr(" \t\n+", *r->at))
        return false;
    errno = 0;
    *ret = strtoll(r->at, &behind, 10);                /* the last line ends what it may look at */
    if (errno || behind == r->at || behind >= r->end || *behind != ' ')
        return false;
    r->at = behind + 1;
    return true;
}

static bool real(struct reading *r, double *ret)
{
    char *behind;

    if (r->at == r->end || strchr(" \t\n+", *r->at))
        return false;
    *ret = strtod(r->at, &behind);
    if (behind == r->at || behind >= r->end || *behind != ' ' || !(*ret - *ret == 0))   /* infinite, or no number */
        return false;
    r->at = behind + 1;
    return true;
}

/* LENGTH TEXT and the end of the line. */
static bool text(struct reading *r, const char **ret, size_t *len)
{
    int64_t n;

    if (!number(r, &n) || n < 0 || n > TEXT_MOST || r->end - r->at < n + 1 || r->at[n] != '\n')
        return false;
    *ret = r->at;
    *len = (size_t)n;
    r->at += n + 1;
    return true;
}

static bool read_sums(struct reading *r, struct counter *c)
{
    while (r->at < r->end && *r->at != 'c') {
        const char *key;
        int64_t window;
        double sum;
        size_t len;

        if (!number(r, &window) || !real(r, &sum) || !text(r, &key, &len))
            return false;
        if (c)
            counter_put(c, key, len, window, sum);
        r->sums++;
    }
    return true;
}

static bool read_counter(struct reading *r)
{
    static const char word[] = "counter ";
    const char *name;
    int64_t window;
    size_t len;

    if ((size_t)(r->end - r->at) < sizeof word - 1 || memcmp(r->at, word, sizeof word - 1) != 0)
        return false;
    r->at += sizeof word - 1;
    if (!number(r, &window) || window < 0 || !text(r, &name, &len) || len == 0 || memchr(name, 0, len))
        return false;
    if (!r->apply)
        return read_sums(r, NULL);
    char *owned = mem_copy(name, len);
    struct counter *c = counter_resume(owned, (uint64_t)window);
    bool good = read_sums(r, c);
    counter_close(c);                                  /* kept for who opens it next, as over a reload */
    free(owned);
    return good;
}

static bool read_all(struct reading *r)
{
    while (r->at < r->end)
        if (!read_counter(r))
            return false;
    return true;
}

/* Where its last line begins. */
static const char *last_line(const char *bytes, size_t len)
{
    const char *before = len > 1 && bytes[len - 1] == '\n' ? memrchr(bytes, '\n', len - 1) : NULL;
    return before ? before + 1 : NULL;
}

/* Whether that line is the one which what stands before it must have. */
static bool is_whole(const char *bytes, const char *end, size_t len, size_t sums)
{
    char line[80];
    int n = snprintf(line, sizeof line, "end %zu %016" PRIx64 "\n", sums, digest(bytes, (size_t)(end - bytes)));

    return len - (size_t)(end - bytes) == (size_t)n && memcmp(end, line, (size_t)n) == 0;
}

int snapshot_restore(const char *bytes, size_t len, size_t *sums, struct buf *why)
{
    size_t head = sizeof HEAD - 1;

    if (len < head || memcmp(bytes, HEAD, head - 2) != 0) {   /* without the version */
        buf_puts(why, "it is no snapshot of counters");
        return -1;
    }
    if (memcmp(bytes, HEAD, head) != 0) {
        buf_puts(why, "it was written by another version, in a format that this one does not know");
        return -1;
    }
    const char *end = last_line(bytes, len);
    struct reading r = { .at = bytes + head, .end = end };
    if (!end || end < r.at || !read_all(&r) || !is_whole(bytes, end, len, r.sums)) {
        buf_puts(why, "it is damaged: its end is missing, or its digest is not that of its contents");
        return -1;
    }
    r = (struct reading){ .at = bytes + head, .end = end, .apply = true };
    read_all(&r);
    *sums = r.sums;
    return 0;
}

/* ---- files */

static int wrong(struct buf *why, const char *what, const char *path)
{
    buf_printf(why, "cannot %s %s: %s", what, path, strerror(errno));
    return -1;
}

static bool write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno != EINTR)
            return false;
        bytes += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return true;
}

/* The name in the directory, too, must outlive the machine. */
static void sync_directory(const char *path)
{
    char *copy = mem_string(path);
    int fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(copy);
}

int snapshot_write(const char *path, const struct buf *bytes, struct buf *why)
{
    char *beside = mem_format("%s.tmp", path);
    int result = 0;

    if (bytes->len > SNAPSHOT_MOST) {
        buf_printf(why, "the counters would take %zu MiB; at most %zu are written", bytes->len >> 20, SNAPSHOT_MOST >> 20);
        free(beside);
        return -1;
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || !write_all(fd, bytes->data, bytes->len) || fsync(fd) != 0)
        result = wrong(why, "write", beside);
    if (fd >= 0)
        close(fd);
    if (result == 0 && rename(beside, path) != 0)
        result = wrong(why, "put the new one in place of", path);
    if (result == 0)
        sync_directory(path);
    else if (fd >= 0)
        unlink(beside);
    free(beside);
    return result;
}

int snapshot_read(const char *path, struct buf *ret, struct buf *why)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    int result = 0;

    if (fd < 0 && errno == ENOENT)
        return 1;
    if (fd < 0 || fstat(fd, &st) != 0) {
        result = wrong(why, "read", path);
    } else if (!S_ISREG(st.st_mode) || st.st_size > (off_t)SNAPSHOT_MOST) {
        buf_puts(why, S_ISREG(st.st_mode) ? "it is larger than any snapshot" : "it is no file");
        result = -1;
    }
    for (ssize_t n = 1; result == 0 && n > 0;) {
        buf_reserve(ret, 65536);
        n = read(fd, ret->data + ret->len, 65536);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n < 0)
            result = wrong(why, "read", path);
        else
            ret->len += (size_t)n;
        if (ret->len > SNAPSHOT_MOST) {                /* it grew meanwhile */
            buf_puts(why, "it is larger than any snapshot");
            result = -1;
        }
    }
    if (fd >= 0)
        close(fd);
    return result;
}
