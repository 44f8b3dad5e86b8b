/* The stream machine under a host made of plain C: every recorded stream of spec/wire at every cut and at random ones, with and without filters; each
 * end at each point; a client that leaves, shuts or stalls at any moment. Same bytes, exactly one end, nothing after it. */
#include "stream/stream.h"

#include <dirent.h>

#include "base/log.h"
#include "script_world.h"
#include "wire/json.h"

enum { END_NONE, END_REPLY, END_STREAM };

struct play {                                          /* one stream and all that its host was asked for */
    struct stream *stream;
    uint64_t now, wake;
    bool attempted, cancelled, finished, held, closed, gone, wants_body;
    int heads, ends, end_kind, status;
    struct buf out;
    bool slow;                                         /* write says: wait */
    bool waits;                                        /* it was told to, and was not told to go on */
    unsigned writes_while_waiting;
    bool traced, keep;                                 /* its time line is taken at the end, and kept for who looks at it */
    struct buf trace;
};

static uint64_t h_now(void *o) { return ((struct play *)o)->now; }
static void h_read_body(void *o) { ((struct play *)o)->wants_body = true; }

static void h_reply(void *o, int status, const struct header *headers, size_t n, struct buf *body)
{
    struct play *p = o;

    (void)headers;
    (void)n;
    CHECK(!p->gone && !p->heads && !p->ends);
    p->status = status;
    p->ends++;
    p->end_kind = END_REPLY;
    buf_move(&p->out, body);
}

static void h_head(void *o, int status, const struct header *headers, size_t n)
{
    struct play *p = o;

    (void)headers;
    (void)n;
    CHECK(!p->gone && !p->ends);
    p->status = status;
    CHECK_INT(1, ++p->heads);
}

static bool h_write(void *o, struct buf *bytes)
{
    struct play *p = o;

    CHECK(!p->gone && p->heads == 1 && !p->ends);
    if (p->waits)
        p->writes_while_waiting++;
    buf_move(&p->out, bytes);
    p->waits = p->slow;
    return !p->slow;
}

static void h_end(void *o)
{
    struct play *p = o;

    CHECK(!p->gone && p->heads == 1);
    CHECK_INT(1, ++p->ends);
    p->end_kind = END_STREAM;
}

static int h_attempt(void *o, unsigned which, const struct upstream_request *want, const char *ca, uint64_t connect_ms)
{
    struct play *p = o;

    (void)which;
    (void)want;
    (void)ca;
    (void)connect_ms;
    CHECK(!p->attempted);
    p->attempted = true;
    return 0;
}

static void h_cancel(void *o, unsigned which)
{
    struct play *p = o;

    (void)which;
    CHECK(p->attempted && !p->cancelled && !p->finished);
    p->cancelled = true;
}

static void h_finish(void *o, unsigned which)
{
    struct play *p = o;

    (void)which;
    CHECK(p->attempted && !p->cancelled && !p->finished);
    p->finished = true;
}

static void h_hold(void *o, unsigned which)
{
    struct play *p = o;

    (void)which;
    CHECK(p->attempted && !p->cancelled);
    p->held = true;
}

static void h_release(void *o, unsigned which) { (void)which, ((struct play *)o)->held = false; }
static void h_wake(void *o, uint64_t at) { ((struct play *)o)->wake = at; }

static void h_closed(void *o)
{
    struct play *p = o;

    CHECK(!p->closed);
    p->closed = true;
}

static const struct stream_host host = {
    .now = h_now, .read_body = h_read_body, .reply = h_reply, .head = h_head, .write = h_write, .end = h_end, .attempt = h_attempt,
    .cancel = h_cancel, .finish = h_finish, .hold = h_hold, .release = h_release, .wake = h_wake, .closed = h_closed,
};

/* ---- a stage: one gateway file, many plays */

static struct world world;
static struct metrics metrics;

static const char file[] =
    "local sluice = require 'sluice'\n"
    "local same = sluice.policy { name = 'same' }\n"
    "same.filter = { text = function(text) return text end }\n"
    "local holds = sluice.policy { name = 'holds' }\n"
    "holds.filter = { text = function(text, ctx, part) local n = part.last and #text or math.max(#text - 7, 0) return text:sub(1, n), text:sub(n + 1) end }\n"
    "local waits = sluice.policy { name = 'waits' }\n"
    "waits.filter = { text = function(text) sluice.sleep '3ms' return text end }\n"
    "return sluice.config { api = 1, listen = ':0', models = { m = { provider = 'openai', url = 'http://m.test/v1', model = 'x' } }, routes = {\n"
    "  plain = { path = '/plain', front = 'token', target = 'm' },\n"
    "  same = { path = '/same', front = 'token', target = 'm', policies = { same } },\n"
    "  holds = { path = '/holds', front = 'token', target = 'm', policies = { holds } },\n"
    "  all = { path = '/all', front = 'token', target = 'm', policies = { same, waits, holds } },\n"
    "} }\n";

static const struct route *route(const char *name)
{
    for (size_t i = 0; i < world.g->n_routes; i++)
        if (strcmp(world.g->routes[i].name, name) == 0)
            return &world.g->routes[i];
    CHECK_FAIL("no route %s", name);
}

static void tick_until_still(struct play *p)
{
    for (int i = 0; i < 100000 && !p->closed && p->wake && p->wake <= p->now + 10; i++) {      /* short waits only: a script's sleep, not a clock */
        if (p->wake > p->now)
            p->now = p->wake;
        vm_set_now(world.vm, p->now, 1700000000000);
        stream_tick(p->stream);
    }
}

static void begin(struct play *p, const char *name)
{
    struct http_request r = { .method = "GET", .path = "/", .query = "q=why", .minor = 1, .ip = "192.0.2.7" };
    struct stream_facts facts = { .id = "s1", .ip = "192.0.2.7", .front = route(name)->fronts[0], .request = &r };
    static unsigned turn;

    memset(p, 0, sizeof *p);
    p->now = 1000;
    p->traced = facts.trace = ++turn % 2;              /* who looks changes nothing */
    stream_open(&p->stream, &host, p, world.g, route(name), &facts, &metrics);
    if (p->wants_body)
        stream_body(p->stream, "", 0);
    CHECK(p->attempted);
}

static void begin_stream(struct play *p, const char *name)
{
    struct header type = { "Content-Type", "text/event-stream" };

    begin(p, name);
    stream_upstream_head(p->stream, 0, 200, &type, 1);
}

static bool wants_more(const struct play *p) { return p->attempted && !p->cancelled && !p->finished && !p->closed; }

static void feed(struct play *p, const char *bytes, size_t len)
{
    char *copy = malloc(len ? len : 1);

    tick_until_still(p);
    if (wants_more(p) && len) {
        memcpy(copy, bytes, len);
        stream_upstream_bytes(p->stream, 0, copy, len);
    }
    free(copy);
}

static void end_upstream(struct play *p, enum reason why)
{
    tick_until_still(p);
    if (wants_more(p))
        stream_upstream_end(p->stream, 0, why, "");
    tick_until_still(p);
}

/* Everything is over: exactly one end, and closed. */
static void over(struct play *p)
{
    CHECK(p->closed);
    CHECK_INT(p->gone ? 0 : 1, p->gone ? 0 : p->ends);
    CHECK(p->cancelled || p->finished || !wants_more(p));
    if (p->traced) {
        stream_trace(p->stream, NULL, &p->trace);
        CHECK(strncmp(buf_cstr(&p->trace), "exchange s1  route ", 19) == 0);
        CHECK(strstr(buf_cstr(&p->trace), " ms  end  ") != NULL);
    }
    stream_free(p->stream);
    if (!p->keep)
        buf_free(&p->trace);
}

static const char *whole(struct play *p)
{
    static struct buf text;

    buf_free(&text);
    buf_printf(&text, "%d ", p->status);
    buf_append(&text, p->out.data ? p->out.data : "", p->out.len);
    buf_free(&p->out);
    return buf_cstr(&text);
}

/* ---- the recorded streams */

static char *slurp(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    char *bytes;

    CHECK(f != NULL);
    fseek(f, 0, SEEK_END);
    *len = (size_t)ftell(f);
    rewind(f);
    bytes = calloc(1, *len + 1);
    CHECK_INT(*len, fread(bytes, 1, *len, f));
    fclose(f);
    return bytes;
}

/* What clients must get: the tokens and the end, as the .json beside the .sse says, in the token front's words. */
static void meaning(const char *path, struct buf *want)
{
    size_t len;
    char *json = slurp(path, &len), end[64] = "";
    struct json_reader r;
    struct json_token t;
    bool tokens = false, is_end = false;

    json_open(&r, json, len);
    while (json_next(&r, &t) > JSON_END) {
        if (t.kind == JSON_KEY && r.depth == 1) {
            tokens = json_key_is(&t, "tokens");
            is_end = json_key_is(&t, "end");
        } else if (t.kind == JSON_STRING && tokens) {
            struct buf text = BUF_EMPTY;
            json_unescape(&text, t.bytes, t.len);
            buf_puts(want, "data: {\"token\":");
            json_put_string(want, buf_cstr(&text), text.len);
            buf_puts(want, "}\n\n");
            buf_free(&text);
        } else if (t.kind == JSON_STRING && is_end) {
            snprintf(end, sizeof end, "%.*s", (int)t.len, t.bytes);
        }
    }
    CHECK(r.error == NULL && end[0]);
    if (strcmp(end, "done") == 0)
        buf_puts(want, "data: [DONE]\n\n");
    else
        buf_printf(want, "\"code\":\"%s\"}", end);     /* how an error, event or body, ends */
    free(json);
}

static bool ends_as(const char *got, const struct buf *want)
{
    const char *body = strchr(got, ' ') + 1, *code = strstr(want->data, "\"code\":");
    size_t tokens = code ? (size_t)(code - want->data) : want->len;

    if (strncmp(body, want->data, tokens) != 0)
        return false;
    if (!code)
        return strcmp(body, want->data) == 0;
    const char *error = body + tokens, *said = strstr(error, code);
    if (!said || (strncmp(error, "data: {\"error\":", 15) != 0 && strncmp(error, "{\"error\":", 9) != 0))
        return false;
    said += strlen(code);
    return strcmp(said, tokens || error[0] == 'd' ? "\n\n" : "") == 0 || strcmp(said, "\n") == 0;
}

static void replay(const char *name, const char *route_name, const char *bytes, size_t len, const struct buf *want, bool same_pieces, uint64_t *state)
{
    struct play p;
    char *first = NULL;

    for (size_t cut = 0; cut <= len + 40; cut++) {     /* whole; byte by byte; every cut in two; 40 random ones */
        begin_stream(&p, route_name);
        if (cut == 0) {
            feed(&p, bytes, len);
        } else if (cut == len) {
            for (size_t i = 0; i < len; i++)
                feed(&p, bytes + i, 1);
        } else if (cut < len) {
            feed(&p, bytes, cut);
            feed(&p, bytes + cut, len - cut);
        } else {
            for (size_t at = 0; at < len;) {
                size_t n = 1 + check_random(state) % 60;
                n = n < len - at ? n : len - at;
                feed(&p, bytes + at, n);
                at += n;
            }
        }
        end_upstream(&p, REASON_DONE);
        over(&p);
        const char *got = whole(&p);
        if (!first)
            first = strdup(got);
        if (same_pieces && !ends_as(got, want))
            CHECK_FAIL("%s on %s, cut %zu: got\n%s\nwanted\n%s", name, route_name, cut, got, want->data);
        if (strcmp(got, first) != 0)
            CHECK_FAIL("%s on %s, cut %zu: got\n%s\nbut whole\n%s", name, route_name, cut, got, first);
    }
    free(first);
}

static void recorded_streams(void)
{
    DIR *d = opendir("spec/wire");
    struct dirent *e;
    uint64_t state = 20261123;
    int n = 0;

    CHECK(d != NULL);
    while ((e = readdir(d)) != NULL) {
        char path[512];
        size_t len, stem = strlen(e->d_name);
        struct buf want = BUF_EMPTY;

        if (stem < 5 || strcmp(e->d_name + stem - 4, ".sse") != 0)
            continue;
        snprintf(path, sizeof path, "spec/wire/%s", e->d_name);
        char *bytes = slurp(path, &len);
        memcpy(path + strlen(path) - 3, "json", 5);
        meaning(path, &want);
        buf_cstr(&want);
        replay(e->d_name, "plain", bytes, len, &want, true, &state);
        replay(e->d_name, "same", bytes, len, &want, true, &state);
        replay(e->d_name, "holds", bytes, len, &want, false, &state);
        replay(e->d_name, "all", bytes, len, &want, false, &state);
        buf_free(&want);
        free(bytes);
        n++;
    }
    closedir(d);
    CHECK(n >= 20);
}

/* ---- ends */

static const char piece[] = "data: {\"choices\":[{\"delta\":{\"content\":\"word \"}}]}\n\n";
static const char mark[] = "data: [DONE]\n\n";

static void every_end_at_every_point(void)
{
    static const enum reason why[] = { REASON_DONE, REASON_RESET, REASON_TRUNCATED, REASON_PROTOCOL, REASON_DECODE_FAILED };

    for (size_t r = 0; r < sizeof why / sizeof *why; r++)
        for (size_t n = 0; n <= 2 * (sizeof piece - 1); n++) {
            struct play p;
            struct buf bytes = BUF_EMPTY;

            buf_puts(&bytes, piece);
            buf_puts(&bytes, piece);
            begin_stream(&p, r % 2 ? "same" : "plain");
            feed(&p, bytes.data, n);
            end_upstream(&p, why[r]);
            over(&p);
            const char *got = whole(&p);
            CHECK(strstr(got, "\"code\":\"upstream_") != NULL);
            CHECK(strstr(got, "[DONE]") == NULL);
            CHECK_INT(n >= sizeof piece - 1 ? 200 : 502, atoi(got));
            buf_free(&bytes);
        }
}

static void clients_leave_at_every_point(void)
{
    struct buf bytes = BUF_EMPTY;

    for (int i = 0; i < 3; i++)
        buf_puts(&bytes, piece);
    buf_puts(&bytes, mark);
    for (int filtered = 0; filtered < 2; filtered++)
        for (size_t n = 0; n < bytes.len; n++) {
            struct play p;

            begin(&p, filtered ? "all" : "plain");
            if (n > 0) {
                struct header type = { "content-type", "text/event-stream; charset=utf-8" };
                stream_upstream_head(p.stream, 0, 200, &type, 1);
                stream_upstream_bytes(p.stream, 0, bytes.data, n);        /* no tick: a filter may be waiting */
            }
            if (!p.closed && !p.ends) {
                p.gone = true;
                stream_client_gone(p.stream);
            }
            CHECK(p.closed);
            CHECK(p.cancelled);
            stream_free(p.stream);
            buf_free(&p.out);
        }
    buf_free(&bytes);
}

static void shutdown_at_every_point(void)
{
    struct buf bytes = BUF_EMPTY;

    for (int i = 0; i < 3; i++)
        buf_puts(&bytes, piece);
    for (int filtered = 0; filtered < 2; filtered++)
        for (size_t n = 0; n < bytes.len; n++) {
            struct play p;

            begin_stream(&p, filtered ? "all" : "plain");
            if (n)
                stream_upstream_bytes(p.stream, 0, bytes.data, n);
            stream_shutdown(p.stream, REASON_SHUTTING_DOWN);
            over(&p);
            CHECK(p.cancelled);
            CHECK(strstr(whole(&p), "\"code\":\"shutting_down\"") != NULL);
        }
    buf_free(&bytes);
}

/* ---- a client that does not read */

static void a_slow_client_holds_the_upstream(void)
{
    for (int filtered = 0; filtered < 2; filtered++) {
        struct play p;
        size_t before;

        begin_stream(&p, filtered ? "same" : "plain");
        p.slow = true;
        feed(&p, piece, sizeof piece - 1);
        CHECK(p.held);
        before = p.out.len;
        feed(&p, piece, sizeof piece - 1);             /* was on its way: curl may still deliver what it has */
        CHECK_INT(before, p.out.len);
        CHECK_INT(0, p.writes_while_waiting);
        p.slow = false;
        p.waits = false;
        stream_drained(p.stream);
        CHECK(!p.held);
        CHECK(p.out.len > before);
        feed(&p, mark, sizeof mark - 1);
        end_upstream(&p, REASON_DONE);
        over(&p);
        CHECK_STR("200 data: {\"token\":\"word \"}\n\ndata: {\"token\":\"word \"}\n\ndata: [DONE]\n\n", whole(&p));
    }
}

static void heartbeats_and_clocks(void)
{
    struct play p;
    int beats = 0;

    begin(&p, "plain");
    for (int i = 0; i < 1000 && !p.closed; i++) {      /* nothing ever comes */
        CHECK(p.wake > 0);
        p.now = p.wake > p.now ? p.wake : p.now;
        stream_tick(p.stream);
    }
    over(&p);
    const char *got = whole(&p);
    for (const char *at = got; (at = strstr(at, ": keep-alive\n\n")) != NULL; at++)
        beats++;
    CHECK(beats >= 1);
    CHECK(strstr(got, "_timeout\"}") != NULL);
    CHECK(p.cancelled);
}

static void memory_is_bounded_by_the_event_limit(void)
{
    struct play p;
    char *big = malloc(1 << 16);

    memset(big, 'x', 1 << 16);
    begin_stream(&p, "plain");
    feed(&p, "data: ", 6);
    for (int i = 0; i < 20 && !p.closed; i++)
        feed(&p, big, 1 << 16);
    free(big);
    over(&p);
    CHECK(strstr(whole(&p), "upstream_event_too_large") != NULL);
}

/* ---- the time line */

static void feed_text(struct play *p, const char *text)
{
    char event[200];

    feed(p, event, (size_t)snprintf(event, sizeof event, "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"%s\"}}]}\n\n", text));
}

/* Without what a machine's speed decides: the processor time. */
static const char *steady(struct buf *trace)
{
    for (char *p = (char *)buf_cstr(trace); (p = strstr(p, " us")) != NULL; p++)
        for (char *digit = p - 1; *digit >= '0' && *digit <= '9'; digit--)
            *digit = *digit && digit == p - 1 ? 'N' : ' ';
    return buf_cstr(trace);
}

static void begin_traced(struct play *p, const char *name)
{
    do {
        if (p->stream) {
            stream_shutdown(p->stream, REASON_SHUTTING_DOWN);
            over(p);
            buf_free(&p->out);
        }
        begin_stream(p, name);
    } while (!p->traced);
    p->keep = true;
}

static void a_time_line_counts_characters_and_waits(void)
{
    static const char done[] = "data: [DONE]\n\n";
    struct play p = { 0 };

    begin_traced(&p, "all");
    p.now += 4;
    feed_text(&p, "h\xc3\xa4nd");
    feed_text(&p, "l\xc3\xa4nder");
    feed(&p, done, sizeof done - 1);
    end_upstream(&p, REASON_DONE);
    over(&p);
    CHECK_STR("exchange s1  route all  generation 0\n"
              "       at  what       whose                   cpu     waited  did\n"
              "     0 ms  try 1      m                                       answered; 2 pieces, the first after 4 ms\n"
              "     4 ms  filter     holds                  N us             in 10, out 10, held 6 at most; 3 calls\n"
              "     4 ms  filter     waits                  N us       6 ms  in 10, out 10, held 0 at most; 2 calls\n"
              "     7 ms  filter     same                   N us             in 10, out 10, held 0 at most; 2 calls\n"
              "    10 ms  end        done: status 200, 2 pieces came, 66 bytes sent, the first text after 7 ms\n",
              steady(&p.trace));
    buf_free(&p.trace);
    buf_free(&p.out);
}

static void a_call_that_is_given_up_stands_in_the_time_line(void)
{
    struct play p = { 0 };

    begin_traced(&p, "all");
    feed_text(&p, "long enough to leave the first");
    p.now += 2;
    p.gone = true;
    stream_client_gone(p.stream);
    over(&p);
    CHECK(strstr(steady(&p.trace), "filter     waits                  N us       2 ms  in 23, out 0, held 0 at most; 1 call; given up while it waited\n") != NULL);
    CHECK(strstr(buf_cstr(&p.trace), "try 1      m                                       client_closed after 2 ms; 1 pieces, the first after 0 ms\n") != NULL);
    CHECK(strstr(buf_cstr(&p.trace), "     2 ms  end        client_closed: status 499, 1 pieces came, 0 bytes sent\n") != NULL);
    buf_free(&p.trace);
    buf_free(&p.out);
}

int main(void)
{
    log_setup(LOG_ERROR, LOG_TEXT, 2);
    world_open(&world, file);
    RUN(recorded_streams);
    RUN(every_end_at_every_point);
    RUN(clients_leave_at_every_point);
    RUN(shutdown_at_every_point);
    RUN(a_slow_client_holds_the_upstream);
    RUN(heartbeats_and_clocks);
    RUN(memory_is_bounded_by_the_event_limit);
    RUN(a_time_line_counts_characters_and_waits);
    RUN(a_call_that_is_given_up_stands_in_the_time_line);
    world.x.ref = LUA_NOREF;
    world_close(&world);
    return check_done();
}
