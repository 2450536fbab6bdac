/* What options say of a target that holds keys, or has another writer: --on-existing, --on-full-resync,
 * --takeover. */
#ifndef RW_POLICY_H
#define RW_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "rival.h"

struct options;
struct outcome;
struct session;

struct policy {
    const struct options *opt;
    struct outcome *outcome;
    const struct session *session;
    bool was_empty;         /* the target held no keys when the first session began */
    bool done;              /* --on-existing was applied */
    struct rival_self self; /* whose connections are ours */
    uint64_t rival_since;   /* mono_us: another writer of the task is there; 0: none was seen */
    bool took_over;         /* others' connections were ended (--takeover) */
};

/* The session was to go on where it was, and cannot: what --on-full-resync says. False: the writer has
 * failed.
 */
bool policy_full_resync(struct policy *p, bool *flush);

/* This full sync has the target to itself: it held nothing, or was emptied. */
bool policy_began_empty(const struct policy *p);

/* The target holds keys, and that was not to be: fail. */
void policy_refuse(struct policy *p);

/* The session begins anew over keys that were there before: with --on-existing skip and fail it cannot. Then
 * the run has failed. */
bool policy_guarded_void(struct policy *p);

#define RIVAL_WAIT ((uint64_t)5000000) /* us that another writer's connection may take to vanish */

/* --takeover, and this writer has not begun: others of its task may be cut off. */
bool policy_may_take_over(const struct policy *p);

/* Another writer of the task, who, is connected to the target. Whoever restarts may have to wait for the
 * connection of the one before to vanish: true when that has taken too long. why: for messages. */
bool policy_rival(struct policy *p, const char *who, char *why, size_t cap);

#endif
