/* A source: where a session reads from. One kind per protocol: source_dragonfly.c (DFLY), source_psync.c
 * (PSYNC), source_scan.c (SCAN), source_file.c (RDB, DFS and append-only files). The session, its control
 * socket, the stream and its end are the same for all of them and know a source only by these functions.
 *
 * There are two users. The *session* (session.h) knows the source as a whole: it opens it, is told its flows,
 * and says how far parsers and writers are. The *stream* (stream.h) belongs to a process that writes raw
 * records: it opens flows and reads them. Both are the same process, unless each flow has a process of its
 * own (--flow): that one has a stream and no session, and of the functions only those under "Flows" and
 * "Keys" are called.
 *
 * Order of calls:
 *
 *   create, then for each epoch:
 *     open            the source connects, learns its flows, and calls session_opened;
 *                     one that has nothing to ask for a flow (source_file.c) makes its flows itself
 *     flow_open       for each flow; the source calls flow_up or flow_lost, maybe before it returns
 *     flows_up        all flows are up: the source asks for the full sync, session_enter(PHASE_FULL)
 *     cut             for each flow: a parser saw the end of its snapshot; the source asks for the changes
 *     synced          for each flow: a parser saw that the changes have begun; behind the last one
 *                     session_enter(PHASE_STABLE)
 *     close           the epoch is over, or all is: drop the connections
 *   free
 *
 * Errors: a source that cannot go on calls session_fail; of one flow, flow_lost. It never ends the process,
 * and none of the functions blocks but open (by --connect-timeout). After session_fail the caller returns at
 * once: close was called.
 *
 * Ownership: a source owns its connections and what flow->conn points to (made in flow_open, freed in
 * flow_close). The stream owns flows and the output; texts handed over live until the function returns,
 * unless it says otherwise.
 */
#ifndef READER_SOURCE_H
#define READER_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf;
struct flow;
struct lineage;
struct peer;
struct session;
struct source;
struct stream;

struct source_kind {
    const char *name; /* in SESSION records */
    bool live;        /* changes follow: a parser is needed, and the loss of a writer ends the session */

    /* It may take long until a flow is up, and the flow itself loses it when it takes too long. */
    bool slow_answers;

    /* s: NULL in the process of one flow. Never fails. */
    struct source *(*create)(struct stream *st, struct session *s);
    void (*free)(struct source *src);

    /* ---- Flows, in the process that has their stream ---- */

    /* Open f, from f->from on. Calls flow_up or flow_lost (stream.h), now or from the event loop. */
    void (*flow_open)(struct flow *f);

    /* May there be something to read? Asked of flows that are up. */
    bool (*flow_readable)(const struct flow *f);

    /* Read once. Returns the number of bytes, or 0: there is nothing now, the flow has come to its end, or it
     * was lost (flow_lost was called then). */
    long (*flow_read)(struct flow *f, uint8_t *to, size_t cap);

    /* Whose positions those of f are, which is up. Either the session's (stream->info.lineage, also where the
     * function is NULL): there is one for all flows, and a FLUSHALL concerns all of them. Or one of its own:
     * the FLOW record says so, and each FLUSHALL concerns its flow alone. */
    const struct lineage *(*flow_lineage)(const struct flow *f);

    /* Tell the source that everything before pos is applied. Returns 1; 0: the last one has not left yet; -1:
     * the flow was lost. NULL, as the next: the source needs to know nothing. */
    int (*flow_acknowledge)(struct flow *f, uint64_t pos);

    /* Nothing more will be sent; what the source has sent may still be read. */
    void (*flow_finish)(struct flow *f);

    /* Drop the connection of a flow in any state. */
    void (*flow_close)(struct flow *f);

    /* With flows in other processes: a line of the session's own about the flow, which the process does not
     * know ("master", "server", "slots"; dfrecord(5)). May be NULL. */
    void (*told)(struct source *src, const char *line);

    /* ---- Keys, in the same process. NULL, all three: keys cannot be read again ---- */

    /* A parser wants to see a key again ("reread", dfrecord(5)): it becomes a KEY record. */
    void (*reread)(struct source *src, unsigned flow, const char *line);
    unsigned (*rereads)(const struct source *src); /* requests without their record */
    void (*drop_rereads)(struct source *src);      /* a new epoch, or the end */

    /* What is to be done in each turn of the event loop besides reading flows, as far as the output takes it;
     * not once END is written. True: there is more to do at once. */
    bool (*work)(struct source *src);

    /* ---- The session; in its process only ---- */

    void (*open)(struct source *src);
    void (*flows_up)(struct source *src);
    void (*close)(struct source *src);

    /* The rest may be NULL. */

    /* Flows are about to be opened: from saved positions if session->resume.going_on, each by its own
     * lineage. */
    void (*opening)(struct source *src);

    /* A flow that goes on has bytes before its FLOW record was written: now is the time (flows_announce). */
    void (*first_bytes)(struct source *src);

    /* A process has written the FLOW record of its flow. */
    void (*announced)(struct source *src);

    void (*cut)(struct source *src);
    void (*synced)(struct source *src);

    /* What the process of a flow has to be told before it opens it: a line. */
    void (*flow_line)(const struct source *src, unsigned flow, struct buf *b);

    /* A line of a writer, or of a parser or flow process about a flow, that the session does not know. */
    void (*message)(struct source *src, struct peer *p, const char *line);
    void (*parser_message)(struct source *src, unsigned flow, const char *line);

    /* Ten times a second, as long as the session runs: pings, timeouts. */
    void (*tick)(struct source *src, uint64_t now);

    /* Milliseconds until work wants to be called, at most most. */
    int (*timeout)(const struct source *src, int most);

    /* A position (not 0) as the status shows it; NULL: as it is. */
    uint64_t (*shown)(uint64_t pos);

    /* For the status: a phase of its own (NULL: the session's), alarms ("name" with a comma before it where
     * *any), and further fields, each with a blank behind it. */
    const char *(*phase)(const struct source *src);
    void (*alarms)(const struct source *src, struct buf *b, bool *any);
    void (*fields)(const struct source *src, struct buf *b);

    /* Where each flow has a master of its own: that one's replid. NULL, as the function: there is none. */
    const char *(*flow_master)(const struct source *src, unsigned flow);
};

/* What the kinds' own structs begin with. */
struct source {
    const struct source_kind *kind;
};

extern const struct source_kind source_dragonfly, source_psync, source_cluster, source_scan, source_file;

#endif
