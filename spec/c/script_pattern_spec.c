/* Our Lua patterns against the stock library's: same results on random patterns and texts, whatever is asked of them. */
#include <lauxlib.h>
#include <lualib.h>

#include "check.h"
#include "script/inside.h"
#include "match/pattern.h"

#define CASES 300000

static lua_State *L;
static struct vm *vm;

/* Random text over a small alphabet, so that things match often. */
static size_t random_text(uint64_t *seed, char *out, size_t max)
{
    static const char letters[] = "aabbcA1 2%.()[]-x\n";
    size_t len = check_random(seed) % (max + 1);

    for (size_t i = 0; i < len; i++) {
        uint64_t n = check_random(seed) % 60;

        out[i] = n == 0 ? '\0' : n == 1 ? (char)0xE9 : letters[n % (sizeof letters - 1)];
    }
    return len;
}

static void put(char *out, size_t *len, const char *s)
{
    size_t n = strlen(s);

    memcpy(out + *len, s, n);
    *len += n;
}

/* A pattern from pieces: mostly well formed, now and then not. */
static size_t random_pattern(uint64_t *seed, char *out)
{
    static const char *const singles[] = {
        "a", "b", "c", ".", "%a", "%d", "%s", "%w", "%l", "%u", "%p", "%x", "%c", "%g", "%A", "%D", "%S", "%W", "%P", "%z", "%%", "%.", "%(",
        "[ab]", "[^a]", "[a-c]", "[%a1]", "[^%s]", "[]]", "[^]]", "[a-]", "[-a]", "[%]]", "[a%-c]", "[%w_]", "[^%d%p]", "1", " ", "$", "^",
        "[.-1]", "x", "-", "]", "[^b-]", "[%a-z]", "[a-%%]",
    };
    static const char *const repeats[] = { "", "", "", "*", "+", "-", "?" };
    static const char *const specials[] = { "%b()", "%b[]", "%baa", "%f[%a]", "%f[^%w]", "%f[%z]", "()", "%1", "%2" };
    static const char *const broken[] = { "%", "[a", "[", "[]", "[^]", "%b", "%bx", "%f", "%fa", ")", "%0", "%9", "(", "[%", "[a%" };
    size_t len = 0, items = check_random(seed) % 6 + 1;
    int open = 0;

    if (check_random(seed) % 5 == 0)
        put(out, &len, "^");
    for (size_t i = 0; i < items; i++) {
        uint64_t what = check_random(seed) % 100;

        if (what < 12) {
            put(out, &len, "(");
            open++;
        } else if (what < 22) {
            put(out, &len, specials[check_random(seed) % (sizeof specials / sizeof *specials)]);
        } else if (what < 24) {
            put(out, &len, broken[check_random(seed) % (sizeof broken / sizeof *broken)]);
        } else {
            put(out, &len, singles[check_random(seed) % (sizeof singles / sizeof *singles)]);
            put(out, &len, repeats[check_random(seed) % (sizeof repeats / sizeof *repeats)]);
        }
        if (open > 0 && check_random(seed) % 3 == 0) {
            put(out, &len, ")");
            open--;
        }
    }
    while (open-- > 0 && check_random(seed) % 20 != 0)
        put(out, &len, ")");
    if (check_random(seed) % 8 == 0)
        put(out, &len, "$");
    return len;
}

static void print_bytes(const char *name, const char *s, size_t len)
{
    fprintf(stderr, "  %s = \"", name);
    for (size_t i = 0; i < len; i++)
        fprintf(stderr, s[i] >= 32 && s[i] < 127 ? "%c" : "\\x%02x", (unsigned char)s[i]);
    fprintf(stderr, "\"\n");
}

/* compare(f_stock, f_ours, ...): calls both, says "" when the results are the same, else what differs; "stock" errors and ours errors are equal. */
static const char compare[] =
    "local stock, ours = ...\n"
    "local function all(...) return select('#', ...), { ... } end\n"
    "local function show(ok, n, r) local t = {} for i = 1, n do t[i] = tostring(r[i]) end return tostring(ok) .. ':' .. table.concat(t, '|') end\n"
    "local function run(f, ...) local n, r = all(pcall(f, ...)) if r[1] then return 'ok', show(true, n, r) end return 'error', r[2] end\n"
    "return function(name, ...)\n"
    "  local s1, r1 = run(stock[name], ...)\n"
    "  local s2, r2 = run(ours[name], ...)\n"
    "  if s1 == 'error' and s2 == 'error' then return '', 'error' end\n"
    "  if s1 ~= s2 then return s1 .. ' ' .. r1 .. '  but ours: ' .. s2 .. ' ' .. r2, s2, r2 end\n"
    "  if r1 ~= r2 then return r1 .. '  but ours: ' .. r2, s2 end\n"
    "  return '', s1\n"
    "end";

/* gmatch as a function of its results; and gsub with the three kinds of replacement. */
static const char derive[] =
    "local lib = ...\n"
    "return {\n"
    "  find = lib.find, match = lib.match,\n"
    "  gmatch = function(s, p, init) local t = {} for a, b, c in lib.gmatch(s, p, init) do t[#t + 1] = tostring(a) .. ',' .. tostring(b) .. ',' .. tostring(c) end return table.concat(t, ';') end,\n"
    "  text = function(s, p) return lib.gsub(s, p, '<%0|%1|%%>') end,\n"
    "  limited = function(s, p) return lib.gsub(s, p, '-', 2) end,\n"
    "  call = function(s, p) return lib.gsub(s, p, function(a, b) if a == 'b' then return nil end return '{' .. tostring(a) .. tostring(b) .. '}' end) end,\n"
    "  look = function(s, p) return lib.gsub(s, p, { a = 'AAA', ab = 1, b = false }) end,\n"
    "}";

static void derived(int lib)                           /* pushes the table of functions made from the library at index `lib` */
{
    lib = lua_absindex(L, lib);
    CHECK_INT(LUA_OK, luaL_loadstring(L, derive));
    lua_pushvalue(L, lib);
    lua_call(L, 1, 1);
}

/* A malformed pattern that the stock matcher never came to look at is refused by ours all the same. */
static int is_malformed(const char *message)
{
    return strstr(message, "malformed pattern") || strstr(message, "capture") || strstr(message, "missing '['");
}

static void equals_the_stock_library(void)
{
    static const char *const calls[] = { "find", "match", "gmatch", "text", "limited", "call", "look" };
    uint64_t seed = 20261123, malformed = 0, matched = 0;
    int compare_at;

    printf("seed %llu\n", (unsigned long long)seed);
    CHECK_INT(LUA_OK, luaL_loadstring(L, compare));
    lua_getglobal(L, "string");
    derived(-1);
    lua_remove(L, -2);                                 /* compare stock */
    strings_open(L);
    derived(-1);
    lua_remove(L, -2);                                 /* compare stock ours */
    lua_call(L, 2, 1);                                 /* f */
    compare_at = lua_gettop(L);
    for (int i = 0; i < CASES; i++) {
        char text[64], pattern[512];
        size_t text_len = random_text(&seed, text, 24), pattern_len = random_pattern(&seed, pattern);
        const char *call = calls[check_random(&seed) % (sizeof calls / sizeof *calls)], *difference, *status;
        int nargs = 3;

        lua_pushvalue(L, compare_at);
        lua_pushstring(L, call);
        lua_pushlstring(L, text, text_len);
        lua_pushlstring(L, pattern, pattern_len);
        if ((call[0] == 'f' || call[0] == 'm' || call[1] == 'm') && check_random(&seed) % 2) {
            lua_pushinteger(L, (lua_Integer)(check_random(&seed) % 30) - 10);
            nargs++;
        }
        CHECK_INT(LUA_OK, lua_pcall(L, nargs, 3, 0));  /* difference status message */
        difference = lua_tostring(L, -3);
        status = lua_tostring(L, -2);
        if (*difference && strcmp(status, "error") == 0 && is_malformed(lua_tostring(L, -1))) {
            malformed++;
        } else if (*difference) {
            fprintf(stderr, "case %d, %s: %s\n", i, call, difference);
            print_bytes("text", text, text_len);
            print_bytes("pattern", pattern, pattern_len);
            exit(1);
        }
        matched += strcmp(status, "ok") == 0;
        lua_pop(L, 3);
        if (i % 1000 == 0)
            lua_gc(L, LUA_GCCOLLECT);
    }
    printf("%d cases, %llu ran to a result, %llu malformed ones refused early\n", CASES, (unsigned long long)matched, (unsigned long long)malformed);
    CHECK(matched > CASES / 2);
    lua_settop(L, 0);
}

static bool finds(const char *text, const char *pattern, struct pattern_run *r)
{
    static unsigned char room[4096] __attribute__((aligned(16)));
    const char *end;

    CHECK(pattern_size(pattern, strlen(pattern)) <= sizeof room);
    CHECK(pattern_compile((struct pattern *)(void *)room, pattern, strlen(pattern), true) == NULL);
    memset(r, 0, sizeof *r);
    r->begin = text;
    r->end = text + strlen(text);
    r->steps = 1000000;
    return pattern_find((struct pattern *)(void *)room, r, text, &end) != NULL;
}

static void tells_whether_the_end_was_looked_at(void)
{
    struct pattern_run r;

    CHECK(finds("abc def", "abc", &r) && !r.touched_end);
    CHECK(finds("abc", "%a+", &r) && r.touched_end);
    CHECK(finds("abc ", "%a+", &r) && !r.touched_end);
    CHECK(finds("abc", "c$", &r) && r.touched_end);
    CHECK(!finds("a(b", "%b()", &r) && r.touched_end);
    CHECK(finds("a(b) ", "%b()", &r) && !r.touched_end);
    CHECK(finds("abab ", "(ab)%1", &r) && !r.touched_end);
    CHECK(!finds("aba", "(ab)%1", &r) && r.touched_end);
}

static void gives_up_when_steps_run_out(void)
{
    char text[401] = "", pattern[32] = "";
    struct pattern_run r;

    memset(text, 'a', 400);
    for (int i = 0; i < 4; i++)
        strcat(pattern, ".-");
    strcat(pattern, "b$");
    CHECK(!finds(text, pattern, &r));
    CHECK_INT(PATTERN_OUT_OF_STEPS, r.stop);
}

static void ends_on_a_kill(void)
{
    static volatile int kill = 1;
    char text[400];
    unsigned char room[512] __attribute__((aligned(16)));
    struct pattern_run r = { .begin = text, .end = text + sizeof text, .steps = INT64_MAX, .kill = &kill };
    const char *end;

    memset(text, 'a', sizeof text);
    CHECK(pattern_compile((struct pattern *)(void *)room, ".-.-.-.-b$", 10, true) == NULL);
    CHECK(pattern_find((struct pattern *)(void *)room, &r, text, &end) == NULL);
    CHECK_INT(PATTERN_KILLED, r.stop);
}

int main(void)
{
    CHECK_INT(0, vm_open(&vm, NULL));
    L = vm_lua(vm);
    RUN(equals_the_stock_library);
    RUN(tells_whether_the_end_was_looked_at);
    RUN(gives_up_when_steps_run_out);
    RUN(ends_on_a_kill);
    vm_close(vm);
    return check_done();
}
