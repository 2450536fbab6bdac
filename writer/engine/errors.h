/* What the target's errors mean, in one table; and counting things by kind with the first keys of each. */
#ifndef RW_ERRORS_H
#define RW_ERRORS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum err_class {
    ERR_DATA,     /* the request cannot be carried out, ever: count it, name its key, go on */
    ERR_RETRY,    /* wait and send it again, in order */
    ERR_FATAL,    /* nothing can be done with this target or these rights */
    ERR_REDIRECT, /* another node has the slot */
    ERR_CONFLICT, /* the key exists */
};

/* text: an error reply without its "-". EXECABORT is judged by the reason it names, if it names one,
 * and so is a script of servers before 7.0. */
enum err_class error_class(const char *text, size_t n);

/* EXECABORT: aborted because of commands that were refused when they were queued. */
int error_is_execabort(const char *text, size_t n);

/* The answer to a request that had been carried out before (request_shows_repeat). */
bool error_of_repeat(const char *text, size_t n);

#define KINDS_MAX     48
#define KIND_NAME     72
#define KIND_KEYS     3
#define KIND_KEY_SHOW 48

struct kind {
    char name[KIND_NAME];
    uint64_t count;
    unsigned nkeys;
    char key[KIND_KEYS][4 * KIND_KEY_SHOW + 8]; /* percent-escaped */
};

struct kinds {
    struct kind kind[KINDS_MAX]; /* the last one takes what exceeds the table */
    unsigned n;
    uint64_t total;
};

/* Count one of that name; key (may be NULL) is kept for the first three. Returns the kind; count 1: the
 * first. */
const struct kind *kinds_count(struct kinds *k, const char *name, size_t namelen, const void *key,
                               size_t keylen);

/* Said of a request that got a reply which it cannot get. */
#define ODD_REPLY "ERR the target answered what this request cannot get"

/* Count a reply of class ERR_RETRY or ERR_REDIRECT by its kind. */
void error_count(struct kinds *k, const char *text, size_t n);

/* The part of an error that names its kind: the code, and for ERR the beginning of the text. */
size_t error_kind_len(const char *text, size_t n);

#endif
