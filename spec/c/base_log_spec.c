/* Lines are written to a file that the spec reads back. The base floor has no JSON reader; a small one stands here. */
#include "base/log.h"

#include <ctype.h>
#include <pthread.h>
#include <unistd.h>

#include "base/secret.h"
#include "check.h"

static int fd;
static char line[65536];

static void begin(enum log_level max, enum log_format format)
{
    static FILE *file;

    if (file)
        fclose(file);
    file = tmpfile();
    CHECK(file != NULL);
    fd = fileno(file);
    log_setup(max, format, fd);
}

/* All that was written since the last look. */
static const char *written(void)
{
    off_t len = lseek(fd, 0, SEEK_CUR);

    CHECK(len < (off_t)sizeof line);
    CHECK_INT(len, pread(fd, line, (size_t)len, 0));
    line[len] = 0;
    CHECK_INT(0, ftruncate(fd, 0));
    CHECK_INT(0, lseek(fd, 0, SEEK_SET));
    return line;
}

/* The line without its time, whose form is checked here. */
static const char *text_line(void)
{
    const char *s = written(), *form = "dddd-dd-ddTdd:dd:dd.dddZ ";

    for (; *form; form++, s++)
        CHECK(*form == 'd' ? isdigit((unsigned char)*s) : *form == *s);
    return s;
}

static const char *one(const char *value, size_t len)
{
    struct log_line l;

    CHECK(log_begin(&l, LOG_INFO, "e"));
    log_bytes(&l, "k", value, len);
    log_end(&l);
    return text_line();
}

#define ONE(s) one(s, sizeof s - 1)

static void a_line_says_time_level_event_and_fields(void)
{
    struct log_line l;

    begin(LOG_INFO, LOG_TEXT);
    CHECK(log_begin(&l, LOG_WARN, "request"));
    log_str(&l, "id", "abc");
    log_str(&l, "none", NULL);
    log_str(&l, "empty", "");
    log_int(&l, "status", -200);
    log_int(&l, "big", INT64_MIN);
    log_end(&l);
    CHECK_STR("warn request id=abc empty=\"\" status=-200 big=-9223372036854775808\n", text_line());
    log_say(LOG_ERROR, "listen", "port %d is %s", 80, "taken");
    CHECK_STR("error listen message=\"port 80 is taken\"\n", text_line());
    log_say(LOG_ERROR, "listen", "%s", "");
    CHECK_STR("error listen message=\"\"\n", text_line());
}

static void levels_are_thresholds(void)
{
    struct log_line l;

    begin(LOG_WARN, LOG_TEXT);
    CHECK(!log_begin(&l, LOG_INFO, "x"));
    log_say(LOG_DEBUG, "x", "nothing");
    CHECK_STR("", written());
    log_say(LOG_WARN, "x", "something");
    CHECK_STR("warn x message=something\n", text_line());
}

static void names_of_levels_and_formats(void)
{
    enum log_level level = LOG_WARN;
    enum log_format format = LOG_TEXT;

    CHECK(log_level_parse("error", &level) == 0 && level == LOG_ERROR);
    CHECK(log_level_parse("debug", &level) == 0 && level == LOG_DEBUG);
    CHECK(log_level_parse("Debug", &level) == -1 && level == LOG_DEBUG);
    CHECK(log_level_parse("", &level) == -1);
    CHECK(log_format_parse("json", &format) == 0 && format == LOG_JSON);
    CHECK(log_format_parse("xml", &format) == -1 && format == LOG_JSON);
    CHECK(log_format_parse("text", &format) == 0 && format == LOG_TEXT);
}

static void text_values_are_bare_only_when_plain(void)
{
    begin(LOG_INFO, LOG_TEXT);
    CHECK_STR("info e k=a/b:c-{d}\n", ONE("a/b:c-{d}"));
    CHECK_STR("info e k=\"a b\"\n", ONE("a b"));
    CHECK_STR("info e k=\"a=b\"\n", ONE("a=b"));
    CHECK_STR("info e k=\"a\\\"b\"\n", ONE("a\"b"));
    CHECK_STR("info e k=\"a\\\\b\"\n", ONE("a\\b"));
    CHECK_STR("info e k=\"\xc3\xa9\"\n", ONE("\xc3\xa9"));
}

/* Nothing in a value may end a line, begin a field or turn the text around. */
static void dangerous_characters_are_escaped(void)
{
    begin(LOG_INFO, LOG_TEXT);
    CHECK_STR("info e k=\"a\\r\\n\\tb\"\n", ONE("a\r\n\tb"));
    CHECK_STR("info e k=\"\\u0000\\u0001\\u001b[31m\\u007f\"\n", ONE("\0\1\x1b[31m\x7f"));
    CHECK_STR("info e k=\"\\u0080\\u0085\\u009f\xc2\xa0\"\n", ONE("\xc2\x80\xc2\x85\xc2\x9f\xc2\xa0"));
    CHECK_STR("info e k=\"\\u2028\\u2029\"\n", ONE("\xe2\x80\xa8\xe2\x80\xa9"));
    CHECK_STR("info e k=\"\\u202a\\u202e\\u2066\\u2069\\u200e\\u200f\\u061c\"\n",
              ONE("\xe2\x80\xaa\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9\xe2\x80\x8e\xe2\x80\x8f\xd8\x9c"));
    CHECK_STR("info e k=\"\xe2\x80\xa7\xe2\x80\xaf\xf0\x9f\x98\x80\"\n", ONE("\xe2\x80\xa7\xe2\x80\xaf\xf0\x9f\x98\x80"));
}

static void invalid_utf8_is_shown_in_text_and_replaced_in_json(void)
{
    begin(LOG_INFO, LOG_TEXT);
    CHECK_STR("info e k=\"\\xff\\xc0\\xaf\\xed\\xa0\\x80\\xe2\\x82\"\n", ONE("\xff\xc0\xaf\xed\xa0\x80\xe2\x82"));
    CHECK_STR("info e k=\"\\xf4\\x90\\x80\\x80\\x80a\"\n", ONE("\xf4\x90\x80\x80\x80" "a"));
    begin(LOG_INFO, LOG_JSON);
    struct log_line l;
    CHECK(log_begin(&l, LOG_INFO, "e"));
    log_bytes(&l, "k", "a\xff\xe2\x82", 4);
    log_end(&l);
    CHECK(strstr(written(), ",\"k\":\"a\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"}\n"));
}

/* Events and keys may come from scripts. */
static void names_cannot_forge(void)
{
    struct log_line l;

    begin(LOG_INFO, LOG_TEXT);
    CHECK(log_begin(&l, LOG_INFO, "a\nb c"));
    log_int(&l, "k=1 x\"\n\xc3\xa9", 5);
    log_end(&l);
    CHECK_STR("info a_b_c k_1_x____=5\n", text_line());
    begin(LOG_INFO, LOG_JSON);
    CHECK(log_begin(&l, LOG_INFO, "a\"\nb"));
    log_int(&l, "k\"\\", 5);
    log_end(&l);
    CHECK(strstr(written(), ",\"level\":\"info\",\"event\":\"a\\\"\\nb\",\"k\\\"\\\\\":5}\n"));
}

static void long_values_are_cut(void)
{
    static char long_value[5000];
    char want[2048];

    begin(LOG_INFO, LOG_TEXT);
    memset(long_value, 'x', sizeof long_value);
    snprintf(want, sizeof want, "info e k=%.1024s\n", long_value);
    CHECK_STR(want, one(long_value, 1024));
    snprintf(want, sizeof want, "info e k=\"%.1024s...\"\n", long_value);
    CHECK_STR(want, one(long_value, 1025));
    CHECK_STR(want, one(long_value, sizeof long_value));
    memset(long_value, 1, sizeof long_value);          /* each becomes six bytes */
    const char *got = one(long_value, sizeof long_value);
    CHECK_INT(strlen("info e k=\"...\"\n") + 170 * 6, strlen(got));
    CHECK(strstr(got, "\\u0001...\"\n"));                /* no escape is cut in two */
    for (int i = 0; i + 2 < (int)sizeof long_value; i += 3)
        memcpy(long_value + i, "\xe2\x82\xac", 3);
    got = one(long_value, 4998);
    CHECK_INT(strlen("info e k=\"...\"\n") + 341 * 3, strlen(got));   /* no character either */
}

static void a_line_has_an_end(void)
{
    static const enum log_format formats[] = { LOG_TEXT, LOG_JSON };
    static char value[1024], key[3000];
    struct log_line l;

    memset(value, 2, sizeof value);
    memset(key, 'k', sizeof key - 1);
    for (int f = 0; f < 2; f++) {
        begin(LOG_INFO, formats[f]);
        CHECK(log_begin(&l, LOG_INFO, key));
        for (int i = 0; i < 20; i++)
            log_bytes(&l, key, value, sizeof value);
        for (int i = 0; i < 2000; i++)
            log_int(&l, "number", i);
        log_str(&l, "z", "");
        log_end(&l);
        const char *got = written();
        CHECK(strlen(got) <= 8192);
        CHECK(strlen(got) > 8000);                     /* and it was used */
        CHECK(strstr(got, formats[f] == LOG_JSON ? "\"number\":0,\"number\":1," : " number=0 number=1 "));
    }
}

static void secrets_are_masked_before_anything_else(void)
{
    static char filled[1100];

    begin(LOG_INFO, LOG_TEXT);
    secret_add("se\"cret\n", 8);
    CHECK_STR("info e k=\"Bearer ***.\"\n", ONE("Bearer se\"cret\n."));
    memset(filled, 'x', sizeof filled);
    memcpy(filled + 1020, "se\"cret\n", 8);             /* the cut would leave its first half */
    const char *got = one(filled, sizeof filled);
    CHECK(strstr(got, "se") == NULL);
    CHECK(strstr(got, "x***x...\"\n"));
    log_say(LOG_INFO, "e", "key is %s", "se\"cret\n");
    CHECK_STR("info e message=\"key is ***\"\n", text_line());
}

/* --- JSON ---------------------------------------------------------------------------------------------------------- */

static const char *skip_json_string(const char *p)     /* behind the closing quote, or NULL */
{
    if (*p++ != '"')
        return NULL;
    for (; *p != '"'; p++) {
        if ((unsigned char)*p < 0x20)
            return NULL;
        if (*p != '\\')
            continue;
        p++;
        if (!*p || !strchr("\"\\/bfnrtu", *p))
            return NULL;
        for (int i = 0; *p == 'u' && i < 4; i++)
            if (!isxdigit((unsigned char)p[1 + i]))
                return NULL;
    }
    return p + 1;
}

/* A flat object of strings and whole numbers, then a LF, then nothing. */
static int is_json_line(const char *p)
{
    if (*p++ != '{')
        return 0;
    for (;; p++) {
        p = skip_json_string(p);
        if (!p || *p++ != ':')
            return 0;
        if (*p == '"')
            p = skip_json_string(p);
        else
            for (p += *p == '-'; isdigit((unsigned char)*p); p++)
                ;
        if (!p)
            return 0;
        if (*p != ',')
            return strcmp(p, "}\n") == 0;
    }
}

static void json_lines_are_json_whatever_the_bytes(void)
{
    uint64_t seed = 20260728;
    struct log_line l;
    char value[300], key[20];

    printf("seed %llu\n", (unsigned long long)seed);
    begin(LOG_INFO, LOG_JSON);
    CHECK(is_json_line("{\"a\":1,\"b\":\"\\u0000\\\\!\"}\n"));
    CHECK(!is_json_line("{\"a\":\"\x01\"}\n"));
    CHECK(!is_json_line("{\"a\":1}"));
    CHECK(!is_json_line("{\"a\":\"\\x\"}\n"));
    CHECK(!is_json_line("{\"a\":\"\\u00g0\"}\n"));
    for (int round = 0; round < 3000; round++) {
        size_t len = check_random(&seed) % sizeof value;
        for (size_t i = 0; i < len; i++)
            value[i] = (char)(check_random(&seed) >> 56);
        for (size_t i = 0; i < sizeof key - 1; i++)
            key[i] = (char)((check_random(&seed) >> 56) | 1);
        key[sizeof key - 1] = 0;
        CHECK(log_begin(&l, LOG_INFO, round % 2 ? key : "event"));
        log_bytes(&l, key, value, len);
        log_int(&l, "n", round);
        log_end(&l);
        const char *got = written();
        if (!is_json_line(got))
            CHECK_FAIL("round %d: no JSON line: %s", round, got);
    }
}

/* --- threads ------------------------------------------------------------------------------------------------------- */

#define THREADS 6
#define LINES 300

static void *log_many(void *arg)
{
    int me = *(int *)arg;
    char value[900];
    struct log_line l;

    memset(value, 'a' + me, sizeof value - 1);
    value[sizeof value - 1] = 0;
    for (int i = 0; i < LINES; i++) {
        if (!log_begin(&l, LOG_INFO, "thread"))
            break;
        for (int field = 0; field < 7; field++)        /* over PIPE_BUF: the kernel alone would part it */
            log_str(&l, "v", value);
        log_int(&l, "me", me);
        log_int(&l, "i", i);
        log_end(&l);
    }
    return NULL;
}

static void check_line(const char *text, int *next)
{
    const char *at = strchr(text, 'Z');
    int me, i, used = 0;

    CHECK(at && strncmp(at, "Z info thread v=", 16) == 0);
    char letter = at[16];
    for (at += 13; strncmp(at, " v=", 3) == 0;) {
        size_t n = 0;
        for (at += 3; *at == letter; at++)
            n++;
        CHECK_INT(899, n);
    }
    CHECK_INT(2, sscanf(at, " me=%d i=%d%n", &me, &i, &used));
    CHECK_INT(0, at[used]);
    CHECK_INT(letter - 'a', me);
    CHECK_INT(next[me], i);                            /* each thread's lines in its order */
    next[me]++;
}

/* A pipe whose reader is slower than six writers: it is full most of the time. */
static void lines_of_threads_stay_whole(void)
{
    int ends[2], id[THREADS], next[THREADS] = { 0 };
    pthread_t t[THREADS];

    CHECK_INT(0, pipe(ends));
    log_setup(LOG_INFO, LOG_TEXT, ends[1]);
    for (int i = 0; i < THREADS; i++) {
        id[i] = i;
        pthread_create(&t[i], NULL, log_many, &id[i]);
    }
    FILE *in = fdopen(ends[0], "r");
    char *text = NULL;
    size_t cap = 0;
    for (int n = 0; n < THREADS * LINES; n++) {
        ssize_t len = getline(&text, &cap, in);
        CHECK(len > 0 && text[len - 1] == '\n');
        text[len - 1] = 0;
        check_line(text, next);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(t[i], NULL);
    close(ends[1]);
    CHECK(getline(&text, &cap, in) < 0);
    free(text);
    fclose(in);
}

static void numbers_and_booleans_stand_bare(void)
{
    struct log_line l;

    begin(LOG_INFO, LOG_TEXT);
    CHECK(log_begin(&l, LOG_INFO, "e"));
    log_int(&l, "i", -7);
    log_double(&l, "d", 0.25);
    log_double(&l, "n", -1.0 / 0.0);
    log_bool(&l, "b", true);
    log_end(&l);
    CHECK_STR("info e i=-7 d=0.25 n=-inf b=true\n", text_line());
    begin(LOG_INFO, LOG_JSON);
    CHECK(log_begin(&l, LOG_INFO, "e"));
    log_double(&l, "d", 1e300);
    log_double(&l, "n", 1.0 / 0.0);                    /* JSON has no such number */
    log_bool(&l, "b", false);
    log_end(&l);
    CHECK(strstr(written(), ",\"d\":1e+300,\"n\":\"inf\",\"b\":false}\n") != NULL);
}

static char tapped[200];

static void keep(void *arg, const char *bytes, size_t len)
{
    CHECK(arg == &fd && len < sizeof tapped);
    memcpy(tapped, bytes, len);
    tapped[len] = 0;
}

static void a_tap_hears_what_is_not_written(void)
{
    begin(LOG_WARN, LOG_TEXT);
    log_tap(LOG_INFO, keep, &fd);
    log_say(LOG_INFO, "quiet", "x");
    CHECK(strstr(tapped, " info quiet message=x") && !strchr(tapped, '\n'));
    CHECK_STR("", written());
    log_say(LOG_WARN, "loud", "x");
    CHECK(strstr(tapped, " warn loud message=x") != NULL);
    CHECK_STR("warn loud message=x\n", text_line());
    log_say(LOG_DEBUG, "deep", "x");
    CHECK(strstr(tapped, "loud") != NULL);
    log_mute(true);
    log_say(LOG_WARN, "muted", "x");
    CHECK(strstr(tapped, "muted") != NULL);
    log_mute(false);
    CHECK_STR("", written());
    log_tap(LOG_INFO, NULL, NULL);
    log_say(LOG_WARN, "after", "x");
    CHECK(strstr(tapped, "muted") != NULL);
}

static void a_closed_log_stops_nobody(void)
{
    log_setup(LOG_INFO, LOG_TEXT, -1);
    log_say(LOG_INFO, "e", "lost");
}

int main(void)
{
    RUN(a_line_says_time_level_event_and_fields);
    RUN(levels_are_thresholds);
    RUN(names_of_levels_and_formats);
    RUN(text_values_are_bare_only_when_plain);
    RUN(dangerous_characters_are_escaped);
    RUN(invalid_utf8_is_shown_in_text_and_replaced_in_json);
    RUN(names_cannot_forge);
    RUN(long_values_are_cut);
    RUN(a_line_has_an_end);
    RUN(secrets_are_masked_before_anything_else);
    RUN(json_lines_are_json_whatever_the_bytes);
    RUN(lines_of_threads_stay_whole);
    RUN(numbers_and_booleans_stand_bare);
    RUN(a_tap_hears_what_is_not_written);
    RUN(a_closed_log_stops_nobody);
    return check_done();
}
