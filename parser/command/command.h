/* Commands: which there are, where their keys stand, and what they mean for the target.
 * dragonfly-replication(7), JOURNAL. One that is not in the table is reported, never guessed at. */
#ifndef DFP_COMMAND_H
#define DFP_COMMAND_H

#include "args.h"
#include "../change.h"
#include "program.h"
#include "sending.h"

/* ---- command_table.c, command_keys.c ---- */

enum action {
    ACT_FORWARD, /* sent as it is */
    ACT_SET,
    ACT_SETEX,
    ACT_EXPIRE,
    ACT_RESTORE,
    ACT_FLUSH,  /* a barrier of all flows */
    ACT_IGNORE, /* means nothing to the target */
    ACT_HSETEX,
    ACT_FIELD_EXPIRE,
    ACT_SADDEX,
    ACT_PREPEND,
    ACT_COUNTERS, /* XGROUP */
    ACT_SETID,    /* XSETID */
    ACT_CLAIM,    /* XCLAIM, XAUTOCLAIM */
    ACT_FLOAT,    /* INCRBYFLOAT, HINCRBYFLOAT */
    ACT_RENAME,
    ACT_TWO_KEYS, /* look at other keys than the one they change; MOVE, RENAMENX: logged also in vain */
    ACT_DELEX,
    ACT_JSON,
    ACT_PROBABILISTIC,
    ACT_SEARCH,
    ACT_DFLYCLUSTER,
    ACT_SOURCE,    /* depends on what only the source has */
    ACT_TRUNCATED, /* logged with the keys of one shard only */
    ACT_TRY,       /* logged also where it failed at the source */
    ACT_DEL,
    ACT_ZADD,
    ACT_POP_FIRST, /* LMPOP and its kin: of several keys one is changed */
    ACT_EVAL,      /* EVAL, EVALSHA */
    ACT_SCRIPT,
    ACT_FUNCTION,
    ACT_PUBLISH,
    ACT_SWAPDB,
    ACT_CLUSTER,
    ACT_MSETEX,
    ACT_HGETDEL,
    ACT_XADD, /* XADD, XTRIM */
    ACT_XDELEX,
    ACT_XCFGSET,
    ACT_NEWER, /* of Redis from 8.0 on, or later */
};

/* In place of the last key. */
#define LAST_COUNTED 1000 /* DEST numkeys key… */
#define LAST_STORE   1001 /* the first is read, the one behind STORE is written */
#define LAST_NUMKEYS 1002 /* numkeys key…: first is where numkeys stands */
#define LAST_STREAMS 1003 /* the first half of what stands behind STREAMS */

struct command {
    const char *name;
    enum action action;
    unsigned vclass; /* of the values that it works on; CLASS_NONE: of several */
    unsigned first;  /* argument that is the first key, 0: none */
    int last;        /* the last key; negative: counted from the end; or LAST_… */
    unsigned step;   /* from key to key */
    bool idempotent;
    unsigned min_args;
    unsigned since; /* first Redis version that knows it; 0: all */
    unsigned empty; /* arguments of one that adds or removes nothing, which some sources log; 0: of none */
};

/* NULL: not known. Names are upper case. */
const struct command *command_find(const uint8_t *name, size_t n);

/* It does the same for each of its keys, with what follows it up to the next. */
bool command_cuttable(const struct command *c);

/* Which arguments of a command are keys: first, first + step … last, and dest. 0: none. */
struct keys {
    size_t first, last, step;
    size_t dest; /* the key written, where it stands apart from those that are read */
};

/* No keys at all: it has none, or its arguments are none that it can have. */
struct keys command_keys(const struct command *c, const struct slice *argv, size_t argc);

/* Is the first argument a second word of the name, and no key (FUNCTION LOAD)? */
bool command_two_words(const struct slice *argv, size_t argc);

/* SORT … BY pattern, GET pattern: keys that are known only while it runs. */
bool command_looks_elsewhere(const struct slice *argv, size_t argc);

/* The argument of MOVE key db and COPY … DB db that is a database; 0: there is none. */
size_t command_other_db(const struct command *c, const struct slice *argv, size_t argc);

/* The keys one by one in the order of the arguments: start with at 0; 0: no more. */
size_t keys_next(const struct keys *k, size_t at);
bool keys_has(const struct keys *k, size_t i);

/* ---- command.c, and by their kinds command_strings.c, command_fields.c, command_restore.c ----
 */

/* A command being written: its arguments, and where its records count. */
struct cmd {
    struct sink *to;
    const struct target *target;
    const struct change *ch;     /* with the names that the source knows */
    const struct filter *filter; /* NULL: every key goes through as it is */
    const struct command *c;
    const struct slice *argv;
    size_t argc;
    struct sending send;
};

/* The command as it is. */
void cmd_forward(const struct cmd *m);

/* Report what is lost of it; the same, and nothing is sent. */
void cmd_lost(const struct cmd *m, const char *kind, const char *detail);
void cmd_lost_key(const struct cmd *m, size_t i, const char *kind,
                  const char *detail); /* the key that argument i is */
void cmd_lost_only(const struct cmd *m, const char *kind, const char *detail);

/* Have the key that argument i is read again from the source (reread.h): the entry's position is held until
 * it is there. False: that is not possible, and nothing was written. */
bool cmd_reread(const struct cmd *m, size_t i, const char *kind, const char *detail);

/* The same with every key that the command writes. */
bool cmd_reread_written(const struct cmd *m, const char *kind, const char *detail);

/* The same with what comes into another database by MOVE key db or COPY … DB db. */
bool cmd_reread_moved(const struct cmd *m, const char *kind, const char *detail);

/* The same with the keys that the source says it writes, as far as they are selected; those that cannot be
 * read again are reported. False: it says none, and nothing was done. */
bool cmd_reread_said(const struct cmd *m, const char *kind, const char *detail);

/* The second of the first four, or the first, or else cmd_lost_only. */
void cmd_written_or_lost(const struct cmd *m, const char *kind, const char *detail);
void cmd_reread_or_lost(const struct cmd *m, size_t i, const char *kind, const char *detail);

void cmd_malformed(const struct cmd *m);

/* Its effect depends on a key that it only looks at. Before the cut the snapshot may not have brought it yet,
 * since what is not changed is not sent ahead: what it writes is read again (true: done), or it is reported.
 */
bool cmd_early(const struct cmd *m);

/* EVAL script nkeys keys… arguments…: the n arguments of the command, the first nkeys of them keys. */
void cmd_script(const struct cmd *m, struct slice script, unsigned nkeys, size_t n);

/* EVAL script 1 key, arguments of our own, and those of the command from first on. */
void cmd_script_with(const struct cmd *m, struct slice script, const struct slice *own, size_t nown,
                     size_t first, unsigned flags);

/* Scratch for the arguments of the command and as many more. NULL: too many; the command is reported as lost.
 */
struct slice *cmd_room(const struct cmd *m, size_t extra);

/* WORD key arguments from first on, as the last request of the command or not. */
void cmd_with_rest(const struct cmd *m, struct slice word, size_t first, bool last);

/* Source and target are Dragonflies. True: the command went there as it is. */
bool native(const struct cmd *m);

void do_set(const struct cmd *m);
void do_setex(const struct cmd *m);
void do_expire(const struct cmd *m);
void do_delex(const struct cmd *m);
void do_float(const struct cmd *m);
void do_hsetex(const struct cmd *m);
void do_field_expire(const struct cmd *m);
void do_saddex(const struct cmd *m);
void do_hgetdel(const struct cmd *m);
void do_restore(const struct cmd *m);

/* The payload of DUMP or FUNCTION DUMP, of at least ten bytes, has no checksum or the right one. */
bool restore_footer_fits(const struct emit *e, const struct slice *payload);

/* ---- command_streams.c, command_server.c: psync(7), THE COMMAND STREAM ---- */

void do_xadd(const struct cmd *m);
void do_xdelex(const struct cmd *m);
void do_xcfgset(const struct cmd *m);
void do_function(const struct cmd *m);
void do_script(const struct cmd *m);
void do_eval(const struct cmd *m);
void do_publish(const struct cmd *m);
void do_swapdb(const struct cmd *m);
void do_cluster(const struct cmd *m);
void do_slots(const struct cmd *m);
void do_newer(const struct cmd *m);

/* A command of a module that the target has. True: it was written. */
bool module_command(const struct cmd *m);

/* ---- filter_command.c: commands under --include, --exclude, --rename-prefix and --db-map ---- */

enum filtered {
    FILTER_PASS, /* argv and argc may be new ones, in to; valid until the next command */
    FILTER_DROP, /* nothing of it goes through */
    FILTER_LOST, /* it joins keys that go through with others: detail says so */
};

/* Cut a command down to the keys that go through, and rename them. c may be NULL (not known: passes
 * unchanged). db: of the source. */
enum filtered filter_command(struct renamed *to, const struct filter *filter, uint32_t db,
                             const struct command *c, const struct slice **argv, size_t *argc,
                             const char **detail);

/* ---- spread.c, programs.c: for a cluster, commands whose keys lie in several slots (dfrecord(5), PROGRAM)
 * ---- */

/* The target is a cluster. True: the command was written, or reported, here; false: it may go its usual way,
 * all of its keys lie in one slot. */
bool spread(const struct cmd *m);

/* A PROGRAM record under way for a command, as its only one. */
struct spreading {
    const struct cmd *m;
    struct keys keys;
    struct program p;
};

void spread_rename(struct spreading *s);
void spread_copy(struct spreading *s);
void spread_smove(struct spreading *s);
void spread_lmove(struct spreading *s);
void spread_colocate(struct spreading *s);

#endif
