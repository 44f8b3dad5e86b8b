#include "wire/ip.h"

#include "check.h"

static const char *printed(const char *s)
{
    static char out[46];
    struct ip ip;

    if (ip_parse(&ip, s) != 0)
        return "refused";
    ip_print(&ip, out);
    return out;
}

static void parses_and_prints(void)
{
    CHECK_STR("1.2.3.4", printed("1.2.3.4"));
    CHECK_STR("255.255.255.255", printed("255.255.255.255"));
    CHECK_STR("::1", printed("::1"));
    CHECK_STR("::1", printed("[::1]"));
    CHECK_STR("2001:db8::1", printed("2001:0DB8:0:0:0:0:0:1"));
    CHECK_STR("1.2.3.4", printed("::ffff:1.2.3.4"));   /* mapped: the same client */
    CHECK_STR("1.2.3.4", printed("::ffff:102:304"));
}

static void refuses(void)
{
    static const char *const bad[] = { "", " 1.2.3.4", "1.2.3.4 ", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4:80", "[1.2.3.4]", "[::1", "::1]", "[::1]:80", ":::", "1::2::3", "fe80::1%eth0",
                                       "12345::", "g::1", "localhost", "0x7f000001", "2130706433", "-1.2.3.4", "1..2.3" };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_STR("refused", printed(bad[i]));
}

static bool has(const char *net, const char *address)
{
    struct cidr c;
    struct ip ip;

    CHECK_INT(0, cidr_parse(&c, net));
    CHECK_INT(0, ip_parse(&ip, address));
    return cidr_has(&c, &ip);
}

static void cidr(void)
{
    struct cidr c;
    static const char *const bad[] = { "", "/", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "10.0.0.0/8x", "::/129", "10.0.0.0/ 8", "x/8", "10.0.0.0/08000" };

    CHECK(has("10.0.0.0/8", "10.255.0.1"));
    CHECK(!has("10.0.0.0/8", "11.0.0.0"));
    CHECK(has("10.1.2.3/8", "10.9.9.9"));              /* the host's bits do not matter */
    CHECK(has("0.0.0.0/0", "200.1.1.1"));
    CHECK(!has("0.0.0.0/0", "::1"));
    CHECK(!has("::/0", "1.2.3.4"));
    CHECK(has("::/0", "2001:db8::1"));
    CHECK(has("10.1.2.3", "10.1.2.3"));
    CHECK(!has("10.1.2.3", "10.1.2.2"));
    CHECK(has("2001:db8::/33", "2001:db8:7fff::1"));
    CHECK(!has("2001:db8::/33", "2001:db8:8000::1"));
    CHECK(has("10.0.0.0/8", "::ffff:10.1.1.1"));
    for (int bits = 0; bits <= 32; bits++) {           /* every length, at its border */
        char net[32];
        struct ip in = { .v4 = true }, out = { .v4 = true };
        uint32_t mask = bits ? ~0u << (32 - bits) : 0, base = 0xa5a5a5a5u & mask, last = base | ~mask, next = last + 1;

        snprintf(net, sizeof net, "165.165.165.165/%d", bits);
        CHECK_INT(0, cidr_parse(&c, net));
        for (int i = 0; i < 4; i++) {
            in.b[i] = (unsigned char)(last >> (24 - 8 * i));
            out.b[i] = (unsigned char)(next >> (24 - 8 * i));
        }
        CHECK(cidr_has(&c, &in));
        CHECK(bits == 0 || !cidr_has(&c, &out));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        CHECK_INT(-1, cidr_parse(&c, bad[i]));
}

static const char *key(const char *s)
{
    static char out[46];
    struct ip ip;

    CHECK_INT(0, ip_parse(&ip, s));
    ip_key(&ip, out);
    return out;
}

static void keys(void)
{
    char first[46];

    CHECK_STR("1.2.3.4", key("1.2.3.4"));
    CHECK_STR("1.2.3.4", key("::ffff:1.2.3.4"));
    strcpy(first, key("2001:db8:1:2:3:4:5:6"));
    CHECK_STR(first, key("2001:db8:1:2::9"));          /* one household, one allowance */
    CHECK(strcmp(first, key("2001:db8:1:3::9")) != 0);
}

static const char *client(const char *peer, const char *forwarded, const char *trusted)
{
    static char out[46];
    struct cidr nets[4];
    char list[100];
    size_t n = 0;
    struct ip p, ip;

    strcpy(list, trusted);
    for (char *t = strtok(list, " "); t; t = strtok(NULL, " "))
        CHECK_INT(0, cidr_parse(&nets[n++], t));
    CHECK_INT(0, ip_parse(&p, peer));
    ip_client(&ip, &p, forwarded, nets, n);
    ip_print(&ip, out);
    return out;
}

static void behind_proxies(void)
{
    CHECK_STR("127.0.0.1", client("127.0.0.1", "9.9.9.9", ""));
    CHECK_STR("8.8.8.8", client("8.8.8.8", "9.9.9.9", "127.0.0.1"));
    CHECK_STR("9.9.9.9", client("127.0.0.1", "9.9.9.9", "127.0.0.1"));
    CHECK_STR("9.9.9.9", client("127.0.0.1", "6.6.6.6, 9.9.9.9", "127.0.0.1"));
    CHECK_STR("9.9.9.9", client("127.0.0.1", "6.6.6.6,9.9.9.9 , 10.0.0.1", "127.0.0.1 10.0.0.0/8"));
    CHECK_STR("10.0.0.2", client("127.0.0.1", "10.0.0.2, 10.0.0.1", "127.0.0.1 10.0.0.0/8"));
    CHECK_STR("127.0.0.1", client("127.0.0.1", "", "127.0.0.1"));
    CHECK_STR("127.0.0.1", client("127.0.0.1", "unknown", "127.0.0.1"));
    CHECK_STR("10.0.0.1", client("127.0.0.1", "6.6.6.6, nonsense, 10.0.0.1", "127.0.0.1 10.0.0.0/8"));
    CHECK_STR("9.9.9.9", client("127.0.0.1", "9.9.9.9:4711", "127.0.0.1"));
    CHECK_STR("2001:db8::7", client("127.0.0.1", "[2001:db8::7]:80", "127.0.0.1"));
    CHECK_STR("2001:db8::7", client("::1", "2001:db8::7", "::1"));
    CHECK_STR("127.0.0.1", client("127.0.0.1", ",,, ,", "127.0.0.1"));
}

static void random_bytes_do_no_harm(void)
{
    static const char alphabet[] = "0123456789abcdef:.,[]/% ffff::";
    uint64_t state = 4711;

    for (int i = 0; i < 300000; i++) {
        char s[40], out[46];
        size_t n = check_random(&state) % sizeof s;
        struct ip ip, again;

        for (size_t k = 0; k < n; k++)
            s[k] = alphabet[check_random(&state) % (sizeof alphabet - 1)];
        s[n ? n - 1 : 0] = 0;
        if (ip_parse(&ip, s) == 0) {                   /* what is an address comes back as itself */
            ip_print(&ip, out);
            CHECK_INT(0, ip_parse(&again, out));
            CHECK(again.v4 == ip.v4 && memcmp(again.b, ip.b, ip.v4 ? 4 : 16) == 0);
        }
        client("127.0.0.1", s, "127.0.0.1 10.0.0.0/8");
    }
}

int main(void)
{
    RUN(parses_and_prints);
    RUN(refuses);
    RUN(cidr);
    RUN(keys);
    RUN(behind_proxies);
    RUN(random_bytes_do_no_harm);
    return check_done();
}
