/* What floors tell each other about HTTP messages: plain data, no parser. */
#ifndef SLUICE_WIRE_HTTP_H
#define SLUICE_WIRE_HTTP_H

#include <stdbool.h>
#include <stddef.h>

struct header {
    const char *name;                                  /* as received; compare with header_is or strcasecmp */
    const char *value;                                 /* NUL-terminated, no NUL inside (the head guard refused it), trimmed */
};

/* A request whose head passed every guard. Its strings live as long as the struct says: see net/server.h. */
struct http_request {
    const char *method;                                /* "GET" */
    const char *path;                                  /* origin-form path as sent, not decoded, without '?...' */
    const char *query;                                 /* behind '?', as sent; "" when there is none */
    const struct header *headers;
    size_t n_headers;
    int minor;                                         /* HTTP/1.minor */
    bool has_body;                                     /* Content-Length > 0 or chunked */
    char ip[46];                                       /* the peer's address as text; IPv4-mapped as IPv4 */
};

const char *http_header(const struct http_request *r, const char *name);   /* first value or NULL; name is case-insensitive */
const char *http_status_text(int status);                                 /* RFC 9110 reason phrase; "Unknown" otherwise */

#endif
