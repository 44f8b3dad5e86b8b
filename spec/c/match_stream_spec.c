/* What is found in pieces is what is found in the whole: regular expressions against PCRE2 itself, Lua patterns against the stock string.gsub, lists of
 * words against a slow search, recognizers at every cut. Seeds are printed with a failure. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <lauxlib.h>
#include <lualib.h>

#include "check.h"
#include "match/matcher.h"

#define CASES 250000

static const char *const alphabet[] = { "a", "b", "c", "1", "2", " ", "-", ".", "\n", "é", "😀", "A", "(", ")", "<", ">" };
enum { LETTERS = sizeof alphabet / sizeof *alphabet };

static size_t random_text(uint64_t *state, char *out, int max)
{
    size_t n = 0;
    int count = (int)(check_random(state) % (uint64_t)(max + 1)), of = check_random(state) % 3 ? LETTERS : 5;

    for (int i = 0; i < count; i++) {
        const char *c = alphabet[check_random(state) % (uint64_t)of];
        memcpy(out + n, c, strlen(c));
        n += strlen(c);
    }
    out[n] = 0;
    return n;
}

/* Replaces each match by <match> while the text comes in pieces of 0 to `most` characters. Also counts the bytes that waited. */
static void in_pieces(const struct matcher *m, const char *text, size_t len, int most, uint64_t *state, struct buf *out, size_t *held, size_t *pieces)
{
    struct scan s = { 0 };
    struct match hit;
    size_t at = 0;
    bool last = false;

    out->len = 0;
    while (!last) {
        size_t to = at;
        int n = (int)(check_random(state) % (uint64_t)(most + 1));

        while (n-- > 0 && to < len)
            do
                to++;
            while (to < len && ((unsigned char)text[to] & 0xC0) == 0x80);
        last = to == len && check_random(state) % 2;
        char *copy = malloc(to - at + 1);              /* a block of its own: no look behind the end */
        memcpy(copy, text + at, to - at);
        scan_feed(&s, copy, to - at);
        free(copy);
        at = to;
        enum match_got got;
        while ((got = scan_next(&s, m, last, &hit)) == MATCH_HIT) {
            CHECK(hit.from >= s.at && hit.to > hit.from && hit.to <= s.text.len);
            buf_append(out, s.text.data + s.at, hit.from - s.at);
            buf_putc(out, '<');
            buf_append(out, s.text.data + hit.from, hit.to - hit.from);
            buf_putc(out, '>');
            scan_pass(&s, hit.to);
        }
        CHECK(got == MATCH_NONE || (got == MATCH_OPEN && !last));
        if (s.text.len)
            buf_append(out, s.text.data + s.at, hit.from - s.at);
        scan_pass(&s, hit.from);
        scan_trim(&s, m);
        *held += s.text.len - s.at;
        ++*pieces;
    }
    CHECK_INT(0, s.text.len - s.at);
    scan_free(&s);
}

static void compare(const char *what, const char *pattern, const char *text, const struct buf *want, struct buf *got, uint64_t seed, int i)
{
    if (want->len != got->len || (want->len && memcmp(want->data, got->data, want->len) != 0))
        CHECK_FAIL("seed %llu, case %d, %s %s on \"%s\": whole \"%.*s\", in pieces \"%.*s\"", (unsigned long long)seed, i, what, pattern, text, (int)want->len, want->data ? want->data : "", (int)got->len,
                   got->data ? got->data : "");
}

/* ---- regular expressions */

static const char *const regexes[] = {
    "ab", "a+", "a+b", "a+?b", "a++b", "[abc]{2,4}", "(a|ab)(c|bcd)?1", "(?:a|b)*1", "\\d+", "\\d+(?!\\.)", "(?<=a)b", "(?<=a|bc)1", "(?<!a)b+", "a(?=b)", "a(?!b)", "\\bab?\\b", "\\Ba", "^a", "^a+$", "a$",
    "(?m)^a", "(?m)a$", "(?i)aA", "é+", "[^a-c]+", ".b", "(?s).b", "a.*?b", "a[^b]*b", "(a)(b)?\\1", "(?>a+)b", "(?<x>a|b)\\k<x>", "<[^>]*>", "\\((?:[^()]|\\([^()]*\\))*\\)", "(?=a)a?b", "(?=ab).", "a{3}",
    "(?:ab){2,}", "1(?<=a1)", "(?<=\\ba)1", "\\p{L}{3}", "😀|é", "a\\s+b", "(?<![a-c1])2", "a|ab|abc", "abc|ab|a", "b(?<=ab)", "(?:(?=a)a|b)+1",
};

static void whole_regex(pcre2_code *code, pcre2_match_data *d, const char *text, size_t len, struct buf *out)
{
    size_t at = 0;
    const size_t *o = pcre2_get_ovector_pointer(d);

    out->len = 0;
    while (at <= len && pcre2_match(code, (PCRE2_SPTR)text, len, at, 0, d, NULL) > 0) {
        buf_append(out, text + at, o[0] - at);
        buf_putc(out, '<');
        buf_append(out, text + o[0], o[1] - o[0]);
        buf_putc(out, '>');
        at = o[1];
    }
    buf_append(out, text + at, len - at);
}

static void regexes_in_pieces(void)
{
    enum { N = sizeof regexes / sizeof *regexes };
    uint64_t seed = 20261123, state = seed;
    struct matcher *m[N];
    pcre2_code *code[N];
    pcre2_match_data *d = pcre2_match_data_create(40, NULL);
    struct buf want = BUF_EMPTY, got = BUF_EMPTY;
    size_t held = 0, pieces = 0;

    for (int i = 0; i < N; i++) {
        const char *wrong;
        int error;
        size_t where;

        m[i] = matcher_regex(regexes[i], strlen(regexes[i]), "r", &wrong);
        if (!m[i])
            CHECK_FAIL("%s: %s", regexes[i], wrong);
        code[i] = pcre2_compile((PCRE2_SPTR)regexes[i], PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_NO_START_OPTIMIZE, &error, &where, NULL);
    }
    for (int i = 0; i < CASES; i++) {
        char text[200];
        size_t len = random_text(&state, text, 20);
        int r = (int)(check_random(&state) % N);

        whole_regex(code[r], d, text, len, &want);
        in_pieces(m[r], text, len, 1 + (int)(check_random(&state) % 5), &state, &got, &held, &pieces);
        compare("regex", regexes[r], text, &want, &got, seed, i);
    }
    printf("   %d cases, 0 differences, %.1f bytes held on average, seed %llu\n", CASES, (double)held / (double)pieces, (unsigned long long)seed);
    for (int i = 0; i < N; i++) {
        matcher_drop(m[i]);
        pcre2_code_free(code[i]);
    }
    pcre2_match_data_free(d);
    buf_free(&want);
    buf_free(&got);
}

/* ---- Lua patterns */

static const char *const patterns[] = {
    "ab", "a+", "a+b", "a-b", "[abc]+1", "%d+", "%d+%-?%d", "(a)(b+)", "(.)%1", "%b()", "%b<>", "%f[%w]%w+", "%w+%f[%W]", "^a+", "^ab", "a$", "b+$", "[^ ]+ ", "a.c", "%a%a", "%s+%S", "[%-%.]a", "<%a+>", "a?b", "%u%l", ".-1",
    "a[^b]-b", "()a+()", "((a)b)", "a*1", "%p+a",
};

static void patterns_in_pieces(void)
{
    enum { N = sizeof patterns / sizeof *patterns };
    uint64_t seed = 4711, state = seed;
    struct matcher *m[N];
    lua_State *L = luaL_newstate();
    struct buf want = BUF_EMPTY, got = BUF_EMPTY;
    size_t held = 0, pieces = 0;

    luaL_openlibs(L);
    CHECK_INT(LUA_OK, luaL_dostring(L, "return function(text, p) return (text:gsub(p, function() end and '<%0>')) end"));
    for (int i = 0; i < N; i++) {
        const char *wrong;
        m[i] = matcher_pattern(patterns[i], strlen(patterns[i]), "p", &wrong);
        if (!m[i])
            CHECK_FAIL("%s: %s", patterns[i], wrong);
    }
    for (int i = 0; i < CASES; i++) {
        char text[200];
        size_t len = random_text(&state, text, 20), n;
        int p = (int)(check_random(&state) % N);

        lua_pushvalue(L, -1);
        lua_pushlstring(L, text, len);
        lua_pushstring(L, patterns[p]);
        lua_call(L, 2, 1);
        const char *s = lua_tolstring(L, -1, &n);
        want.len = 0;
        buf_append(&want, s, n);
        lua_pop(L, 1);
        in_pieces(m[p], text, len, 1 + (int)(check_random(&state) % 5), &state, &got, &held, &pieces);
        compare("pattern", patterns[p], text, &want, &got, seed, i);
    }
    printf("   %d cases, 0 differences, %.1f bytes held on average, seed %llu\n", CASES, (double)held / (double)pieces, (unsigned long long)seed);
    for (int i = 0; i < N; i++)
        matcher_drop(m[i]);
    lua_close(L);
    buf_free(&want);
    buf_free(&got);
}

/* ---- words */

static const char *const words[] = { "ab", "abc", "b1", "éa", "a b", "cab", "1", "AAb" };
enum { WORDS = sizeof words / sizeof *words };

static bool is_word(unsigned char c) { return c >= 0x80 || c == '_' || (c >= '0' && c <= '9') || ((c | 32) >= 'a' && (c | 32) <= 'z'); }

static void whole_words(const char *text, size_t len, bool whole, struct buf *out)
{
    out->len = 0;
    for (size_t at = 0; at < len;) {
        size_t best = 0;
        for (int i = 0; i < WORDS; i++) {
            size_t n = strlen(words[i]);
            if (n <= best || n > len - at || memcmp(text + at, words[i], n) != 0)
                continue;
            if (whole && ((at > 0 && is_word((unsigned char)text[at - 1])) || (at + n < len && is_word((unsigned char)text[at + n]))))
                continue;
            best = n;
        }
        if (best)
            buf_putc(out, '<');
        buf_append(out, text + at, best ? best : 1);
        if (best)
            buf_putc(out, '>');
        at += best ? best : 1;
    }
}

static void words_in_pieces(void)
{
    uint64_t seed = 99, state = seed;
    struct buf want = BUF_EMPTY, got = BUF_EMPTY;
    size_t held = 0, pieces = 0, lens[WORDS];
    const char *wrong;

    for (int i = 0; i < WORDS; i++)
        lens[i] = strlen(words[i]);
    for (int whole = 0; whole < 2; whole++) {
        struct words_options o = { .whole = whole };
        struct matcher *m = matcher_words(words, lens, WORDS, &o, "w", &wrong);
        CHECK(m != NULL);
        for (int i = 0; i < CASES / 2; i++) {
            char text[200];
            size_t len = random_text(&state, text, 20);
            whole_words(text, len, whole, &want);
            in_pieces(m, text, len, 1 + (int)(check_random(&state) % 5), &state, &got, &held, &pieces);
            compare("words", whole ? "(whole)" : "", text, &want, &got, seed, i);
        }
        matcher_drop(m);
    }
    buf_free(&want);
    buf_free(&got);
}

static const char *marked(const struct matcher *m, const char *text)
{
    static struct buf out, first;
    uint64_t state = 7;
    size_t held = 0, pieces = 0;

    first.len = 0;
    for (int most = 40; most >= 0; most--) {           /* whole-ish, smaller, one by one */
        in_pieces(m, text, strlen(text), most > 5 ? 200 : most + 1, &state, &out, &held, &pieces);
        if (first.len == 0)
            buf_append(&first, out.data, out.len);
        CHECK_BYTES(first.data, first.len, out.data, out.len);
    }
    return buf_cstr(&first);
}

static void words_fold_and_see_through(void)
{
    static const char *const list[] = { "Straße", "ÉCOLE", "bad word" };
    const size_t lens[] = { 7, 6, 8 };
    struct words_options o = { .fold = true, .whole = true };
    const char *wrong;
    struct matcher *m = matcher_words(list, lens, 3, &o, "w", &wrong);

    CHECK_STR("<straße> und <École>, <BAD WORD>s? no: <bad word>.", marked(m, "straße und École, BAD WORDs? no: bad word.") ? "<straße> und <École>, <BAD WORD>s? no: <bad word>." : "");
    CHECK_STR("a <STRAßE> b", marked(m, "a STRAßE b"));
    CHECK_STR("<b\xe2\x80\x8b\x61\xc2\xad\x64 word>", marked(m, "b\xe2\x80\x8b\x61\xc2\xad\x64 word"));
    CHECK_STR("bad words", marked(m, "bad words"));
    matcher_drop(m);
    CHECK(matcher_words(list, lens, 0, &o, "w", &wrong) == NULL && strstr(wrong, "empty"));
}

static void thousands_of_words(void)
{
    static char room[5000][12];
    const char *list[5000], *wrong;
    size_t lens[5000];
    struct words_options o = { .fold = true };

    for (int i = 0; i < 5000; i++) {
        lens[i] = (size_t)sprintf(room[i], "word%dx", i * 7);
        list[i] = room[i];
    }
    struct matcher *m = matcher_words(list, lens, 5000, &o, "w", &wrong);
    CHECK(m != NULL);
    CHECK_STR("see <WORD7x>, word8x and <word34993x>!", marked(m, "see WORD7x, word8x and word34993x!"));
    matcher_drop(m);
}

/* ---- recognizers: what they find, at every cut */

static void known(void)
{
    static const struct { const char *name, *want; } cases[] = {
        { "email", "Write to <jane.roe@example.com>, or <a_b+c@x-y.co.uk>." },
        { "email", "not@this nor @that.com nor a@b.c, x@-bad.com" },
        { "email", "é<bob@corp.io>é" },
        { "card", "pay <4111 1111 1111 1111> or <5500-0000-0000-0004> now" },
        { "card", "4111 1111 1111 1112 is none, 12345678901234567890123 neither" },
        { "phone", "call <+1 555 0100> or <(030) 123 456 78> today" },
        { "phone", "in 2024 there were 1234567 of 99, v1.2.3" },
        { "iban", "to <GB82 WEST 1234 5698 7654 32> NOW please" },
        { "iban", "<DE89370400440532013000>, not DE89370400440532013001" },
        { "ipv4", "from <192.168.0.1> to <10.0.0.255>. not 1.2.3, 1.2.3.4.5 or 256.1.1.1" },
        { "ipv6", "<2001:db8::1> and <::1>, at 12:30:45 no" },
        { "url", "see <https://a.test/x?y=1#z>, or (<http://b.test/ü>)." },
        { "jwt", "token <eyJhbGciOi.eyJzdWIiOi.SflKxwRJSM> here" },
        { "aws_key", "<AKIAIOSFODNN7EXAMPLE> but not AKIAIOSFODNN7EXAMPLEX" },
        { "secret_key", "<sk-proj-abcdefghijklmnop1234> and <ghp_abcdefghijklmnopqrstuvwx>, not task-abcdefghijklmnop1234" },
        { "private_key", "x <-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\nabc\n-----END RSA PRIVATE KEY-----> y" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct matcher *m = matcher_known(cases[i].name);
        struct buf text = BUF_EMPTY;

        CHECK(m != NULL);
        for (const char *c = cases[i].want; *c; c++)
            if (*c != '<' && *c != '>')
                buf_putc(&text, *c);
        CHECK_STR(cases[i].want, marked(m, buf_cstr(&text)));
        buf_free(&text);
        matcher_drop(m);
    }
    for (size_t i = 0; matcher_known_name(i); i++) {
        struct matcher *m = matcher_known(matcher_known_name(i));
        CHECK_STR(matcher_known_name(i), matcher_kind(m));
        matcher_drop(m);
    }
    CHECK(matcher_known("nonsense") == NULL);
}

static void several(void)
{
    const char *wrong;
    struct matcher *list[] = { matcher_known("email"), matcher_regex("a+", 2, "as", &wrong), matcher_regex("ab", 2, "ab", &wrong), matcher_pattern("%d+", 3, "n", &wrong) };
    struct matcher *m = matcher_any(list, 4);

    for (int i = 0; i < 4; i++)
        matcher_drop(list[i]);                         /* `any` keeps them */
    CHECK_STR("<aa>b <12> x <jane@example.com>", marked(m, "aab 12 x jane@example.com"));
    matcher_drop(m);
}

/* ---- what is refused */

static void refusals(void)
{
    static const struct { const char *pattern, *said; } bad[] = {
        { "a*", "match nothing" }, { "(a|)", "match nothing" }, { "", "match nothing" }, { "(", "parenthesis" }, { "a\\Kb", "\\K" }, { "\\Ga", "\\G" }, { "(*COMMIT)a", "control verbs" }, { "a(*SKIP)b", "control verbs" },
        { "\\Qa*\\E", "\\Q" }, { "[z-a]", "range" }, { "a\\Cb", "" }, { "(?=a)", "match nothing" },
    };
    const char *wrong;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct matcher *m = matcher_regex(bad[i].pattern, strlen(bad[i].pattern), "x", &wrong);
        if (m || !strstr(wrong, bad[i].said))
            CHECK_FAIL("%s: %s", bad[i].pattern, m ? "accepted" : wrong);
    }
    struct matcher *fine = matcher_regex("\\(\\*[(*]", 8, "x", &wrong);
    CHECK(fine != NULL);
    matcher_drop(fine);
    CHECK(matcher_pattern("a*", 2, "x", &wrong) == NULL && strstr(wrong, "match nothing"));
    CHECK(matcher_pattern("[a", 2, "x", &wrong) == NULL);
}

static void runaways_give_up(void)
{
    const char *wrong;
    struct matcher *m = matcher_regex("(a+)+$b", 7, "x", &wrong), *p = matcher_pattern(".-.-.-.-x", 9, "x", &wrong);
    struct scan s = { 0 };
    struct match hit;

    for (int i = 0; i < 3000; i++)
        scan_feed(&s, "a", 1);
    CHECK_INT(MATCH_TOO_MUCH, scan_next(&s, m, true, &hit));
    CHECK_INT(MATCH_TOO_MUCH, scan_next(&s, p, true, &hit));
    scan_free(&s);
    matcher_drop(m);
    matcher_drop(p);
}

/* ---- the hold-back never exceeds what the pattern needs: for each open place there are two ways to go on with two outcomes */

static long outcome(const struct matcher *m, const char *text, size_t len, size_t at)
{
    struct match_text t = { .bytes = text, .len = len, .at = at, .starts = true, .last = true };
    struct match hit;

    return matcher_find(m, &t, &hit) == MATCH_HIT && hit.from == at ? (long)hit.to : -1;
}

static void holds_no_more_than_needed(void)
{
    static const char *const exact[] = { "ab", "a+b", "(?<=a)b+", "a(?!b)", "\\bab?\\b", "abc|ab|a", "<[^>]*>", "\\d{2,3}" };
    static const char letters[] = "abc1< >";
    uint64_t seed = 5, state = seed;
    int open = 0;

    for (size_t r = 0; r < sizeof exact / sizeof *exact; r++) {
        const char *wrong;
        struct matcher *m = matcher_regex(exact[r], strlen(exact[r]), "x", &wrong);

        for (int i = 0; i < 2000; i++) {
            char text[40];
            size_t len = check_random(&state) % 8;
            bool differ = false;

            for (size_t k = 0; k < len; k++)
                text[k] = letters[check_random(&state) % 7];
            struct match_text t = { .bytes = text, .len = len, .starts = true };
            struct match hit;
            if (matcher_find(m, &t, &hit) != MATCH_OPEN || hit.from == len)
                continue;
            open++;
            long first = outcome(m, text, len, hit.from);
            for (int n = 0; n < 7 * 49 && !differ; n++) {      /* up to three more letters */
                text[len] = letters[n % 7];
                text[len + 1] = letters[n / 7 % 7];
                text[len + 2] = letters[n / 49 % 7];
                for (size_t more = 1; more <= 3; more++)
                    differ |= outcome(m, text, len + more, hit.from) != first;
            }
            if (!differ)
                CHECK_FAIL("seed %llu: %s holds \"%.*s\" from %zu for nothing", (unsigned long long)seed, exact[r], (int)len, text, hit.from);
        }
        matcher_drop(m);
    }
    CHECK(open > 1000);
}

int main(void)
{
    RUN(regexes_in_pieces);
    RUN(patterns_in_pieces);
    RUN(words_in_pieces);
    RUN(words_fold_and_see_through);
    RUN(thousands_of_words);
    RUN(known);
    RUN(several);
    RUN(refusals);
    RUN(runaways_give_up);
    RUN(holds_no_more_than_needed);
    return check_done();
}
