/* CHECK records (dfrecord(5)): keys that the source has after its full sync, to be looked for at the target.
 * Each becomes a PROBE record, behind everything that the source had said of it by then. What the writer does
 * not find comes back as a key to be read again (reread.h), and is looked for once more behind that.
 *
 * A command that only adds to a string, or that moves one, would hide behind a wrong value that the key is
 * lost. So from the beginning of the full sync until the flow is verified such a command changes the target
 * only if the key is there, else its key, or the key that it makes, is missing at the target from then on;
 * and it is looked for before that. Of what the source has the target has the right value, or none. */
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
