#include "match/unit.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "wire/utf8.h"

/* The code point at text[at]; *next: behind it. */
static uint32_t read_at(const char *text, size_t at, size_t len, size_t *next)
{
    uint32_t c;
    int n = utf8_next(text + at, text + len, &c);

    *next = at + (n > 0 ? (size_t)n : 1);
    return n > 0 ? c : 0xFFFD;
}

static size_t word_end(const char *text, size_t len)
{
    bool begun = false;

    for (size_t at = 0, next; at < len; at = next) {
        bool space = utf8_is_space(read_at(text, at, len, &next));
        if (space && begun)
            return next;
        begun |= !space;
    }
    return 0;
}

static size_t paragraph_end(const char *text, size_t len)
{
    size_t line = 0;                                   /* where this line begins */
    bool begun = false, blank = true;

    for (size_t at = 0, next; at < len; at = next) {
        uint32_t c = read_at(text, at, len, &next);
        if (c == '\n') {
            if (begun && blank && line > 0)
                return next;
            line = next;
            blank = true;
        } else if (!utf8_is_space(c)) {
            blank = false;
            begun = true;
        }
    }
    return 0;
}

static bool ends_sentence(uint32_t c) { return c == '.' || c == '!' || c == '?' || c == 0x2026; }
static bool ends_sentence_alone(uint32_t c) { return c == 0x3002 || c == 0xFF01 || c == 0xFF1F; }       /* CJK: no space follows */
static bool closes(uint32_t c) { return c == '"' || c == '\'' || c == ')' || c == ']' || c == 0xBB || c == 0x201D || c == 0x2019 || c == '*' || c == '_'; }

static size_t sentence_end(const char *text, size_t len)
{
    bool begun = false, ended = false;

    for (size_t at = 0, next; at < len; at = next) {
        uint32_t c = read_at(text, at, len, &next);
        if (ends_sentence_alone(c))
            return next;
        if (utf8_is_space(c)) {
            if (begun && (ended || c == '\n'))
                return next;
            continue;
        }
        begun = true;
        ended = ends_sentence(c) || (ended && closes(c));
    }
    return 0;
}

static size_t chars_end(const char *text, size_t len, size_t chars)
{
    size_t at = 0;

    while (chars > 0 && at < len) {
        read_at(text, at, len, &at);
        chars--;
    }
    return chars ? 0 : at;
}

size_t unit_end(const struct unit *u, const char *text, size_t len)
{
    const char *lf;

    switch (u->kind) {
    case UNIT_DELTA:
        return len;
    case UNIT_WORD:
        return word_end(text, len);
    case UNIT_LINE:
        lf = len ? memchr(text, '\n', len) : NULL;
        return lf ? (size_t)(lf - text) + 1 : 0;
    case UNIT_SENTENCE:
        return sentence_end(text, len);
    case UNIT_PARAGRAPH:
        return paragraph_end(text, len);
    case UNIT_CHARS:
        return chars_end(text, len, u->chars);
    case UNIT_ALL:
        break;
    }
    return 0;
}

size_t unit_back(const char *text, size_t at, size_t n)
{
    while (n-- > 0 && at > 0)
        do
            at--;
        while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80);
    return at;
}
