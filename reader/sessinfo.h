/* What a session is: the contents of SESSION records, and of the "start" line to flow processes. */
#ifndef READER_SESSINFO_H
#define READER_SESSINFO_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "lineage.h"
#include "masters_share.h"

#define TOKEN_LEN 40 /* of an EOF token */

struct sessinfo {
    char nonce[33]; /* of the process that has the session */
    char source[16];
    char version[48];                 /* of the source, where it counts: "redis:7.0.15"; "": not known */
    char run_id[41];                  /* the same: of that process */
    char address[280];                /* of the source, without user and password */
    char masters[MASTERS_SHARE_TEXT]; /* share of a cluster: --masters; "": there are none */
    char server[280]; /* the one that sentinels named, where address is theirs; "": address says it */
    struct lineage
        lineage;       /* of all flows; nothing known where each has its own, and for files, as the next */
    char session[129]; /* SYNCn: opaque */
    char dbs[1024];    /* databases that held keys at the start: "0,1"; "" none */
    bool dbs_known;
    uint64_t keys;     /* that the source held at the start; 0: not known. In no record */
    char control[108]; /* path of the control socket */
    uint16_t epoch;    /* counts how often it was begun, from 1 */
    unsigned flows;    /* 0: not known yet */
    unsigned protocol;
    bool resume;      /* a writer is asked for the positions it has saved */
    char refused[16]; /* why a session that should have been resumed was not; "" it was not to be */
    bool journal;     /* live changes follow the snapshot */
    uint64_t started;
};

/* Append "name=value" pairs, each followed by sep. */
void sessinfo_format(const struct sessinfo *s, struct buf *b, char sep);

/* Read them back from a control line. False when something needed is missing or malformed. */
bool sessinfo_parse(struct sessinfo *s, const char *line);

#endif
