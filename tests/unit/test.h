/* A harness for unit tests: checks that print what differs, and what many tests need. One program per
 * concern; its last line is "N passed, M failed". */
#ifndef TEST_H
#define TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../common/buf.h"
#include "../../parser/emit.h"
#include "../../common/filter.h"

/* ---- checks; each counts, and prints file, line and both sides when it fails ---- */

#define CHECK(cond)           test_true((cond), #cond, __FILE__, __LINE__)
#define EQ(got, want)         test_u64((uint64_t)(got), (uint64_t)(want), #got, __FILE__, __LINE__)
#define EQ_I(got, want)       test_i64((int64_t)(got), (int64_t)(want), #got, __FILE__, __LINE__)
#define EQ_S(got, want)       test_str((got), (want), #got, __FILE__, __LINE__)
#define EQ_B(p, n, want, wn)  test_mem((p), (n), (want), (wn), #p, __FILE__, __LINE__)
#define EQ_HEX(p, n, hextext) test_hex((p), (n), (hextext), #p, __FILE__, __LINE__)

bool test_true(bool ok, const char *what, const char *file, int line);
bool test_u64(uint64_t got, uint64_t want, const char *what, const char *file, int line);
bool test_i64(int64_t got, int64_t want, const char *what, const char *file, int line);
bool test_str(const char *got, const char *want, const char *what, const char *file, int line);
bool test_mem(const void *got, size_t n, const void *want, size_t wn, const char *what, const char *file,
              int line);
bool test_hex(const void *got, size_t n, const char *hextext, const char *what, const char *file, int line);

/* Print "N passed, M failed"; the exit status of the program. */
int test_done(void);

static inline bool target_said(struct target *t, const char *line)
{
    return target_read(t, line, strlen(line));
}

/* ---- bytes ---- */

/* Bytes of a text of hex pairs; blanks and | are passed over; 'text' between single quotes stands for itself.
 * The buffer belongs to the caller. */
struct buf hex(const char *text);

/* Append the same to a buffer. */
void add_hex(struct buf *b, const char *text);

/* A copy on the heap of exactly n bytes, so that ASan sees a read behind them. */
uint8_t *exact(const void *p, size_t n);

/* Append a packed integer (shortest form), a string with its packed length, a little-endian number. */
void add_plen(struct buf *b, uint64_t v);
void add_pstr(struct buf *b, const void *p, size_t n);
void add_le(struct buf *b, uint64_t v, unsigned bytes);

/* Append a journal COMMAND: txid, then the words of a line separated by blanks. */
void add_command(struct buf *b, uint64_t txid, const char *line);

/* The same for arguments with any bytes. op: 9, 10 or 11. */
void add_entry(struct buf *b, unsigned op, uint64_t txid, const struct slice *argv, size_t argc);

/* Free what options made of it, and empty it. */
void filter_clear(struct filter *s);

/* ---- records ---- */

/* An emitter whose records are kept in memory (a memfd). */
struct capture {
    struct emit e;
    int fd;
};

void capture_init(struct capture *c);
void capture_free(struct capture *c);

/* All bytes written so far. Belongs to the caller. */
struct buf capture_bytes(struct capture *c);

/* The records written since the last call, a line each, as text:
 *
 *     seq pos db flags class | ARG ARG …
 *
 * REQUESTs as above (flags of PIFLVKC or -; class omitted when none; keyarg shown as "key=N" when it is not
 * 1), other records by name. Arguments are escaped as \xNN outside 0x21–0x7e. It is checked that RESP is
 * exactly canonical, that hash and slot are those of the key argument, and that chains hold together. The
 * text is valid until the next call. */
const char *capture_text(struct capture *c);

/* Append bytes to a text as capture_text shows them. */
void show_bytes(struct buf *b, const uint8_t *p, size_t n);

#endif
