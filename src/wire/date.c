#include "wire/date.h"

#include <stdio.h>
#include <string.h>

#define LATEST ((time_t)253402300799)                  /* Fri, 31 Dec 9999 23:59:59 GMT */

static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

void date_http(char out[DATE_HTTP_LEN + 1], time_t t)
{
    struct tm tm;
    char text[64];

    if (t < 0 || t > LATEST)                           /* a file may claim any time; the format has four digits for a year */
        t = t < 0 ? 0 : LATEST;
    gmtime_r(&t, &tm);
    snprintf(text, sizeof text, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
             tm.tm_hour, tm.tm_min, tm.tm_sec);
    memcpy(out, text, DATE_HTTP_LEN);
    out[DATE_HTTP_LEN] = 0;
}

int date_http_parse(const char *s, time_t *ret)
{
    struct tm tm = { 0 };
    char day[4], month[4], back[DATE_HTTP_LEN + 1];
    int used = 0;

    int got = sscanf(s, "%3[A-Za-z], %2d %3[A-Za-z] %4d %2d:%2d:%2d GMT%n", day, &tm.tm_mday, month, &tm.tm_year, &tm.tm_hour, &tm.tm_min,
                     &tm.tm_sec, &used);
    if (got != 7 || used != DATE_HTTP_LEN || s[used])
        return -1;
    for (tm.tm_mon = 0; tm.tm_mon < 12 && strcmp(months[tm.tm_mon], month) != 0;)
        tm.tm_mon++;
    if (tm.tm_mon == 12)
        return -1;
    tm.tm_year -= 1900;
    time_t t = timegm(&tm);
    date_http(back, t);                                /* "31 Feb" and a wrong day of the week do not come back the same */
    if (strcmp(back, s) != 0)
        return -1;
    *ret = t;
    return 0;
}

int64_t date_retry_after(const char *s, time_t now)
{
    size_t n = strspn(s, "0123456789");
    int64_t seconds = 0;
    time_t at;

    if (n > 0 && s[n] == 0) {
        if (n > 9)
            return 999999999;
        for (size_t i = 0; i < n; i++)
            seconds = seconds * 10 + (s[i] - '0');
        return seconds;
    }
    if (date_http_parse(s, &at) != 0)
        return -1;
    return at > now ? at - now : 0;
}
