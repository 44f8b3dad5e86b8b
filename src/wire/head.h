/* The head guard: what llhttp lets pass in a request head and we refuse (400). Looks at raw bytes, before llhttp does.
 *
 * Fed the same bytes as the parser, up to the end of the head; says where the head ends. State survives any split.
 * Refused here: bare CR or LF, NUL and other controls, obs-fold, an empty or non-token field name or white space before its colon, leading
 * white space in the first line, a version not shaped HTTP/d.d, more than `max` bytes (HEAD_TOO_LARGE), more than 100 fields
 * (HEAD_TOO_LARGE), a target over 16 KiB (HEAD_TARGET_TOO_LONG). Empty lines (CRLF) before the request line are allowed: at most two
 * (RFC 9112 2.2).
 * head_check_fields judges the parsed head: Host, Content-Length, Transfer-Encoding, version (RFC 9112 sections 3.2, 6.1-6.3).
 */
#ifndef SLUICE_WIRE_HEAD_H
#define SLUICE_WIRE_HEAD_H

#include <stddef.h>

#include "wire/http.h"

enum head_verdict { HEAD_MORE, HEAD_DONE, HEAD_BAD, HEAD_TOO_LARGE, HEAD_TARGET_TOO_LONG };

struct head_guard {
    size_t max;                                        /* bytes; 64 KiB by default */
    size_t seen;                                       /* bytes of the head so far */
    unsigned fields;
    size_t target;                                     /* bytes of the request target so far */
    unsigned char state;
    unsigned char blank;                               /* empty lines before the request line */
    unsigned char version;                             /* bytes of "HTTP/1.1" so far */
    const char *why;                                   /* after a refusal: a constant sentence */
};

void head_init(struct head_guard *g, size_t max);      /* max 0: 64 KiB */
/* *used: how many of the bytes belong to the head (all of them for HEAD_MORE). After any other verdict: init before the next. */
enum head_verdict head_feed(struct head_guard *g, const char *bytes, size_t len, size_t *used);
/* Sentence or NULL when the fields are fine. Also: duplicate Host/Content-Length/Transfer-Encoding, no Host on 1.1, TE with CL, TE on 1.0,
 * TE other than "chunked", Content-Length that is not 1*DIGIT, an Upgrade field is fine (ignored). */
const char *head_check_fields(const struct header *h, size_t n, int major, int minor);

#endif
