/* Units of text: words, lines, sentences, paragraphs, runs of characters. Where one ends depends on the text before its end only, never on how the text
 * was cut. A unit holds the white space that ends it, so that all units together are the text.
 */
#ifndef SLUICE_MATCH_UNIT_H
#define SLUICE_MATCH_UNIT_H

#include <stddef.h>

struct unit {
    enum { UNIT_DELTA, UNIT_WORD, UNIT_LINE, UNIT_SENTENCE, UNIT_PARAGRAPH, UNIT_ALL, UNIT_CHARS } kind;
    size_t chars, overlap;                             /* UNIT_CHARS: code points; overlap: shown again with the next one */
};

/* The bytes of the first unit of the text (valid UTF-8), 0: it is not complete yet. DELTA: all there is. ALL: never complete. */
size_t unit_end(const struct unit *u, const char *text, size_t len);
/* Where the last n code points of text[0..at) begin. */
size_t unit_back(const char *text, size_t at, size_t n);

#endif
