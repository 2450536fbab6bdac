#include "task.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bsd/string.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "record.h"

#define ANSWER_MS  10000
#define ASK_EVERY  200u /* ms */
#define AGE_MOST   1u   /* s, where the task does not say: clusters are asked several times a second */
#define STALLED_US ((uint64_t)60 * 1000000)

/* Where flows stand. */
struct positions {
    unsigned flows,
        behind; /* behind: those that have not reached their until, or whose position is not known */
    uint64_t until[REC_FLOWS_MAX], applied; /* applied: of all of them, to see progress */
    bool synced;
    uint64_t age; /* s, since the source was asked for its positions */
};

/* ---- where it is ---- */

/* Nobody else may have put a socket there. */
static bool is_ours(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && (st.st_uid == geteuid() || st.st_uid == 0);
}

/* The places where df2redis(1) keeps the sockets of tasks. */
static bool find_socket(const char *name, char *path, size_t cap)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    char base[3][300];
    snprintf(base[0], sizeof base[0], "%s/df2redis", runtime != NULL && runtime[0] == '/' ? runtime : "/run");
    snprintf(base[1], sizeof base[1], "/run/df2redis");
    snprintf(base[2], sizeof base[2], "/tmp/df2redis-%lu", (unsigned long)geteuid());
    for (unsigned i = 0; i < 3; i++) {
        int n = snprintf(path, cap, "%s/%s/control.sock", base[i], name);
        if (n > 0 && (size_t)n < cap && is_ours(base[i]) && is_ours(path))
            return true;
    }
    return false;
}

/* ---- what it says ---- */

static void no_answer(const struct task *t)
{
    fatal(EXIT_CANNOT, "task %s: it does not answer", t->name);
}

static const char *next_line(struct task *t)
{
    char *line;
    while ((line = ctl_line(&t->ctl)) == NULL) {
        struct pollfd p = {.fd = t->ctl.fd, .events = POLLIN};
        if (poll(&p, 1, ANSWER_MS) == 0 || ctl_fill(&t->ctl) < 0)
            no_answer(t);
    }
    return line;
}

/* With first the positions of the source are those to be reached. */
static void take_flow(struct positions *p, const char *line, bool first)
{
    uint64_t flow, head = 0, applied = 0, synced = 0;
    if (!ctl_getu(line, "flow", &flow) || flow >= REC_FLOWS_MAX || !ctl_getu(line, "synced", &synced))
        return;
    (void)ctl_getu(line, "head", &head);
    (void)ctl_getu(line, "applied", &applied);
    if (first || p->until[flow] == 0)
        p->until[flow] = head;
    p->flows++;
    p->synced = p->synced && synced == 1;
    p->behind += head == 0 || applied < p->until[flow];
    p->applied += applied;
}

static void ask(struct task *t, struct positions *p, bool first)
{
    p->flows = p->behind = 0;
    p->applied = 0;
    p->synced = true;
    p->age = AGE_MOST;
    if (ctl_send(&t->ctl, "status") < 0)
        no_answer(t);
    for (const char *line = next_line(t); !ctl_is(line, "end"); line = next_line(t))
        if (ctl_is(line, "flow"))
            take_flow(p, line, first);
        else if (ctl_is(line, "session"))
            (void)ctl_getu(line, "heads_age", &p->age);
    if (p->flows == 0 || !p->synced)
        fatal(EXIT_RETRY, "task %s: its full sync is not complete: check later", t->name);
}

void task_open(struct task *t, const char *name)
{
    char path[400], answer[200];
    static struct positions p;
    t->name = name;
    if (strchr(name, '/') != NULL)
        strlcpy(path, name, sizeof path);
    else if (!find_socket(name, path, sizeof path))
        fatal(EXIT_CANNOT, "task %s: it does not run", name);
    if (ctl_hello(&t->ctl, path, "role=supervisor", ANSWER_MS, answer, sizeof answer) < 0)
        fatal(EXIT_CANNOT, "task %s: it does not answer (%s)", name, path);
    ask(t, &p, true);
}

void task_close(struct task *t)
{
    ctl_close(&t->ctl);
}

void task_wait(struct task *t, uint64_t written, void (*idle)(void *ctx, unsigned ms), void *ctx)
{
    static struct positions p;
    uint64_t moved_at = mono_us(), applied = 0;
    bool fresh = false; /* what the task says of the source is of a later time */
    memset(&p, 0, sizeof p);
    for (;;) {
        bool was_fresh = fresh;
        ask(t, &p, !fresh);
        uint64_t now = mono_us();
        fresh = fresh || us_since(now, written) > (p.age + 1) * 1000000;
        if (was_fresh && p.behind == 0)
            return;
        if (p.applied != applied || (fresh && !was_fresh))
            moved_at = now;
        applied = p.applied;
        if (us_since(now, moved_at) > STALLED_US)
            fatal(EXIT_RETRY,
                  "task %s: the target does not come any further: its lag cannot be told from differences",
                  t->name);
        idle(ctx, ASK_EVERY);
    }
}
