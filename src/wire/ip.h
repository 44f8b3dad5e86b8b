/* Addresses: parse, match against CIDR lists, and the key that rate limits use. */
#ifndef SLUICE_WIRE_IP_H
#define SLUICE_WIRE_IP_H

#include <stdbool.h>
#include <stddef.h>

struct ip { unsigned char b[16]; bool v4; };           /* v4: the first four bytes count; IPv4-mapped IPv6 is read as v4 */
struct cidr { struct ip net; int bits; };

int ip_parse(struct ip *ret, const char *s);           /* "1.2.3.4", "::1", "[::1]"; 0 or -1. No ports, no zones */
void ip_print(const struct ip *ip, char out[46]);
int cidr_parse(struct cidr *ret, const char *s);       /* "10.0.0.0/8", "::1/128", "10.1.2.3" (one host); 0 or -1 */
bool cidr_has(const struct cidr *c, const struct ip *ip);
/* What a limit is keyed by: IPv4 whole, IPv6 by /64, as text. */
void ip_key(const struct ip *ip, char out[46]);
/* The client behind trusted proxies: the right-most address in X-Forwarded-For (all its lines joined by commas) that is not trusted,
 * if the peer is trusted; else the peer. An entry that is no address (ports are tolerated: "1.2.3.4:5", "[::1]:5") ends the walk: the last
 * good one counts. */
void ip_client(struct ip *ret, const struct ip *peer, const char *forwarded, const struct cidr *trusted, size_t n);

#endif
