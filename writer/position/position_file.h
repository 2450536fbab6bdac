/* The file of --position-file as text: lines of name=value (meta.h) below a head, and a checksum. Nothing
 * here opens it or knows the writer; what is printed here is read here. */
#ifndef RW_POSITION_FILE_H
#define RW_POSITION_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../target/identity.h"
#include "position_text.h"

struct buf;

#define POSITION_FILE_MAX ((size_t)1 << 20)
#define POSITION_MASTERS  1024u

struct position_file {
    const char *task;      /* printed only */
    char nonce[33];        /* of the session; "": not known */
    unsigned epoch;        /* of it */
    bool over;             /* everything that it had sent was applied */
    struct saved_vector v; /* state: not SAVED_NONE */
};

/* Append everything but the marks and the checksum. */
void position_file_print(const struct position_file *f, struct buf *b);

/* Append the checksum over what is in b. */
void position_file_seal(struct buf *b);

/* *body: the length of the text without its last line. Returns what is wrong with the file, or NULL. */
const char *position_file_check(const char *text, size_t n, size_t *body);

/* Read a body. Returns what is wrong with it, or NULL. */
const char *position_file_parse(struct position_file *f, const char *task, const char *text, size_t n);

/* ---- the marks' part (marks.h) ---- */

/* A master when the file was written. */
struct mark_master {
    char name[272]; /* host:port */
    struct identity who;
};

struct position_marks {
    char history[HISTORY_MAX];
    uint64_t number;
    bool covered;
    uint16_t slot[POSITION_MASTERS]; /* that have a mark, once each */
    unsigned slots;
    struct mark_master *master; /* belongs to the caller */
    unsigned masters;
};

void position_marks_print(const struct position_marks *m, struct buf *b);
void position_master_print(unsigned number, const char *name, const struct identity *who, struct buf *b);

/* False: they are not there (a file of an earlier version), or not as they should be; m->master is NULL then.
 */
bool position_marks_parse(struct position_marks *m, const char *text, size_t body);

#endif
