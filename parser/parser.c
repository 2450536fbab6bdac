/* The state of a parser, what all that work on it need, and its part in reading keys again. */
#include <stdio.h>
#include <stdlib.h>

#include <bsd/string.h>

#include "reread/check.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "outlet.h"
#include "session.h"
#include "reread/slots.h"

void parser_init(struct parser *p, const struct options *opt, int out)
{
    memset(p, 0, sizeof *p);
    p->opt = opt;
    emit_init(&p->e, out, opt->mode);
    p->e.no_target = (opt->mode == EMIT_NULL || opt->inspect != INSPECT_NONE) && !opt->have_target &&
                     opt->report == NULL && opt->unsupported == UNSUPPORTED_REPORT;
    p->e.unsupported = opt->unsupported;
    p->e.restore_limit = opt->restore_limit;
    p->e.part_size = opt->part_size;
    p->e.hints = opt->hints;
    p->e.publish = opt->publish;
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
    source_commands_free(&p->commands);
    ctl_close(&p->ctl);
    scratch_free(&p->expand.scratch);
    value_free(&p->expand.value);
    emit_free(&p->e);
}

void parser_fault(struct parser *p, int status, const char *reason, const char *what)
{
    log_event(LOG_ERROR, NO_FLOW, "event=%s error=%s", reason, log_quote(what, strlen(what)));
    p->status = exit_worse(p->status, status);
    strlcpy(p->reason, reason, sizeof p->reason);
    strlcpy(p->message, what, sizeof p->message);
}

int parser_flow_fault(struct parser *p, unsigned flow, int status, const char *what)
{
    bool foreign = p->flows[flow]->rdb.foreign[0] != '\0';
    log_event(LOG_ERROR, (int)flow, "event=%s error=%s",
              foreign                  ? "not_supported"
              : status == EXIT_DAMAGED ? "damaged"
                                       : "error",
              log_quote(what, strlen(what)));
    p->status = exit_worse(p->status, status);
    strlcpy(p->reason, "error", sizeof p->reason);
    snprintf(p->message, sizeof p->message, "flow %u: %s", flow, what);
    return -1;
}

int parser_refused(struct parser *p)
{
    char what[256];
    if (p->outlet != NULL && p->outlet->status != 0) {
        parser_fault(p, p->outlet->status, "error", p->outlet->why);
        return -1;
    }
    if (!p->e.wrong_db) {
        parser_fault(p, EXIT_DATA, "error", "something cannot be carried over, and --unsupported is fail");
        return -1;
    }
    snprintf(what, sizeof what,
             "something of database %u, and the target is a cluster, which has database 0 only: --db-map "
             "%u=0 puts it "
             "there, --exclude db:%u leaves it out",
             p->e.source_db, p->e.source_db, p->e.source_db);
    parser_fault(p, EXIT_USAGE, "error", what);
    return -1;
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
    if (rc == 0 && f->to.synced && !p->told_synced[n] && !reread_early(f->to.rereads, f->to.o.flow)) {
        rc = ctl_send(&p->ctl, "synced flow=%u epoch=%u", n, p->epoch);
        p->told_synced[n] = true;
    }
    if (rc < 0)
        ctl_close(&p->ctl);
}

int parser_flows(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    uint64_t flows;
    if (!meta_getu(payload, r->len, "flows", &flows) || flows < 1 || flows > REC_FLOWS_MAX) {
        parser_fault(p, EXIT_DAMAGED, "error", "a SESSION record without flows");
        return -1;
    }
    p->nflows = (unsigned)flows;
    return 0;
}

/* ---- keys that are read again ---- */

/* All flows with keys under way. */
static void each_flow(struct parser *p, const char *end)
{
    for (unsigned i = 0; i < p->nflows && parser_waits(p); i++) {
        struct flow *f = p->flows[i];
        if (f == NULL || f->to.rereads == NULL)
            continue;
        if (end != NULL)
            reread_finish(&f->to, end);
        else
            reread_tick(&f->to, mono_us());
    }
}

void parser_poll(struct parser *p)
{
    if (parser_waits(p))
        each_flow(p, p->ctl.fd < 0 ? "the session is over" : NULL);
    for (unsigned i = 0; i < p->nflows; i++) {
        if (p->flows[i] == NULL)
            continue;
        slots_tick(&p->flows[i]->to); /* keys were written: a take may be at its end */
        parser_tell(p, p->flows[i]);
    }
}

void parser_end_rereads(struct parser *p)
{
    p->rereads.closed = true; /* entries that were kept back may want the same */
    each_flow(p, "the stream has ended");
}

struct flow *parser_flow(struct parser *p, const struct rec *r, const char *what, int *rc)
{
    char text[80];
    struct flow *f = r->flow < REC_FLOWS_MAX ? p->flows[r->flow] : NULL;
    *rc = 0;
    if (p->begun && r->epoch < p->epoch)
        return NULL;
    if (f != NULL && r->epoch == p->epoch)
        return f;
    snprintf(text, sizeof text, "%s of a flow that was not begun", what);
    parser_fault(p, EXIT_DAMAGED, "error", text);
    *rc = -1;
    return NULL;
}

/* A KEY or CHECK record was taken. */
static int taken(struct parser *p, const char *fault)
{
    if (fault != NULL) {
        parser_fault(p, EXIT_DAMAGED, "error", fault);
        return -1;
    }
    parser_poll(p);
    return 0;
}

int parser_check(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    int rc;
    struct flow *f = parser_flow(p, r, "a CHECK record", &rc);
    if (f == NULL || p->opt->mode != EMIT_RECORDS || p->ctl.fd < 0)
        return rc; /* else nobody is there to be asked, or to answer */
    p->e.now_ms = now_us() / 1000;
    return taken(p, check_record(&f->to, payload, r->len));
}

/* Keys of a slot that moves meanwhile may come from both masters, or from neither. */
static int slots_of_snapshot(struct parser *p, struct flow *f, const uint8_t *payload, size_t n)
{
    char op[16] = "";
    (void)meta_get(payload, n, "op", op, sizeof op);
    if (strcmp(op, "set") == 0)
        return taken(p, slots_record(&f->to, payload, n));
    parser_fault(p, EXIT_RETRY, "error", "slots of the cluster moved while its keys were read");
    return -1;
}

int parser_slots(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    int rc;
    struct flow *f = parser_flow(p, r, "a SLOTS record", &rc);
    if (f == NULL)
        return rc;
    if (p->outlet != NULL)
        return slots_of_snapshot(p, f, payload, r->len);
    if (p->opt->no_reread) {
        parser_fault(p, EXIT_USAGE, "error",
                     "the keys of a slot that moves are read again: not with --no-reread");
        return -1;
    }
    f->to.rereads = p->opt->mode != EMIT_NULL ? &p->rereads : NULL;
    p->e.now_ms = now_us() / 1000;
    return taken(p, slots_record(&f->to, payload, r->len));
}

int parser_file(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    int rc;
    char word[8];
    uint64_t number = 0;
    struct aof_file file = {.name = "the file"};
    struct flow *f = parser_flow(p, r, "a FILE record", &rc);
    if (f == NULL)
        return rc;
    (void)meta_get(payload, r->len, "name", file.name, sizeof file.name);
    (void)meta_getu(payload, r->len, "rest", &file.rest);
    (void)meta_getu(payload, r->len, "until", &file.until);
    file.append_only = meta_getu(payload, r->len, "aof", &number) && number != 0;
    file.base = meta_getu(payload, r->len, "base", &number) && number != 0;
    file.last = meta_getu(payload, r->len, "last", &number) && number != 0;
    file.truncated_ok =
        meta_get(payload, r->len, "truncated", word, sizeof word) > 0 && strcmp(word, "ok") == 0;
    p->e.now_ms = now_us() / 1000;
    if (flow_file(f, &file) < 0)
        return parser_flow_fault(p, r->flow, f->cannot ? EXIT_CANNOT : EXIT_DAMAGED, f->error);
    return 0;
}

/* A record of a source that is scanned was taken. */
static int scanned(struct parser *p, const char *fault)
{
    if (p->e.failed)
        return -1;
    if (p->e.refused)
        return parser_refused(p);
    if (fault == NULL)
        return 0;
    parser_fault(p, EXIT_DAMAGED, "error", fault);
    return -1;
}

int parser_scan(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    int rc;
    struct flow *f = parser_flow(p, r, "a SCAN record", &rc);
    if (f == NULL || !p->scan)
        return rc;
    rc = scanned(p, scanned_place(&f->scanned, payload, r->len));
    parser_tell(p, f);
    return rc;
}

int parser_key(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    int rc;
    struct flow *f = parser_flow(p, r, "a KEY record", &rc);
    if (f == NULL || (f->to.rereads == NULL && !p->scan))
        return rc; /* else of a session that was live when another parser asked for it */
    p->e.now_ms = now_us() / 1000;
    if (p->scan)
        return scanned(p, scanned_key(&f->scanned, r, payload));
    const char *fault = reread_answer(&f->to, r, payload);
    slots_tick(&f->to);
    return taken(p, fault);
}
