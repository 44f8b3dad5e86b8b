/* Whether text that is still arriving can become a JSON document: fed in pieces, cut anywhere; no tree, no memory of its own.
 *
 * Says of a whole document what json_valid says of it (depth included), and says it of each byte as early as it is known: what was taken
 * is the beginning of some document, always.
 */
#ifndef SLUICE_WIRE_JSON_CHECK_H
#define SLUICE_WIRE_JSON_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#include "wire/json.h"

struct json_check {
    unsigned char state;                               /* what may come next */
    bool in_key;                                       /* the string that is being read is a key */
    unsigned char left;                                /* hex digits that an escape still wants */
    const char *word;                                  /* the rest of true, false or null */
    unsigned depth;
    unsigned char stack[JSON_MAX_DEPTH / 8];           /* a bit a level: object or array */
};

void json_check_open(struct json_check *c);
/* Takes bytes as long as they can become a document: returns how many. Less than len: the next one cannot, and nothing is taken any more. */
size_t json_check_feed(struct json_check *c, const char *bytes, size_t len);
bool json_check_complete(const struct json_check *c);  /* what was taken is a whole document */

#endif
