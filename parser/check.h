/* CHECK records (dfrecord(5)): keys that the source has after its full sync, to be looked for at the target.
 * Each becomes a PROBE record, behind everything that the source had said of it by then. What the writer does
 * not find comes back as a key to be read again (reread.h), and is looked for once more behind that.
 *
 * While a flow is being verified, a command that only adds to a string would make a lost key look present:
 * such a key is looked for before it. */
#ifndef DFP_CHECK_H
#define DFP_CHECK_H

#include "command.h"

/* A CHECK record. Returns NULL, or what is wrong with it. */
const char *check_record(struct sink *to, const uint8_t *payload, size_t n);

/* The flow has come to it. */
void check_write_due(struct sink *to);

/* A key that was read again, or could not be, is looked for. key, db: as the source has them. */
void check_again(struct sink *to, uint32_t db, const uint8_t *key, size_t n, unsigned times);

/* A command is to be written, whose arguments the target has as argv. */
void check_before(struct sink *to, const struct change *ch, const struct command *c,
                  const struct slice *argv);

#endif
