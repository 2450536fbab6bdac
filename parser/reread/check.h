/* CHECK records (dfrecord(5)): keys that the source has after its full sync, to be looked for at the target.
 * Each becomes a PROBE record, behind everything that the source had said of it by then. What the writer does
 * not find comes back as a key to be read again (reread.h), and is looked for once more behind that.
 *
 * A command that only adds to a string, or that moves one, would hide behind a wrong value that the key is
 * lost. So from the beginning of the full sync until the flow is verified such a command changes the target
 * only if the key is there, else its key, or the key that it makes, is missing at the target from then on;
 * and it is looked for before that. Behind every record the target has of the source's strings the value at
 * that place, or none, and of its other keys the value, as the source loses only what a SET has made.
 *
 * That holds whichever of the records a kill cuts off, and whatever of this process is lost with it, because
 * none of it depends on what is under way:
 *   - Entries of a key that is read again because it is missing are written as they come (rekey.passing):
 *     kept back they would not be at the target when the position is behind them, and the run that resumes
 *     would leave them out, as done. A value counts if no entry has come since it was begun, and it is
 *     written by one request, or not at all: a part of it would be found, and taken for the whole.
 *   - What an entry itself makes be read again (BITOP, RENAMENX ...) does hold its position, and keeps
 * entries back: the run that resumes gets the entry, verifies as this one does, and does the same. So the
 * flow is verified only behind all of that (check_end_later).
 *   - A run that resumes gets entries that were carried out before: what it asks in front of them is
 *     answered as the target is now, and does not spare it to ask for the key at its place (EARLY).
 *   - At the end the reader has two answers to all that was asked: behind the first, only keys that were
 *     looked for may be missing; behind the second none is but those that are read again already.
 *   - At a stop nothing of what is under way is written: the run that resumes finds it missing, or is held in
 *     front of the entry that it is read again for (sink.left_at).
 */
#ifndef DFP_CHECK_H
#define DFP_CHECK_H

#include "../command/command.h"

/* A CHECK record. Returns NULL, or what is wrong with it. */
const char *check_record(struct sink *to, const uint8_t *payload, size_t n);

/* The flow has come to it. */
void check_write_due(struct sink *to);

/* The end of verifying, if nothing is in front of it any more. */
void check_end_due(struct sink *to);

/* Keys are to be read again because of the entry at hand, as they were not if it came once more when the flow
 * is verified: the end of that is behind them. */
void check_end_later(struct sink *to);

/* A key that was read again, or could not be, is looked for as often as it was asked for. */
struct rekey;
void check_again(struct sink *to, const struct rekey *k);

/* A command is to be written, whose arguments the target has as argv. */
enum guard check_before(struct sink *to, const struct change *ch, const struct command *c,
                        const struct slice *argv);

/* What it writes was to be read again (GUARD_REREAD), and cannot be. */
void check_unread(struct sink *to, const struct change *ch, const struct command *c,
                  const struct slice *argv);

#endif
