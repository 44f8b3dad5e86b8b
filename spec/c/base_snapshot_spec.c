/* What is taken is what is restored, to the last bit; what was cut or bent anywhere is refused and changes nothing. */
#include "base/snapshot.h"

#include <unistd.h>

#include "base/counter.h"
#include "base/named.h"

#include "check.h"

#define HOUR 3600000
#define NOW ((int64_t)1700000000000)

static void forget(void) { named_paste(NULL); named_forget_idle(); }

static double sum_of(const char *name, uint64_t window, const char *key, size_t len)
{
    struct counter *c = counter_open(name, window);
    double sum = counter_get(c, key, len, NOW);

    counter_close(c);
    return sum;
}

static void add(const char *name, uint64_t window, const char *key, size_t len, double n, int64_t at)
{
    struct counter *c = counter_open(name, window);

    counter_add(c, key, len, n, at);
    counter_close(c);
}

static void fill(void)
{
    add("usd", HOUR, "alice", 5, 0.1, NOW);
    add("usd", HOUR, "alice", 5, 0.2, NOW);
    add("usd", HOUR, "b\nc\0d ", 6, -3, NOW);
    add("usd", HOUR, "", 0, 1e300, NOW);
    add("usd", HOUR, "yesterday", 9, 7, NOW - 24 * HOUR);
    add("end of\nall", 0, "k", 1, 12345678901234, NOW);
}

static void comes_back(void)
{
    struct buf bytes = BUF_EMPTY, why = BUF_EMPTY;
    size_t sums = 0;

    fill();
    snapshot_take(&bytes, NOW);
    forget();
    CHECK(sum_of("usd", HOUR, "alice", 5) == 0);
    CHECK_INT(0, snapshot_restore(bytes.data, bytes.len, &sums, &why));
    CHECK_INT(4, sums);                                /* yesterday's is over */
    CHECK(sum_of("usd", HOUR, "alice", 5) == 0.1 + 0.2);
    CHECK(sum_of("usd", HOUR, "b\nc\0d ", 6) == -3);
    CHECK(sum_of("usd", HOUR, "", 0) == 1e300);
    CHECK(sum_of("end of\nall", 0, "k", 1) == 12345678901234);
    buf_free(&bytes);
    forget();
}

static void keeps_its_window(void)
{
    struct buf bytes = BUF_EMPTY, why = BUF_EMPTY;
    size_t sums;

    fill();
    snapshot_take(&bytes, NOW);
    forget();
    struct counter *c = counter_open("usd", 2 * HOUR);  /* the gateway file says another length by now: that holds */
    CHECK_INT(0, snapshot_restore(bytes.data, bytes.len, &sums, &why));
    CHECK_INT(2 * HOUR, counter_window(c));
    counter_close(c);
    forget();
    CHECK_INT(0, snapshot_restore(bytes.data, bytes.len, &sums, &why));
    c = counter_open("usd", HOUR);
    CHECK(counter_get(c, "alice", 5, NOW + HOUR) == 0);
    CHECK(counter_add(c, "alice", 5, 1, NOW + HOUR) == 1);
    counter_close(c);
    buf_free(&bytes);
    forget();
}

static void is_refused(const char *bytes, size_t len, const char *want)
{
    struct buf why = BUF_EMPTY;
    size_t sums;
    char *exact = malloc(len ? len : 1);               /* for ASan */

    memcpy(exact, bytes, len);
    CHECK_INT(-1, snapshot_restore(exact, len, &sums, &why));
    if (want)
        CHECK(strstr(buf_cstr(&why), want) != NULL);
    CHECK(sum_of("usd", HOUR, "alice", 5) == 0);
    free(exact);
    buf_free(&why);
}

static void damage_is_seen(void)
{
    struct buf bytes = BUF_EMPTY;
    const char *other = "sluice counters 2\nend 0 0000000000000000\n";

    fill();
    snapshot_take(&bytes, NOW);
    forget();
    for (size_t n = 0; n < bytes.len; n++)
        is_refused(bytes.data, n, NULL);
    for (size_t i = 0; i < bytes.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            bytes.data[i] = (char)(bytes.data[i] ^ 1 << bit);
            is_refused(bytes.data, bytes.len, NULL);
            bytes.data[i] = (char)(bytes.data[i] ^ 1 << bit);
        }
    is_refused(other, strlen(other), "another version");
    is_refused("\x7f""ELF garbage\n\n\n", 16, "no snapshot");
    is_refused("sluice counters 1\nend 1 0123\n", 29, "damaged");
    buf_free(&bytes);
    forget();
}

static void files(void)
{
    char dir[] = "/tmp/sluice_snapshot_XXXXXX", path[64], odd[64];
    struct buf bytes = BUF_EMPTY, back = BUF_EMPTY, why = BUF_EMPTY;

    CHECK(mkdtemp(dir) != NULL);
    snprintf(path, sizeof path, "%s/c.snap", dir);
    snprintf(odd, sizeof odd, "%s/none/c.snap", dir);
    CHECK_INT(1, snapshot_read(path, &back, &why));
    for (int i = 0; i < 3; i++) {
        buf_puts(&bytes, "some bytes");
        back.len = 0;
        CHECK_INT(0, snapshot_write(path, &bytes, &why));
        CHECK_INT(0, snapshot_read(path, &back, &why));
        CHECK_BYTES(bytes.data, bytes.len, back.data, back.len);
    }
    CHECK_INT(-1, snapshot_write(odd, &bytes, &why));
    CHECK(strstr(buf_cstr(&why), "cannot write") != NULL);
    why.len = 0;
    CHECK_INT(-1, snapshot_read(dir, &back, &why));
    CHECK(strstr(buf_cstr(&why), "it is no file") != NULL);
    unlink(path);
    CHECK_INT(0, rmdir(dir));                          /* nothing else was left there */
    buf_free(&bytes);
    buf_free(&back);
    buf_free(&why);
}

int main(void)
{
    RUN(comes_back);
    RUN(keeps_its_window);
    RUN(damage_is_seen);
    RUN(files);
    return check_done();
}
