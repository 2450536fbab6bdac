/* Where keys go that do not become requests: the file of --rdb, the counters of --inspect. */
#include <errno.h>
#include <stdio.h>

#include "exits.h"
#include "export/export.h"
#include "inspect/inspect.h"
#include "session.h"

static int cannot_write(struct parser *p, const char *name, int fault)
{
    char what[300];
    snprintf(what, sizeof what, "%.200s: %s", name,
             fault == EEXIST ? "there is something that is not a regular file" : strerror(fault));
    parser_fault(p, EXIT_CANNOT, "error", what);
    return -1;
}

static int open_outlet(struct parser *p)
{
    if (p->opt->inspect == INSPECT_CSV && p->inspect != NULL) {
        parser_fault(p, EXIT_RETRY, "error",
                     "the source started a new full sync, and the output so far cannot be taken back");
        return -1;
    }
    if (p->opt->inspect != INSPECT_NONE) {
        outlets_free(p);
        p->inspect = inspect_open(p->opt->inspect, p->opt->top, stdout);
        p->outlet = inspect_outlet(p->inspect);
        return 0;
    }
    if (p->opt->rdb == NULL)
        return 0;
    bool again = p->export != NULL;
    if (again && strcmp(p->opt->rdb, "-") == 0) {
        parser_fault(p, EXIT_RETRY, "error",
                     "the source started a new full sync, and the output so far cannot be taken back");
        return -1;
    }
    outlets_free(p);
    p->export = export_open(p->opt->rdb, &p->e.target);
    if (p->export == NULL)
        return cannot_write(p, p->opt->rdb, errno);
    p->outlet = export_outlet(p->export);
    return 0;
}

int outlets_begin(struct parser *p, bool live)
{
    if (p->opt->mode != EMIT_OUTLET)
        return 0;
    if (open_outlet(p) < 0)
        return -1;
    p->outlet->live = live;
    return 0;
}

/* Every flow has brought all keys. */
static bool complete(const struct parser *p)
{
    for (unsigned i = 0; i < p->nflows; i++)
        if (p->flows[i] == NULL || !p->flows[i]->to.synced || p->flows[i]->to.goes_on)
            return false;
    return p->nflows > 0;
}

/* An incomplete snapshot has a summary, too. */
static void end_inspection(struct parser *p)
{
    if (inspect_finish(p->inspect, complete(p)) == 0)
        return;
    p->e.failed = true;
    p->e.fault = errno;
}

void outlets_end(struct parser *p)
{
    if (p->inspect != NULL)
        end_inspection(p);
    if (p->export == NULL)
        return;
    if (p->status != EXIT_DONE && p->status != EXIT_DATA)
        return;
    if (!complete(p)) {
        parser_fault(p, EXIT_PARTIAL, "stopped", "the snapshot is not complete: no file is written");
        return;
    }
    if (p->e.refused || export_finish(p->export, &p->e, p->journal) < 0)
        (void)cannot_write(p, p->opt->rdb, errno);
    else if (p->e.stats.lost > 0)
        p->status = exit_worse(p->status, EXIT_DATA);
}

void outlets_free(struct parser *p)
{
    if (p->outlet == NULL)
        return;
    parser_drop_flows(p); /* their values are the outlet's */
    if (p->export != NULL)
        export_free(p->export);
    if (p->inspect != NULL)
        inspect_free(p->inspect);
    p->export = NULL;
    p->inspect = NULL;
    p->outlet = NULL;
}
