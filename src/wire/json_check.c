/* One state, one byte, the next state. A number has no end of its own: the byte behind it ends it and is looked at once more. */
#include "wire/json_check.h"

#include <string.h>

enum state {
    VALUE, FIRST_ITEM, FIRST_KEY, KEY, COLON, COMMA, END,
    STRING, ESCAPE, HEX, WORD,
    MINUS, ZERO, WHOLE, POINT, FRACTION, EXPONENT, EXPONENT_SIGN, EXPONENT_DIGITS,
    WRONG
};

void json_check_open(struct json_check *c)
{
    memset(c, 0, sizeof *c);
    c->state = VALUE;
}

static bool is_space(char b) { return b == ' ' || b == '\n' || b == '\t' || b == '\r'; }
static bool is_digit(char b) { return b >= '0' && b <= '9'; }
static bool is_hex(char b) { return is_digit(b) || (b >= 'a' && b <= 'f') || (b >= 'A' && b <= 'F'); }

static enum state value_done(const struct json_check *c) { return c->depth ? COMMA : END; }

static bool in_object(const struct json_check *c)
{
    unsigned top = c->depth - 1;
    return c->stack[top / 8] >> top % 8 & 1;
}

static enum state push(struct json_check *c, bool object)
{
    unsigned char bit = (unsigned char)(1u << c->depth % 8);

    if (c->depth == JSON_MAX_DEPTH)
        return WRONG;
    if (object)
        c->stack[c->depth / 8] |= bit;
    else
        c->stack[c->depth / 8] &= (unsigned char)~bit;
    c->depth++;
    return object ? FIRST_KEY : FIRST_ITEM;
}

static enum state pop(struct json_check *c)
{
    c->depth--;
    return value_done(c);
}

static enum state string(struct json_check *c, bool key)
{
    c->in_key = key;
    return STRING;
}

static enum state word(struct json_check *c, const char *rest)
{
    c->word = rest;
    return WORD;
}

static enum state value(struct json_check *c, char b)
{
    switch (b) {
    case '{':
        return push(c, true);
    case '[':
        return push(c, false);
    case '"':
        return string(c, false);
    case 't':
        return word(c, "rue");
    case 'f':
        return word(c, "alse");
    case 'n':
        return word(c, "ull");
    case '-':
        return MINUS;
    case '0':
        return ZERO;
    default:
        return is_digit(b) ? WHOLE : WRONG;
    }
}

static enum state comma(struct json_check *c, char b)
{
    if (b == (in_object(c) ? '}' : ']'))
        return pop(c);
    if (b != ',')
        return WRONG;
    return in_object(c) ? KEY : VALUE;
}

/* Between tokens. */
static enum state token(struct json_check *c, char b)
{
    if (is_space(b))
        return c->state;
    switch ((enum state)c->state) {
    case FIRST_ITEM:
        return b == ']' ? pop(c) : value(c, b);
    case FIRST_KEY:
        return b == '}' ? pop(c) : b == '"' ? string(c, true) : WRONG;
    case KEY:
        return b == '"' ? string(c, true) : WRONG;
    case COLON:
        return b == ':' ? VALUE : WRONG;
    case COMMA:
        return comma(c, b);
    case VALUE:
        return value(c, b);
    default:
        return WRONG;
    }
}

/* Within a string or a word. */
static enum state inside(struct json_check *c, char b)
{
    switch ((enum state)c->state) {
    case ESCAPE:
        c->left = 4;
        return b == 'u' ? HEX : b && strchr("\"\\/bfnrt", b) ? STRING : WRONG;
    case HEX:
        return !is_hex(b) ? WRONG : --c->left ? HEX : STRING;
    case WORD:
        return b != *c->word ? WRONG : *++c->word ? WORD : value_done(c);
    default:
        if (b == '"')
            return c->in_key ? COLON : value_done(c);
        return b == '\\' ? ESCAPE : (unsigned char)b < 0x20 ? WRONG : STRING;
    }
}

static bool may_end(enum state s) { return s == ZERO || s == WHOLE || s == FRACTION || s == EXPONENT_DIGITS; }

/* Within a number. */
static enum state number(const struct json_check *c, char b)
{
    enum state s = c->state;

    if (s == MINUS)
        return b == '0' ? ZERO : is_digit(b) ? WHOLE : WRONG;
    if (is_digit(b))
        return s == ZERO ? WRONG : s == POINT ? FRACTION : s == EXPONENT || s == EXPONENT_SIGN ? EXPONENT_DIGITS : s;
    if (b == '.' && (s == ZERO || s == WHOLE))
        return POINT;
    if ((b == 'e' || b == 'E') && (s == ZERO || s == WHOLE || s == FRACTION))
        return EXPONENT;
    if ((b == '+' || b == '-') && s == EXPONENT)
        return EXPONENT_SIGN;
    return WRONG;
}

static bool in_number(enum state s) { return s >= MINUS && s <= EXPONENT_DIGITS; }

static enum state next(struct json_check *c, char b)
{
    if (in_number(c->state)) {
        bool more = is_digit(b) || b == '.' || b == 'e' || b == 'E' || b == '+' || b == '-';

        if (more || !may_end(c->state))
            return number(c, b);
        c->state = value_done(c);
    }
    return c->state >= STRING && c->state <= WORD ? inside(c, b) : token(c, b);
}

size_t json_check_feed(struct json_check *c, const char *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (c->state != WRONG)
            c->state = (unsigned char)next(c, bytes[i]);
        if (c->state == WRONG)
            return i;
    }
    return len;
}

bool json_check_complete(const struct json_check *c)
{
    return c->state == END || (c->depth == 0 && may_end(c->state));
}
