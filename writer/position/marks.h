/* What tells, beside --position-file, whether the target still has what was written to it: on each master a
 * mark, field m of the position key of one of its slots (of a single server: of its position key), HISTORY
 * NUMBER. All are written anew before the file is, which keeps the number and who the masters are. A mark
 * that has vanished, or is older than the file, shows a flush, a start without data or an older snapshot. */
#ifndef RW_MARKS_H
#define RW_MARKS_H

#include <stdbool.h>
#include <stdint.h>

#include "buf.h"
#include "../engine/exact.h"
#include "position_file.h"
#include "../target/suspect.h"

struct cluster;
struct cnode;
struct exact;
struct options;
struct outcome;
struct positions;
struct session;
struct stats;
struct watch;

struct marks;

struct mark_key {
    struct marks *all;
    uint16_t slot;
    bool there;  /* it was written in this session, or found */
    bool listed; /* in the file that is checked */
    bool sent, told;
    uint64_t due; /* mono_us: not before */
    struct plight plight;
    struct cnode *ask; /* where ASK said */
};

enum marks_doing { MARKS_IDLE, MARKS_WRITE, MARKS_READ };

typedef void marks_fn(void *arg);

struct marks {
    const struct options *opt;
    struct outcome *outcome;
    const struct stats *stats;
    const struct session *session;
    const struct positions *positions;
    const struct exact *exact; /* names the keys */
    struct watch *watch;
    struct cluster *cl;

    enum marks_doing doing;
    char history[HISTORY_MAX];
    uint64_t number; /* of the last round that began, and that ended */
    uint64_t done;
    uint64_t stamp; /* of what was applied when that round began */
    uint64_t done_stamp;
    struct mark_key *v;
    unsigned n;
    marks_fn *written;
    void *arg;
    unsigned flying; /* requests whose reply, or the replicas', is awaited */

    /* of the file that is checked */
    struct mark_master *master;
    unsigned masters;
    bool covered;     /* the marks were written after all that its positions cover */
    bool checked;     /* and what came of it: */
    const char *lost; /* NULL: the target has what was written */
};

void marks_free(struct marks *m);

/* A session begins to write. */
void marks_begin(struct marks *m);

/* Write all of them anew; written is called when that is done. */
void marks_round(struct marks *m, marks_fn *written, void *arg);

/* Is everything that was applied covered by them? */
bool marks_cover(const struct marks *m);

/* We are about to flush the target: they go with the rest. */
void marks_flushed(struct marks *m);

void marks_work(struct marks *m, uint64_t now);

/* ---- the file ---- */

/* Their part of it. covered: see above. */
void marks_print(const struct marks *m, struct buf *b, bool covered);

/* What an earlier run wrote there. False: that run did not know them. */
bool marks_parse(struct marks *m, const char *text, size_t n);

/* Ask the masters for what stands in the file; m->checked says when that is done. */
void marks_check(struct marks *m);

#endif
