/* Options of rediswriter; rediswriter(1) says what they mean. */
#ifndef RW_OPTIONS_H
#define RW_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "tls.h"
#include "url.h"

enum on_existing { EXISTING_OVERWRITE, EXISTING_REFUSE, EXISTING_FLUSH, EXISTING_SKIP, EXISTING_FAIL };
enum on_full { FULL_FAIL, FULL_FLUSH, FULL_OVERWRITE };
enum on_flush { FLUSH_APPLY, FLUSH_REFUSE, FLUSH_IGNORE };

/* Each key of the snapshot is looked at, not the target as a whole. */
static inline bool existing_guards(enum on_existing e)
{
    return e == EXISTING_SKIP || e == EXISTING_FAIL;
}

/* As the TARGET record and the control protocol say it. */
static inline const char *existing_policy(enum on_existing e)
{
    return e == EXISTING_SKIP ? "skip" : e == EXISTING_FAIL ? "fail" : "overwrite";
}

#define CONNECTIONS_MAX 64 /* to one node */

struct options {
    struct url url;
    char shown[320]; /* the target without secrets */
    struct tls_options tls;
    char sentinel_user[256];
    char sentinel_password[512];
    int connect_timeout; /* seconds */
    const char *task;
    enum on_existing on_existing;
    enum on_flush on_source_flush;
    enum on_full on_full_resync;
    const char *position_file; /* NULL: none */
    const char *forget_file;   /* the same, with --forget: it is to be removed */
    bool expect_saved;         /* an earlier session of this task was here */
    bool strict;
    bool live;
    bool quiet;
    bool mset;
    const char *errors_to;  /* file for requests that could not be carried out */
    const char *summary;    /* file for the JSON summary */
    const char *spill_dir;  /* NULL: $TMPDIR or /tmp */
    uint64_t barrier_spill; /* bytes a flow */
    int input_timeout;      /* seconds */
    int reconnect_timeout;  /* seconds */
    int reply_timeout;      /* seconds without any reply: the connection is given up */
    int wait;               /* replicas that must have confirmed; 0: none */
    uint64_t max_ops;       /* requests a second; 0: no limit */
    uint64_t max_bytes;     /* of them, a second */
    size_t window;          /* bytes in flight on a connection */
    bool durable;           /* servers keep what they confirm when they are started anew */
    bool at_least_once;     /* no transactions, even where one connection to one server would allow them */
    bool forget;            /* nothing is written: position keys are removed */
    bool takeover;          /* cut off another writer of the task: claim.h */
    bool exactly_once;      /* in a cluster, too: exact.h */
    unsigned connections;   /* to each node */
    bool must_cluster;      /* redis-cluster:// */
    const char *listen;     /* path of the socket; NULL: none */
    unsigned inputs;        /* connections expected there */
    char **files;           /* inputs by name */
    unsigned nfiles;
};

/* Fill in o from the command line and -c FILE. Ends the process on --help, --version and mistakes. */
void options_parse(struct options *o, int argc, char **argv);

#endif
