/* Journaled commands under --include, --exclude, --rename-prefix and --db-map. */
#ifndef DFP_NARROW_H
#define DFP_NARROW_H

#include "commands.h"
#include "change.h"

enum narrowed {
    NARROW_PASS, /* argv and argc may be new ones; valid until the next command */
    NARROW_DROP, /* nothing of it goes through */
    NARROW_LOST, /* it joins keys that go through with others: detail says so */
};

/* Cut a command down to the keys that go through, and rename them. c may be NULL (not known: passes
 * unchanged). db: of the source. */
enum narrowed narrow(struct sink *to, const struct select *sel, uint32_t db, const struct command *c,
                     const struct slice **argv, size_t *argc, const char **detail);

#endif
