#include "wire/ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* *mapped: it was an IPv4 address in IPv6 clothes. */
static int parse_span(struct ip *ret, const char *s, size_t len, bool *mapped)
{
    static const unsigned char prefix[12] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff };
    bool bracketed = len >= 2 && s[0] == '[' && s[len - 1] == ']';
    char text[64];
    struct ip ip = { .v4 = false };

    if (bracketed) {
        s++;
        len -= 2;
    }
    if (len == 0 || len >= sizeof text || memchr(s, 0, len))
        return -1;
    memcpy(text, s, len);
    text[len] = 0;
    *mapped = false;
    if (!bracketed && inet_pton(AF_INET, text, ip.b) == 1) {
        ip.v4 = true;
    } else if (inet_pton(AF_INET6, text, ip.b) != 1) {
        return -1;
    } else if (memcmp(ip.b, prefix, 12) == 0) {
        memmove(ip.b, ip.b + 12, 4);
        memset(ip.b + 4, 0, 12);
        ip.v4 = *mapped = true;
    }
    *ret = ip;
    return 0;
}

int ip_parse(struct ip *ret, const char *s)
{
    bool mapped;

    return parse_span(ret, s, strlen(s), &mapped);
}

void ip_print(const struct ip *ip, char out[46])
{
    inet_ntop(ip->v4 ? AF_INET : AF_INET6, ip->b, out, 46);
}

/* 1*3DIGIT, at most `most`; -1: it is not. */
static int parse_bits(const char *s, int most)
{
    int bits = 0;
    size_t n = strspn(s, "0123456789");

    if (n == 0 || n > 3 || s[n])
        return -1;
    for (size_t i = 0; i < n; i++)
        bits = bits * 10 + (s[i] - '0');
    return bits <= most ? bits : -1;
}

int cidr_parse(struct cidr *ret, const char *s)
{
    const char *slash = strchr(s, '/');
    struct cidr c;
    bool mapped;

    if (parse_span(&c.net, s, slash ? (size_t)(slash - s) : strlen(s), &mapped) != 0)
        return -1;
    c.bits = c.net.v4 ? 32 : 128;
    if (slash) {
        c.bits = parse_bits(slash + 1, mapped ? 128 : c.bits);
        if (mapped)
            c.bits -= 96;                              /* counted in IPv6; the mapping's own bits are gone */
    }
    if (c.bits < 0)
        return -1;
    *ret = c;
    return 0;
}

bool cidr_has(const struct cidr *c, const struct ip *ip)
{
    int whole = c->bits / 8, rest = c->bits % 8;

    if (c->net.v4 != ip->v4 || memcmp(c->net.b, ip->b, (size_t)whole) != 0)
        return false;
    return rest == 0 || (c->net.b[whole] ^ ip->b[whole]) >> (8 - rest) == 0;
}

void ip_key(const struct ip *ip, char out[46])
{
    struct ip net = *ip;

    if (!net.v4)
        memset(net.b + 8, 0, 8);
    ip_print(&net, out);
    if (!net.v4)
        strcat(out, "/64");
}

static bool is_trusted(const struct ip *ip, const struct cidr *trusted, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (cidr_has(&trusted[i], ip))
            return true;
    return false;
}

/* "" or ":80": what may stand behind an address. */
static bool is_port(const char *s, size_t len)
{
    if (len == 0)
        return true;
    if (*s != ':' || len < 2 || len > 6)
        return false;
    for (size_t i = 1; i < len; i++)
        if (s[i] < '0' || s[i] > '9')
            return false;
    return true;
}

/* One entry of X-Forwarded-For: an address, perhaps with a port. */
static int parse_entry(struct ip *ret, const char *s, size_t len)
{
    const char *colon = memchr(s, ':', len), *bracket = memchr(s, ']', len);
    size_t part = len;
    bool mapped;

    if (bracket)
        part = (size_t)(bracket - s) + 1;
    else if (colon && !memchr(colon + 1, ':', len - (size_t)(colon - s) - 1))
        part = (size_t)(colon - s);                    /* one colon: IPv4 and a port; more: IPv6 */
    return is_port(s + part, len - part) ? parse_span(ret, s, part, &mapped) : -1;
}

void ip_client(struct ip *ret, const struct ip *peer, const char *forwarded, const struct cidr *trusted, size_t n)
{
    const char *end = forwarded + strlen(forwarded);
    struct ip at = *peer;

    while (end > forwarded && is_trusted(&at, trusted, n)) {
        const char *from = end;
        while (from > forwarded && from[-1] != ',')
            from--;
        const char *first = from, *last = end;
        while (first < last && (*first == ' ' || *first == '\t'))
            first++;
        while (last > first && (last[-1] == ' ' || last[-1] == '\t'))
            last--;
        if (parse_entry(&at, first, (size_t)(last - first)) != 0)
            break;                                     /* forged or broken: the last good one counts */
        end = from > forwarded ? from - 1 : forwarded;
    }
    *ret = at;
}
