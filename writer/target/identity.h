/* Which run of which server this is: whether what it confirmed before may be gone. */
#ifndef RW_IDENTITY_H
#define RW_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define IDENTITY_TEXT 256

/* What INFO says; "" and 0: it does not. */
struct identity {
    char run_id[64];
    char replid[64], replid2[64]; /* a promoted replica's second one is that of the master before */
    char pid[16];
    int64_t started; /* seconds since 1970 */
};

/* Take what an INFO reply (any sections) has of it. */
void identity_learn(struct identity *id, const char *info);

/* The same run of the same server? An unknown one is another one. */
bool identity_same(const struct identity *a, const struct identity *b);

/* Has b, another server, the data of a: is it a, or did it take over as a's replica? */
bool identity_follows(const struct identity *a, const struct identity *b);

/* As one line of words, and back. False: it is none. */
void identity_print(const struct identity *id, char out[IDENTITY_TEXT]);
bool identity_parse(struct identity *id, const char *text);

#endif
