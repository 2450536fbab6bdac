/* Follows the commands of a replication stream, only to notice those that ask for an acknowledgement. A pure
 * function of the bytes; it keeps none of them but the first words of a command. What is malformed ends it:
 * to say so is for the parser. */
#ifndef READER_PSYNC_SCAN_H
#define READER_PSYNC_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SCAN_WORDS 2
#define SCAN_WORD  12

struct psync_scan {
    uint64_t offset; /* of the last byte that was taken */
    uint64_t begun;  /* up to where everything before the command that is under way reaches */
    uint64_t left;   /* of the argument: bytes with the line's end; 0: in a line */
    uint64_t args;   /* of the command, still to come */
    unsigned word;   /* the argument that is under way */
    uint8_t line;    /* of a header: bytes so far */
    char type;       /* of that header */
    uint64_t number; /* ... its digits so far */
    bool lost;       /* this is no RESP: nothing more is noticed */
    uint8_t len[SCAN_WORDS];
    char words[SCAN_WORDS][SCAN_WORD];

    uint64_t asked;   /* the last REPLCONF GETACK asks how far we are with what is before it: that offset */
    uint64_t setslot; /* the last CLUSTER SETSLOT ends here, 0: there was none */
    bool asks;        /* one of them came, and the caller has not yet cleared this */
};

/* The stream goes on behind offset, with a new command. */
void psync_scan_begin(struct psync_scan *s, uint64_t offset);
void psync_scan(struct psync_scan *s, const uint8_t *p, size_t n);

#endif
