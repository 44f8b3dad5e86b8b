/* HTTP dates (RFC 9110 section 5.6.7) and log times. */
#ifndef SLUICE_WIRE_DATE_H
#define SLUICE_WIRE_DATE_H

#include <stdint.h>
#include <time.h>

#define DATE_HTTP_LEN 29
void date_http(char out[DATE_HTTP_LEN + 1], time_t t);              /* "Sun, 06 Nov 1994 08:49:37 GMT"; kept to 1970..9999 */
int date_http_parse(const char *s, time_t *ret);                    /* IMF-fixdate only; 0 or -1 */
/* Retry-After (RFC 9110 section 10.2.3): seconds or a date. Returns seconds from `now`, at least 0, or -1 when it is neither. */
int64_t date_retry_after(const char *s, time_t now);

#endif
