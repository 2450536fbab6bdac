/* Commands of df2redis that run beside the monitor. They are run by their program with an argument vector,
 * in a session of their own, with a small environment, and what they print is bounded. */
#ifndef MONITOR_COMMAND_H
#define MONITOR_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define COMMAND_CONFIG "/dev/fd/3" /* where a command finds its configuration */

struct command;

/* argv: behind the program's name, ends with NULL. config: bytes that COMMAND_CONFIG is to hold, NULL: none.
 * NULL: it cannot be run, and errno says why. */
struct command *command_start(const char *const *argv, const void *config, size_t n, uint64_t now);

/* Readable when it has ended. */
int command_fd(const struct command *c);

/* Has it ended? One that takes too long is killed. now: mono_us. */
bool command_ended(struct command *c, uint64_t now);

/* Of one that has ended: its exit status, 128 and more: a signal; killed because it took too long. */
int command_status(const struct command *c);
bool command_late(const struct command *c);

/* The same: what it printed, as printable ASCII and newlines. Valid until it is freed. */
const char *command_output(struct command *c);

/* One that has not ended goes on by itself. */
void command_free(struct command *c);

#endif
