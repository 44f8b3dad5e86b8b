/* JSON (RFC 8259), exact: what cJSON is not. A pull tokenizer, a reader for declared places, and string output.
 *
 * Strict: no trailing bytes, no bare control characters, depth at most JSON_MAX_DEPTH, whole-document check. Raw bytes above 0x7f pass:
 * utf8_mend or utf8_valid judges them. Strings may hold \u0000 and lone surrogates (some upstreams cut UTF-16 in half): json_unescape
 * gives those as their 3-byte (WTF-8) form, and utf8_mend makes them right.
 */
#ifndef SLUICE_WIRE_JSON_H
#define SLUICE_WIRE_JSON_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

#define JSON_MAX_DEPTH 128

enum json_kind {
    JSON_ERROR, JSON_END, JSON_OBJECT, JSON_OBJECT_END, JSON_ARRAY, JSON_ARRAY_END,
    JSON_KEY, JSON_STRING, JSON_NUMBER, JSON_TRUE, JSON_FALSE, JSON_NULL
};

struct json_token {
    enum json_kind kind;
    const char *bytes;                                 /* KEY, STRING: what stands between the quotes, still escaped; NUMBER: its text */
    size_t len;
    bool escaped;                                      /* KEY, STRING: holds a backslash */
};

struct json_reader {
    const char *begin, *pos, *end;
    unsigned depth;
    unsigned char state;                               /* what may come next */
    unsigned char stack[JSON_MAX_DEPTH / 8 + 1];       /* a bit a level: object or array */
    const char *error;                                 /* after JSON_ERROR: what was wrong, a constant sentence */
};

void json_open(struct json_reader *r, const char *bytes, size_t len);
enum json_kind json_next(struct json_reader *r, struct json_token *ret);
/* Just after KEY (then the value is skipped) or at a value's first token already read as OBJECT/ARRAY (then its rest). 0 or -1. */
int json_skip(struct json_reader *r, const struct json_token *at);
bool json_valid(const char *bytes, size_t len);
bool json_key_is(const struct json_token *t, const char *name);    /* unescapes if needed */

/* Appends the string's bytes (see above about surrogates). The token came from json_next, so this cannot fail. */
void json_unescape(struct buf *out, const char *bytes, size_t len);
/* Appends the text as a JSON string with its quotes. Input must be valid UTF-8. Escapes the quote, the backslash, controls, DEL, U+2028 and
 * U+2029. */
void json_put_string(struct buf *out, const char *utf8, size_t len);

/* Declared places, read in one pass without a tree: "choices[0].delta.content". Compile once, look up per event. */
struct json_places;                                    /* immutable after compile; may be shared */
struct json_place_found {
    struct json_token token;                           /* kind JSON_ERROR (0): not there. OBJECT/ARRAY: bytes/len span the whole value */
};
/* An empty path is never found. NULL: *bad names the path that is wrong. */
struct json_places *json_places_compile(const char *const *paths, size_t n, const char **bad);
void json_places_free(struct json_places *p);
/* Checks the WHOLE document and fills found[n], one per path. 0, or -1: not JSON, and found[] means nothing. A duplicate key: the last one
 * counts. Allocates nothing. */
int json_places_find(const struct json_places *p, const char *bytes, size_t len, struct json_place_found *found);

#endif
