/* Words and decimal numbers separated by single blanks, as they stand in position keys and files. *p moves
 * behind what was taken. A number is what %llu prints: no sign, no leading zero. */
#ifndef RW_WORDS_H
#define RW_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* False: there is none, or it does not fit into cap bytes. */
bool words_text(const char **p, char *out, size_t cap);

/* False: there is none, or it is above most. */
bool words_number(const char **p, uint64_t most, uint64_t *out);

/* The number behind one letter, alone, as in a field "f7". */
bool words_index(const char *text, char letter, uint64_t most, uint64_t *out);

#endif
