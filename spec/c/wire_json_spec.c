#include "wire/json.h"

#include "check.h"
#include "wire/utf8.h"

static bool valid(const char *s, size_t len)
{
    char *copy = malloc(len ? len : 1);                /* a block of its own: no look behind the end */
    struct json_reader r;
    struct json_token t;
    enum json_kind k;

    memcpy(copy, s, len);
    bool is = json_valid(copy, len);
    json_open(&r, copy, len);
    do
        k = json_next(&r, &t);
    while (k != JSON_ERROR && k != JSON_END);
    CHECK_INT(is, k == JSON_END);                      /* the tokenizer and the check agree */
    CHECK(is || (r.error && *r.error));
    free(copy);
    return is;
}

#define YES(s) do { if (!valid(s, sizeof s - 1)) CHECK_FAIL("refused: %s", s); } while (0)
#define NO(s) do { if (valid(s, sizeof s - 1)) CHECK_FAIL("accepted: %s", s); } while (0)

static void accepts(void)
{
    YES("{}");
    YES("[]");
    YES("0");
    YES("-0");
    YES("\"\"");
    YES(" \t\r\n[ 1 , 2 ] \n");
    YES("null");
    YES("true");
    YES("false");
    YES("1e400");
    YES("1E+2");
    YES("-1.5e-10");
    YES("123456789012345678901234567890");
    YES("0.0");
    YES("{\"a\":{\"b\":[{},[],null]},\"a\":1}");
    YES("\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD834\\uDD1E\\ud800\"");
    YES("\"\x7f\xc3\xa9\xf0\x9f\x98\x80\"");
    YES("\"\xff\"");                                   /* raw bytes are for utf8_mend to judge */
    YES("{\"\":0}");
}

static void refuses(void)
{
    NO("");
    NO(" ");
    NO("{");
    NO("[");
    NO("[1");
    NO("[1,");
    NO("[1,]");
    NO("[,1]");
    NO("[1 2]");
    NO("[1]]");
    NO("{}{}");
    NO("{} x");
    NO("{\"a\"}");
    NO("{\"a\":}");
    NO("{\"a\":1,}");
    NO("{\"a\" 1}");
    NO("{a:1}");
    NO("{'a':1}");
    NO("{1:1}");
    NO("{\"a\":1]");
    NO("[1}");
    NO("\"a");
    NO("\"a\nb\"");
    NO("\"a\0b\"");
    NO("\"a\x1f\"");
    NO("\"\\x\"");
    NO("\"\\u12\"");
    NO("\"\\u12G4\"");
    NO("\"\\\"");
    NO("01");
    NO("-");
    NO("+1");
    NO("1.");
    NO(".5");
    NO("1e");
    NO("1e+");
    NO("0x10");
    NO("1_000");
    NO("NaN");
    NO("Infinity");
    NO("nul");
    NO("nulls");
    NO("True");
    NO("\xef\xbb\xbf{}");
    NO("// no\n1");
    NO("{}\0");
    NO("[1]\0[2]");
}

static void depth(void)
{
    char s[2 * JSON_MAX_DEPTH + 10];

    for (int d = JSON_MAX_DEPTH - 1; d <= JSON_MAX_DEPTH + 1; d++) {
        memset(s, '[', (size_t)d);
        memset(s + d, ']', (size_t)d);
        CHECK_INT(d <= JSON_MAX_DEPTH, valid(s, 2 * (size_t)d));
    }
    char *deep = malloc(1000000);
    memset(deep, '[', 1000000);
    CHECK(!valid(deep, 1000000));
    free(deep);
}

static void a_cut_document_is_never_whole(void)
{
    static const char doc[] = "{\"choices\":[{\"delta\":{\"content\":\"a\\u00e9\\\"b\"},\"n\":-1.5e3,\"t\":true,\"f\":false,\"z\":null}]}";

    YES("{\"choices\":[{\"delta\":{\"content\":\"a\\u00e9\\\"b\"},\"n\":-1.5e3,\"t\":true,\"f\":false,\"z\":null}]}");
    for (size_t n = 0; n < sizeof doc - 1; n++)
        CHECK(!valid(doc, n));
}

static const char *unescaped(const char *escaped)
{
    static struct buf out;

    buf_free(&out);
    json_unescape(&out, escaped, strlen(escaped));
    return buf_cstr(&out);
}

static void strings(void)
{
    struct buf out = BUF_EMPTY;

    CHECK_STR("a\"\\/\b\f\n\r\tb", unescaped("a\\\"\\\\\\/\\b\\f\\n\\r\\tb"));
    CHECK_STR("\xc3\xa9", unescaped("\\u00e9"));
    CHECK_STR("\xe2\x82\xac", unescaped("\\u20AC"));
    CHECK_STR("\xf0\x9d\x84\x9e", unescaped("\\uD834\\uDd1e"));
    CHECK_STR("\xed\xa0\xb4x", unescaped("\\ud834x"));            /* alone: WTF-8, for utf8_mend */
    CHECK_STR("\xed\xb4\x9e\xed\xa0\xb4", unescaped("\\udd1e\\ud834"));
    json_unescape(&out, "a\\u0000b", 8);
    CHECK_BYTES("a\0b", 3, out.data, out.len);
    buf_free(&out);
    json_put_string(&out, "a\"\\\n\x01\x7f/<\xc3\xa9\xe2\x80\xa8\xe2\x80\xa9\0z", 18);
    CHECK_BYTES("\"a\\\"\\\\\\n\\u0001\\u007f/<\xc3\xa9\\u2028\\u2029\\u0000z\"", 44, out.data, out.len);
    buf_free(&out);
}

/* Any valid text comes back as itself, in one line, without a bare control character. */
static void any_text_survives(void)
{
    uint64_t seed = 20261123, state = seed;

    for (int i = 0; i < 50000; i++) {
        struct buf text = BUF_EMPTY, json = BUF_EMPTY, back = BUF_EMPTY;
        int n = (int)(check_random(&state) % 12);

        for (int k = 0; k < n; k++) {
            uint32_t c = (uint32_t)(check_random(&state) % 4 ? check_random(&state) % 0x300 : check_random(&state) % 0x110000);
            char utf8[4];
            if (c >= 0xd800 && c < 0xe000)
                c = 0x2028;
            size_t len = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
            for (size_t b = len - 1; b > 0; b--, c >>= 6)
                utf8[b] = (char)(0x80 | (c & 0x3f));
            utf8[0] = (char)(len == 1 ? c : (0xf0 << (4 - len) & 0xff) | c);
            buf_append(&text, utf8, len);
        }
        CHECK(utf8_valid(text.data ? text.data : "", text.len));
        json_put_string(&json, text.data ? text.data : "", text.len);
        CHECK(valid(json.data, json.len));
        CHECK(utf8_valid(json.data, json.len));
        for (size_t b = 0; b < json.len; b++)
            CHECK((unsigned char)json.data[b] >= ' ');
        json_unescape(&back, json.data + 1, json.len - 2);
        if (back.len != text.len || (text.len && memcmp(back.data, text.data, text.len) != 0))
            CHECK_FAIL("seed %llu, text %d: %s", (unsigned long long)seed, i, json.data);
        buf_free(&text);
        buf_free(&json);
        buf_free(&back);
    }
}

/* ---- places */

static struct json_place_found found[8];

static int find(const char *const *paths, size_t n, const char *json)
{
    const char *bad = NULL;
    struct json_places *p = json_places_compile(paths, n, &bad);
    size_t len = strlen(json);
    char *copy = malloc(len ? len : 1);
    static char *kept;

    CHECK(p != NULL);
    memcpy(copy, json, len);
    int got = json_places_find(p, copy, len, found);
    json_places_free(p);
    free(kept);
    kept = copy;                                       /* found[] points into it */
    return got;
}

static const char *text_of(size_t i)
{
    static char out[200];

    if (found[i].token.kind == JSON_ERROR)
        return "absent";
    snprintf(out, sizeof out, "%.*s", (int)found[i].token.len, found[i].token.bytes);
    return out;
}

#define PATHS(...) (const char *const[]){ __VA_ARGS__ }, sizeof (const char *const[]){ __VA_ARGS__ } / sizeof (const char *)

static void finds_places(void)
{
    CHECK_INT(0, find(PATHS("choices[0].delta.content", "choices[0].finish_reason", "error", "choices[1].delta", "usage.total"),
                      "{\"id\":1,\"choices\":[{\"finish_reason\":null,\"delta\":{\"role\":\"x\",\"content\":\"a\\nb\"}}],\"usage\":{\"total\":3.50}}"));
    CHECK_STR("a\\nb", text_of(0));
    CHECK(found[0].token.escaped);
    CHECK_INT(JSON_NULL, found[1].token.kind);
    CHECK_STR("absent", text_of(2));
    CHECK_STR("absent", text_of(3));
    CHECK_STR("3.50", text_of(4));
    CHECK_INT(0, find(PATHS("error", "error.message"), "{\"error\": {\"message\":\"m\", \"x\":[1,{}]} }"));
    CHECK_INT(JSON_OBJECT, found[0].token.kind);
    CHECK_STR("{\"message\":\"m\", \"x\":[1,{}]}", text_of(0));       /* the whole value, and a part of it too */
    CHECK_STR("m", text_of(1));
    CHECK_INT(0, find(PATHS("a[2][1]", "a[2]"), "{\"a\":[0,[],[5,6]]}"));
    CHECK_STR("6", text_of(0));
    CHECK_STR("[5,6]", text_of(1));
    CHECK_INT(0, find(PATHS("a.b"), "{\"a\":1,\"a\":{\"b\":1},\"a\":{\"b\":2}}"));
    CHECK_STR("2", text_of(0));                        /* the last one counts */
    CHECK_INT(0, find(PATHS("a.b"), "{\"a\":{\"b\":1},\"a\":7}"));
    CHECK_STR("absent", text_of(0));
    CHECK_INT(0, find(PATHS("ab"), "{\"\\u0061b\":\"escaped key\"}"));
    CHECK_STR("escaped key", text_of(0));
    CHECK_INT(0, find(PATHS("a", ""), "[{\"a\":1}]"));
    CHECK_STR("absent", text_of(0));
    CHECK_STR("absent", text_of(1));
    CHECK_INT(0, find(PATHS("a"), "{\"A\":1}"));       /* keys have case */
    CHECK_STR("absent", text_of(0));
}

static void bad_documents_find_nothing(void)
{
    static const char doc[] = "{\"a\":{\"b\":\"found early\"},\"rest\":[1,2,{\"x\":null}]}";

    for (size_t n = 0; n < sizeof doc - 1; n++) {
        char cut[sizeof doc];
        memcpy(cut, doc, n);
        cut[n] = 0;
        CHECK_INT(-1, find(PATHS("a.b"), cut));
    }
    CHECK_INT(0, find(PATHS("a.b"), doc));
    CHECK_INT(-1, find(PATHS("a.b"), "{\"a\":{\"b\":1}} {"));
}

static void bad_paths_are_named(void)
{
    static const char *const bad[] = { ".a", "a.", "a..b", "a[", "a[x]", "a[1", "a[-1]", "a]b", "a[99999999999999999999]" };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const char *paths[2] = { "fine", bad[i] }, *named = NULL;
        struct json_places *p = json_places_compile(paths, 2, &named);
        if (p || !named || strcmp(named, bad[i]) != 0)
            CHECK_FAIL("\"%s\" was not refused", bad[i]);
    }
}

/* Mutated documents: the places agree with the check, and with a slow walk over tokens for one path. */
static void mutations(void)
{
    static const char doc[] = "{\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"h\\u00e9\",\"x\":[1,2]},\"n\":-1.5e3}],\"error\":null}";
    static const char alphabet[] = "{}[]:,\"\\0123eE+-.tfn u\n\x01\xc3";
    uint64_t seed = 4711, state = seed;
    const char *bad, *const paths[] = { "choices[0].delta.content", "error", "choices[0].n" };
    struct json_places *p = json_places_compile(paths, 3, &bad);
    int good = 0;

    for (int i = 0; i < 300000; i++) {
        char s[sizeof doc];
        size_t len = sizeof doc - 1;
        int n = (int)(check_random(&state) % 4);

        memcpy(s, doc, sizeof doc);
        for (int k = 0; k < n; k++) {
            size_t at = check_random(&state) % len;
            if (check_random(&state) & 1) {
                s[at] = alphabet[check_random(&state) % (sizeof alphabet - 1)];
            } else {
                memmove(s + at, s + at + 1, len - at);
                len--;
            }
        }
        bool is = valid(s, len);
        if (is != (json_places_find(p, s, len, found) == 0))
            CHECK_FAIL("seed %llu, document %d: %.*s", (unsigned long long)seed, i, (int)len, s);
        good += is;
        for (int k = 0; is && k < 3; k++)              /* what was found lies inside */
            CHECK(found[k].token.kind == JSON_ERROR || (found[k].token.bytes >= s && found[k].token.bytes + found[k].token.len <= s + len));
    }
    CHECK(good > 50000);
    json_places_free(p);
}

static void skips(void)
{
    struct json_reader r;
    struct json_token t;
    static const char doc[] = "{\"a\":{\"x\":[1,{\"y\":2}]},\"b\":[[]],\"c\":\"s\",\"d\":4}";
    int keys = 0;

    json_open(&r, doc, sizeof doc - 1);
    CHECK_INT(JSON_OBJECT, json_next(&r, &t));
    while (json_next(&r, &t) == JSON_KEY) {
        CHECK_INT('a' + keys++, t.bytes[0]);
        CHECK_INT(0, json_skip(&r, &t));
    }
    CHECK_INT(JSON_OBJECT_END, t.kind);
    CHECK_INT(4, keys);
    CHECK_INT(JSON_END, json_next(&r, &t));
}

int main(void)
{
    RUN(accepts);
    RUN(refuses);
    RUN(depth);
    RUN(a_cut_document_is_never_whole);
    RUN(strings);
    RUN(any_text_survives);
    RUN(finds_places);
    RUN(bad_documents_find_nothing);
    RUN(bad_paths_are_named);
    RUN(mutations);
    RUN(skips);
    return check_done();
}
