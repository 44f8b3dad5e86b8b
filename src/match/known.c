/* Recognizers: a regular expression finds candidates, a check in C judges them (a card number's Luhn sum, an IBAN's remainder). A check may also shorten
 * what was found (a URL does not end with the sentence's full stop). It sees only what was matched, so cuts do not matter to it.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "match/matcher_inside.h"
#include "wire/ip.h"

struct known {
    struct matcher base;
    struct matcher *regex;
    size_t (*check)(const char *s, size_t len);        /* how much of it counts; 0: none */
};

static size_t digits_of(const char *s, size_t len, char *out, size_t room)
{
    size_t n = 0;

    for (size_t i = 0; i < len && n < room; i++)
        if (s[i] >= '0' && s[i] <= '9')
            out[n++] = s[i];
    return n;
}

/* ISO/IEC 7812-1 annex B */
static size_t luhn(const char *s, size_t len)
{
    char d[20];
    size_t n = digits_of(s, len, d, sizeof d);
    int sum = 0;

    for (size_t i = 0; i < n; i++) {
        int v = d[n - 1 - i] - '0';
        if (i % 2)
            v = v * 2 > 9 ? v * 2 - 9 : v * 2;
        sum += v;
    }
    return sum % 10 == 0 && sum > 0 ? len : 0;
}

/* ISO 13616: letters are 10 to 35, the first four go to the end, the remainder by 97 is 1. */
static bool is_iban(const char *s, size_t len)
{
    char c[40];
    size_t n = 0;
    unsigned rest = 0;

    for (size_t i = 0; i < len; i++)
        if (s[i] != ' ') {
            if (n == sizeof c)
                return false;
            c[n++] = s[i];
        }
    if (n < 15 || n > 34)
        return false;
    for (size_t i = 0; i < n; i++) {
        char k = c[(i + 4) % n];
        unsigned v = k <= '9' ? (unsigned)(k - '0') : (unsigned)(k - 'A' + 10);
        rest = (rest * (v > 9 ? 100 : 10) + v) % 97;
    }
    return rest == 1;
}

/* Capital words behind the number may have been taken for groups of it: the longest part that is an IBAN counts. */
static size_t iban(const char *s, size_t len)
{
    for (size_t n = len; n >= 15; n--)
        if ((n == len || s[n] == ' ') && s[n - 1] != ' ' && is_iban(s, n))
            return n;
    return 0;
}

/* E.164 has at most 15 digits; shorter ones than 7 are something else. A bare run of digits is a phone number only with a plus or a leading zero. */
static size_t phone(const char *s, size_t len)
{
    char d[32];
    size_t n = digits_of(s, len, d, sizeof d);
    bool parted = memchr(s, ' ', len) || memchr(s, '-', len) || memchr(s, '.', len) || memchr(s, ')', len);

    return n >= 7 && n <= 15 && (s[0] == '+' || s[0] == '0' || s[0] == '(' || parted) ? len : 0;
}

static size_t ipv6(const char *s, size_t len)
{
    char text[64];
    struct ip ip;

    if (len < 3 || len >= sizeof text)
        return 0;
    memcpy(text, s, len);
    text[len] = 0;
    return ip_parse(&ip, text) == 0 ? len : 0;
}

static size_t url(const char *s, size_t len)
{
    while (len > 0 && strchr(".,;:!?)]}'\"*_", s[len - 1]))
        len--;
    return len > 10 ? len : 0;
}

static const struct { const char *name, *regex; size_t (*check)(const char *, size_t); } all[] = {
    { "email", "(?<![\\w.+%-])[A-Za-z0-9][A-Za-z0-9._%+-]{0,63}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\\.){1,8}[A-Za-z]{2,24}(?![\\w-])", NULL },
    { "card", "(?<![\\d.-])\\d(?:[ -]?\\d){12,18}(?![\\d-])", luhn },
    { "phone", "(?<![\\w+.-])(?:\\+\\d{1,3}[ .-]?)?(?:\\(\\d{1,4}\\)[ .-]?)?\\d{2,4}(?:[ .-]?\\d{2,4}){1,4}(?![\\w-])", phone },
    { "iban", "(?<!\\w)[A-Z]{2}\\d{2}(?: ?[A-Z0-9]){11,30}(?!\\w)", iban },
    { "ipv4", "(?<![\\w.])(?:(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)\\.){3}(?:25[0-5]|2[0-4]\\d|1?\\d?\\d)(?!\\w|\\.\\d)", NULL },
    { "ipv6", "(?<![\\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}(?:(?:\\d{1,3}\\.){3}\\d{1,3}|[0-9A-Fa-f]{0,4})(?![\\w:])", ipv6 },
    { "url", "\\b(?:https?|ftp)://[^\\s<>\"`\\\\]{1,2000}", url },
    { "jwt", "(?<![\\w.-])eyJ[\\w-]{5,4000}\\.[\\w-]{5,8000}\\.[\\w-]{5,4000}", NULL },
    { "aws_key", "(?<!\\w)(?:AKIA|ASIA|AGPA|AIDA|AROA|ANPA)[A-Z0-9]{16}(?!\\w)", NULL },
    { "secret_key", "(?<![\\w-])(?:(?:sk|pk|rk)[-_][A-Za-z0-9_-]{16,200}|gh[pousr]_[A-Za-z0-9]{20,100}|xox[abprs]-[A-Za-z0-9-]{10,100}|AIza[A-Za-z0-9_-]{35})", NULL },
    { "private_key", "-----BEGIN [A-Z0-9 ]{0,30}PRIVATE KEY-----[A-Za-z0-9+/=\\s:,.-]{1,20000}?-----END [A-Z0-9 ]{0,30}PRIVATE KEY-----", NULL },
};

static enum match_got find_known(const struct matcher *m, const struct match_text *t, struct match *ret)
{
    const struct known *k = (const struct known *)m;
    struct match_text rest = *t;

    for (;;) {
        enum match_got got = matcher_find(k->regex, &rest, ret);

        ret->by = m;
        ret->n = 0;
        if (got != MATCH_HIT || !k->check)
            return got;
        size_t n = k->check(t->bytes + ret->from, ret->to - ret->from);
        if (n) {
            ret->to = ret->from + n;
            return MATCH_HIT;
        }
        rest.at = match_step(t, ret->from);            /* not that one: what begins behind its first character? */
    }
}

static void free_known(struct matcher *m)
{
    matcher_drop(((struct known *)m)->regex);
}

const char *matcher_known_name(size_t i)
{
    return i < sizeof all / sizeof *all ? all[i].name : NULL;
}

struct matcher *matcher_known(const char *name)
{
    static const struct matcher_class class = { "known", find_known, free_known };
    const char *wrong;

    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i].name, name) != 0)
            continue;
        struct known *k = mem_alloc(sizeof *k);
        matcher_init(&k->base, &class, name, name, strlen(name));
        k->regex = matcher_regex(all[i].regex, strlen(all[i].regex), name, &wrong);
        if (!k->regex) {
            fprintf(stderr, "sluice: the recognizer %s: %s\n", name, wrong);
            abort();
        }
        k->base.context = k->regex->context;
        k->check = all[i].check;
        return &k->base;
    }
    return NULL;
}
