/* What the files share that say what a journaled command means for the target: commands.c (which is which),
 * command_strings.c, command_fields.c, command_restore.c, command_native.c (to Dragonfly), spread.c (keys in
 * several slots). */
#ifndef DFP_COMMAND_PARTS_H
#define DFP_COMMAND_PARTS_H

#include "args.h"
#include "commands.h"
#include "change.h"

/* A command being written: its arguments, and where its records count. */
struct cmd {
    struct sink *to;
    struct emit *e;
    struct origin *o;
    const struct change *ch;  /* with the names that the source knows */
    const struct select *sel; /* NULL: every key goes through as it is */
    const struct command *c;
    const struct slice *argv;
    size_t argc;
    uint64_t before, after; /* positions */
};

/* Absolute milliseconds of a time in units of so many milliseconds that is relative to the entry's arrival,
 * or counts from the epoch. 0: no valid number. */
uint64_t cmd_from_now(const struct cmd *m, const struct slice *s, int64_t unit);
uint64_t cmd_from_epoch(const struct slice *s, int64_t unit);

/* The key that argument i is. */
void cmd_key(const struct cmd *m, struct key *k, size_t i);

/* Write one request; argv[keyarg] is its key. It is the entry's only or last one; others of the entry follow.
 */
void cmd_last(const struct cmd *m, unsigned keyarg, const struct slice *argv, size_t argc, unsigned flags);
void cmd_one_of(const struct cmd *m, unsigned keyarg, const struct slice *argv, size_t argc, unsigned flags);

/* The command as it is. */
void cmd_forward(const struct cmd *m);

/* No request: its position is reached. */
void cmd_nothing(const struct cmd *m);

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

/* The first of these, or else cmd_lost_only. */
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

/* Scratch for the arguments of the command and as many more. False: too many. */
bool cmd_room(const struct cmd *m, struct slice **out, size_t extra);

/* WORD key arguments from first on. */
void cmd_with_rest(const struct cmd *m, struct slice word, size_t first);

/* The target is a Dragonfly. True: the command went there as it is. */
bool native(const struct cmd *m);

void do_set(const struct cmd *m);
void do_setex(const struct cmd *m);
void do_expire(const struct cmd *m);
void do_delex(const struct cmd *m);
void do_float(const struct cmd *m);
void do_hsetex(const struct cmd *m);
void do_field_expire(const struct cmd *m);
void do_saddex(const struct cmd *m);
void do_restore(const struct cmd *m);

#endif
