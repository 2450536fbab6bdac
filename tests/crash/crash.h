/*
 * dfcrash: crash tests of the pipeline dfreader | dfparse | rediswriter.
 *
 * A master whose clients never stop writing, a target that persists, and between them the pipeline, which is
 * hit by one fault after the other: stages and servers are killed or stopped, connections cut.  What has
 * ended is started again with --resume.  After each fault (--every) the writes pause, everything drains, and
 * both data sets must be equal.
 */
#ifndef CRASH_H
#define CRASH_H

#include <hiredis/hiredis.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define MAX_FLOWS  8u
#define MAX_STAGES (2u + 2u * MAX_FLOWS)
#define MAX_ARGV   48u
#define NODES      3u /* masters of a cluster */
#define SOURCES    4u /* nodes of a source cluster: the last is a replica */
#define PATH_ROOM  256u
#define SECOND     INT64_C(1000000)
#define DRAIN_LIMIT                                                                                          \
    (90 * SECOND)               /* for what has been hit to run again, and for what was written to arrive    \
                                 */
#define END_LIMIT (30 * SECOND) /* for the other stages to notice that one has gone */

struct options {
    uint64_t crashes, seed, every, series, rate, seconds, distance;
    const char *dragonfly, *keep;
    const char *only; /* of the faults: those with one of these names, comma-separated */
    uint64_t move, lag;
    const char *rename[4]; /* rules for dfparse; NULL: no more */
    bool cluster, exact, verbose, overwrite, service, omit, redis, source_cluster, atomic;
};

extern struct options opt;

/* ---- util.c ---- */

int64_t now_us(void);
void sleep_us(int64_t us);
/* A line with the time, on standard output. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The test has failed: says why, how to reproduce it, and ends. */
void fail(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));
uint64_t below(uint64_t n); /* from the run's own generator */
bool one_in(uint64_t n);
unsigned free_port(void);
/* Path of a file in the run's folder; valid until the next but seven calls. */
const char *file(const char *format, ...) __attribute__((format(printf, 1, 2)));
void make_dir(const char *path);
void remove_tree(const char *path);

struct command {
    const char *argv[MAX_ARGV];
    unsigned argc;
    int in, out;     /* descriptors, or -1: /dev/null, and the log */
    const char *log; /* for standard error */
    pid_t group;     /* process group to join, 0: a new one, -1: ours */
};
void arg(struct command *c, const char *word);
/* Starts it; it dies with us. */
pid_t start(const struct command *c);
/* Runs it to its end; returns the exit status. */
int run(struct command *c);
/* Ends a child of ours for good. */
void end_child(pid_t *pid);

/* ---- proxy.c: between dfreader and a master ---- */

struct proxy {
    pid_t pid;
    unsigned port;
    int orders;
};
/* lag_us: streams to replicas are held back at random moments, each time at most so long. */
void proxy_start(struct proxy *p, unsigned upstream, int64_t lag_us);
void proxy_stop(struct proxy *p);
unsigned proxy_connections(struct proxy *p);
/* Cut one of the connections, in the order in which they were opened (of a Dragonfly 0 is the control
 * connection). */
void proxy_cut(struct proxy *p, unsigned which, bool reset);
void proxy_stall(struct proxy *p, int64_t us); /* hand nothing on for so long */

/* ---- distance.c ---- */

/* A port behind which that one is --distance away, and the relay between them; without --distance the port
 * itself.
 */
unsigned distance_to(unsigned port, pid_t *relay);

/* ---- servers.c ---- */

struct server {
    pid_t pid, relay;
    unsigned port;
    unsigned far; /* the port that the pipeline and other nodes are told; 0: as --distance wants it */
    const char *name;
    bool persists, cluster, stopped, source; /* source: another binary may serve it */
    const char *option[10];                  /* further ones, pairs of name and value */
};
void server_start(struct server *s);   /* port 0: a free one */
void server_restart(struct server *s); /* after it was killed */
void server_kill(struct server *s);
void server_end(struct server *s);                                  /* for good, the way to it as well */
void server_wait(struct server *s);                                 /* until it answers */
redisReply *server_call(struct server *s, const char *format, ...); /* NULL: it does not answer */
bool server_is_up(struct server *s);
void cluster_make(struct server *node, unsigned n);
void cluster_wait(struct server *node, unsigned n);
bool server_number(struct server *s, const char *field, uint64_t *n); /* of INFO replication */

/* ---- source.c: the master and its writes ---- */

struct source {
    struct server oracle, master; /* with a Dragonfly or a Redis: it is both */
    unsigned flows, dbs;
    struct proxy proxy[SOURCES]; /* the first one, or one for each node of a cluster */
    unsigned proxies;
    bool omits;                 /* its full sync leaves keys out, which the session has to find */
    unsigned long long omitted; /* up to the last comparison */
    pid_t relay;
    struct sources *cluster; /* with --source-cluster, instead of a master */
};
void source_start(struct source *s, uint64_t seed); /* a new one, with data, pausing */
void source_stop(struct source *s);
void source_go(struct source *s);
void source_pause(struct source *s);
/* SHUTDOWN, which keeps data, id and offset, and start it again. */
void source_restart(struct source *s);
/* Whether the master still has what follows a position. */
enum cover { COVER_NONE, COVER_UNKNOWN, COVER_ALL };
enum cover source_covers(struct source *s, uint64_t pos);
enum cover server_covers(struct server *s, uint64_t offset);
/* Next LSN of each flow; of a Redis its offset. */
void source_heads(struct source *s, uint64_t head[MAX_FLOWS]);
void source_check(struct source *s); /* nothing illegal was seen, no LSN was refused */
/* A new master as the source wants it: with a large backlog, or one that is soon behind. */
void source_options(struct server *s, bool small_backlog);

/* ---- source_cluster.c: three masters, one of them with a replica, each node behind a relay ---- */

struct sources {
    struct server node[SOURCES];
    struct window {
        unsigned shard, first, count; /* slots that are moved to and fro */
    } window;
    unsigned tag[300]; /* of keys: half of them are in the window */
};
#define TAGS 300u

void sources_start(struct source *s, uint64_t seed);
void sources_stop(struct source *s);
void sources_wait(struct source *s); /* until all nodes agree */
struct server *sources_some(struct source *s, bool master);
/* The target has what all masters have, and holds their slots. */
bool sources_reached(struct source *s);
/* Flows whose master still has what follows their position. */
unsigned sources_covered(struct source *s);
struct slotset;
bool server_slots(struct server *s, struct slotset *owned); /* of a node; false: it does not answer */
/* The replica becomes a master; false: it was not ready for that. */
bool sources_fail_over(struct source *s);

/* ---- moves.c: slots move between the masters ---- */

void moves_start(const struct sources *s);
void moves_begin(void); /* there and back, while other things happen; nothing if that is so already */
bool moves_under_way(void);
/* No slot is half moved from here on, until: */
void moves_hold(void);
void moves_release(void);
void moves_finish(void); /* wait until they are back */
void moves_end(void);

/* ---- routes.c: a client of a cluster ---- */

struct routes {
    const struct server *node;
    redisContext *c[SOURCES]; /* NULL: not connected */
    unsigned char owner[16384];
};
void routes_init(struct routes *r, const struct server *node);
/* The connection for a slot; NULL: its node does not answer now. */
redisContext *routes_to(struct routes *r, unsigned slot);
/* Executes it, wherever the slot is; the caller's. NULL: the connection was lost. */
redisReply *routes_command(struct routes *r, unsigned slot, int argc, const char **argv, const size_t *len);
/* The connection for a slot is of no use any more. */
void routes_lost(struct routes *r, unsigned slot);
/* True: it was a redirection, which the next command to the slot follows. */
bool routes_learn(struct routes *r, unsigned slot, const redisReply *reply);

/* ---- feeder.c: clients of a real master ---- */

void feeder_start(const struct source *s, uint64_t seed);
void feeder_order(char order); /* 'g' go, 'p' pause; returns when it is so */
void feeder_end(void);

/* ---- feeder_cluster.c ---- */

/* In the feeder's process: writes one command, transaction or script to the cluster. */
struct traffic;
void feed_cluster(struct traffic *t, struct routes *r, const struct sources *s, uint64_t *rng);

/* ---- pipeline.c ---- */

enum policy { POLICY_FAIL, POLICY_FLUSH, POLICY_OVERWRITE };

struct stage {
    pid_t pid; /* 0: it has ended */
    char name[24];
    int status; /* as waitpid gives it */
    bool hit;   /* we killed it */
    bool asked; /* we sent it SIGTERM */
    bool other; /* no child of ours: of df2redis */
};

struct pipeline {
    struct stage stage[MAX_STAGES];
    unsigned stages, alive, runs;
    pid_t group;
    bool single, was_stable, ending;
    bool goes_on;      /* the target had all positions when it began */
    bool may_go_on;    /* perhaps what follows them has left the master's backlog */
    unsigned covered;  /* of a cluster: flows whose master had what follows when it began */
    int64_t first_end; /* when a stage ended while others went on */
};

void pipeline_start(struct pipeline *p, enum policy policy, bool expect_saved, enum cover cover);
/* Look which stages there are, where they are not ours. */
void pipeline_list(struct pipeline *p);
/* Notes what has ended.  True: all have. */
bool pipeline_reap(struct pipeline *p);
void pipeline_signal(struct pipeline *p, unsigned stage, int sig);
void pipeline_signal_all(struct pipeline *p, int sig);
void pipeline_kill(struct pipeline *p); /* and wait */
/* Phase of the session ("stable" ...), "" when it does not answer. */
const char *pipeline_phase(struct pipeline *p);
bool pipeline_is_stable(struct pipeline *p);
/* A flow writes each slot. */
bool pipeline_has_all_slots(struct pipeline *p);
/* What a full sync may have left out was looked for. */
bool pipeline_has_verified(struct pipeline *p);

/* ---- answers.c: what the logs of a run say ---- */

/* It is stable: which flows go on, and whether all do that could. */
void answers_count(const struct pipeline *p);
/* What a Redis has sent was carried over whole. */
void answers_check(const struct pipeline *p);

/* ---- service.c: the supervisor, df2redis --restart ---- */

/* Its command line. */
void service_command(struct command *c, const char *source, const char *target);
/* Its processes, behind itself, which is the first stage. */
void service_list(struct pipeline *p);
/* After all had arrived, before what comes next: have all new starts since the last time gone on? */
void service_check(void);
/* Nothing is left of it. */
void service_end(struct pipeline *p);

/* ---- faults.c ---- */

/* One fault: what it was is said, and done.  Stages that end meanwhile are started again. */
void fault_run(bool extra);

/* ---- check.c ---- */

struct place {
    uint64_t pos;
    char replid[41]; /* of the flow's own master, "": it has none */
    char *slots;     /* that it holds; NULL: nothing is said */
};
void places_free(struct place place[MAX_FLOWS]);
/* Where the target stands: true with a position in every flow. */
bool check_places(struct place place[MAX_FLOWS]);
bool check_positions(uint64_t pos[MAX_FLOWS]);
/* Pause the writes, wait until everything has arrived, compare, go on. */
void check_equal(void);

/* Fill in the URLs of the source's data and of the target; status and log are those of dfstate diff. */
int check_diff(const char *log, const char *list);

/* ---- main.c ---- */

struct run {
    char dir[PATH_ROOM];
    uint64_t rng;
    struct source source;
    struct server target[NODES];
    unsigned targets;
    unsigned connections; /* to each target */
    struct pipeline pipeline;
    bool begun;
    bool complete;   /* the target has had a position in every flow: from now on only PARTIAL will do */
    unsigned helped; /* runs that did not end by themselves, as processes had died before they joined */
    unsigned long long omitted;
    unsigned fault, series, restarts, fulls, partials, compared;
    unsigned covered, went_on; /* new starts (of a cluster: flows) whose position the master still had, and
                                  those answered PARTIAL */
    unsigned covered_now;      /* of the start that is to come */
    unsigned moves;            /* of slots, there and back */
    char last_fault[120];
};
extern struct run now;

/* For so long: reap, start again. */
void attend(int64_t us);
/* Until the session is stable. */
void recover(void);

#endif
