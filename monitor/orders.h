/* Requests that change tasks: what they say becomes a command of df2redis, whose end is their answer. */
#ifndef MONITOR_ORDERS_H
#define MONITOR_ORDERS_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "answer.h"
#include "tasks.h"

#define ORDERS_MAX 4 /* commands that run at the same time */

struct order;

struct orders {
    struct tasks *tasks;
    const char *files; /* directory of the files of new tasks; NULL: they name none */
    struct order *one[ORDERS_MAX];
};

/* Is it a path at which something can be changed? allow: by which methods. */
bool orders_path(const char *path, const char **allow);

/* A request to such a path. Returns the order, or NULL and *a says what is wrong. now: mono_us. */
struct order *orders_begin(struct orders *o, const char *method, const char *path, const void *body, size_t n,
                           uint64_t now, struct answer *a);

/* Descriptors that are readable when a command ends, ORDERS_MAX at most. Returns how many. */
unsigned orders_watch(const struct orders *o, struct pollfd *p);

bool order_ended(const struct order *order, uint64_t now);

/* Free it; a (NULL: nobody waits) gets the answer of one that has ended. */
void orders_end(struct orders *o, struct order *order, struct answer *a);

#endif
