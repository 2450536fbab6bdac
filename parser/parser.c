/* The state of a parser, and what all that work on it need. */
#include <stdlib.h>

#include <bsd/string.h>

#include "exits.h"
#include "log.h"
#include "session.h"

void parser_init(struct parser *p, const struct options *opt, int out)
{
    memset(p, 0, sizeof *p);
    p->opt = opt;
    emit_init(&p->e, out, opt->mode);
    p->e.no_target = opt->mode == EMIT_NULL && !opt->have_target && opt->report == NULL &&
                     opt->unsupported == UNSUPPORTED_REPORT;
    p->e.unsupported = opt->unsupported;
    p->e.restore_limit = opt->restore_limit;
    p->e.part_size = opt->part_size;
    p->e.hints = opt->hints;
    if (opt->have_target)
        p->e.target = opt->target;
    if (opt->have_existing)
        p->e.target.existing = opt->target.existing;
    if (opt->max_bulk > 0)
        p->e.target.maxbulk = opt->max_bulk;
    p->e.slots = p->e.target.cluster || p->e.target.kind == SERVER_PORTABLE;
    p->ctl.fd = -1;
    rereads_init(&p->rereads, &p->ctl);
    strlcpy(p->reason, "complete", sizeof p->reason);
}

void parser_drop_flows(struct parser *p)
{
    for (unsigned i = 0; i < REC_FLOWS_MAX; i++) {
        if (p->flows[i] != NULL) {
            flow_free(p->flows[i]);
            free(p->flows[i]);
        }
        p->flows[i] = NULL;
        p->told_cut[i] = p->told_synced[i] = false;
    }
}

void parser_free(struct parser *p)
{
    parser_drop_flows(p);
    rereads_reset(&p->rereads, 0);
    ctl_close(&p->ctl);
    scratch_free(&p->expand.scratch);
    value_free(&p->expand.value);
    emit_free(&p->e);
}

void parser_fault(struct parser *p, int status, const char *reason, const char *what)
{
    log_event(LOG_ERROR, NO_FLOW, "event=%s msg=%s", reason, log_quote(what, strlen(what)));
    p->status = exit_worse(p->status, status);
    strlcpy(p->reason, reason, sizeof p->reason);
    strlcpy(p->message, what, sizeof p->message);
}

void parser_tell(struct parser *p, const struct flow *f)
{
    unsigned n = f->to.o.flow;
    if (p->ctl.fd < 0)
        return;
    int rc = 0;
    if (f->to.cut && !p->told_cut[n]) {
        rc = ctl_send(&p->ctl, "cut flow=%u epoch=%u", n, p->epoch);
        p->told_cut[n] = true;
    }
    if (rc == 0 && f->to.synced && !p->told_synced[n] && !reread_early(&f->to)) {
        rc = ctl_send(&p->ctl, "synced flow=%u epoch=%u", n, p->epoch);
        p->told_synced[n] = true;
    }
    if (rc < 0)
        ctl_close(&p->ctl);
}
