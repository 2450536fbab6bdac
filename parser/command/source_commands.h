/* What the source says of its commands that write and that are not in the table: where their keys stand.
 * dfrecord(5), COMMANDS. */
#ifndef DFP_SOURCE_COMMANDS_H
#define DFP_SOURCE_COMMANDS_H

#include <stdbool.h>
#include <stddef.h>

#include "resp.h"

struct source_command;

struct source_commands {
    struct source_command *list;
    size_t n;
};

/* Take the text of n bytes; what was there before is dropped. False: it is malformed. */
bool source_commands_take(struct source_commands *s, const void *text, size_t n);
void source_commands_free(struct source_commands *s);

/* The arguments that are keys which a command writes: at most max, in at, each once. *whole: there are no
 * others. Returns their number; 0 and not *whole: nothing is known of it. The name is upper case. */
size_t source_commands_keys(const struct source_commands *s, const struct slice *argv, size_t argc,
                            size_t *at, size_t max, bool *whole);

#endif
