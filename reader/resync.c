/* Going on where an earlier session ended: the owner's part. dragonfly-wire.md sections 2.2, 2.5, 6.3. */
#include "owner.h"

#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"

static const struct {
    const char *name, *text;
} reasons[] = {
    {"incomplete", "the full sync before was not complete"},
    {"lost", "the target has lost what was written to it, or is another one"},
    {"flows", "the master has another number of flows now"},
    {"replid",
     "this is another master, which did not take over from the one before, or lacks the entries since then"},
    {"backlog", "the master no longer has the entries since then"},
    {"mixed", "the master no longer has the entries of all flows since then"},
    {"error", "the master refuses to go on from there"},
};

static const char *reason_text(const char *name)
{
    size_t i = 0;
    while (i + 1 < sizeof reasons / sizeof *reasons && strcmp(reasons[i].name, name) != 0)
        i++;
    return reasons[i].text;
}

/* Begin anew with a full sync where that is allowed. Nothing of the session so far counts, and no FLOW record
 * was written in it. */
static void refused(struct owner *w, const char *reason)
{
    if (w->o->on_full_resync == FULL_FAIL) {
        owner_fail(w, EXIT_CANNOT,
                   "cannot go on where the session before ended: %s; --on-full-resync flush or overwrite "
                   "begins anew",
                   reason_text(reason));
        return;
    }
    log_event(LOG_WARN, NO_FLOW, "event=full-resync reason=%s text=\"%s\"", reason, reason_text(reason));
    strlcpy(w->info.refused, reason, sizeof w->info.refused);
    w->resync = RESYNC_OFF;
    w->restart_wanted = true;
}

/* ---- the question ---- */

/* The id under which this master may know the saved positions: NULL its own. A cascaded replica knows them by
 * the topmost master, a promoted one by its former master. */
static const char *foreign_id(const struct owner *w)
{
    const struct resume *r = &w->resume;
    if (strcmp(r->replid, w->info.replid) == 0)
        return NULL;
    bool same_top =
        r->lineage[0] != '\0' && strlen(r->lineage) == REPLID_LEN && strcmp(r->lineage, w->info.lineage) == 0;
    return same_top ? r->lineage : r->replid;
}

struct flow_ask resync_ask(struct owner *w, unsigned i)
{
    if (w->resync != RESYNC_ASKED)
        return (struct flow_ask){.lsn = 0};
    struct flow_ask a = {.lsn = w->resume.pos[i], .last = foreign_id(w)};
    if (a.last != NULL)
        a.vector = w->vector;
    return a;
}

/* To a flow process: the positions that it needs, and then to open its flow. */
void resync_open_remote(struct owner *w, struct peer *p)
{
    struct flow_ask a = resync_ask(w, p->flow);
    if (a.lsn > 0) {
        hub_send(p, "resume state=saved replid=%s flows=%u", w->resume.replid, w->resume.flows);
        for (unsigned i = 0; i < w->resume.flows; i++)
            hub_send(p, "from flow=%u pos=%llu", i, (unsigned long long)w->resume.pos[i]);
    }
    hub_send(p, "open epoch=%u%s%s", (unsigned)w->info.epoch, a.last != NULL ? " last=" : "",
             a.last != NULL ? a.last : "");
}

static void decide(struct owner *w)
{
    switch (w->resume.state) {
    case RESUME_UNKNOWN: return;
    case RESUME_NONE: w->resync = RESYNC_OFF; break; /* the first time */
    case RESUME_LOST: refused(w, "lost"); return;
    case RESUME_INCOMPLETE: refused(w, "incomplete"); return;
    case RESUME_SAVED:
        if (w->resume.flows != w->info.flows) {
            refused(w, "flows");
            return;
        }
        w->resync = RESYNC_ASKED;
        w->vector = resume_vector(&w->resume);
    }
    log_event(LOG_INFO, NO_FLOW, "event=resume from=%s id=%s", w->resync == RESYNC_OFF ? "-" : w->vector,
              foreign_id(w) != NULL ? foreign_id(w) : "-");
    session_open_flows(w);
}

void resync_line(struct owner *w, const char *line)
{
    if (w->phase == PHASE_RESUME && w->resync == RESYNC_WAITING && resume_line(&w->resume, line))
        decide(w);
}

void resync_deadline(struct owner *w, uint64_t now)
{
    uint64_t limit = (uint64_t)(w->o->parser_timeout + w->o->connect_timeout) * US;
    if (now - w->phase_since >= limit)
        owner_fail(w, EXIT_RETRY,
                   "no writer has said from where to go on (--resume needs one that keeps positions)");
}

/* ---- the answers ---- */

bool resync_flow_refused(struct owner *w)
{
    if (w->resync != RESYNC_ASKED || w->phase != PHASE_FLOWS)
        return false;
    refused(w, "error");
    return true;
}

bool resync_flows_up(struct owner *w)
{
    if (w->resync != RESYNC_ASKED)
        return false;
    if (w->partial == w->info.flows) {
        w->resync = RESYNC_STARTING;
        session_startstable(w);
    } else {
        refused(w, w->partial > 0 ? "mixed" : foreign_id(w) != NULL ? "replid" : "backlog");
    }
    return true;
}

static void announce(struct owner *w, enum flow_form form)
{
    for (unsigned i = 0; i < w->info.flows; i++) {
        struct oflow *f = &w->flows[i];
        if (!w->o->session_only) {
            if (flow_announce(&f->local, &w->out, form) == 0)
                w->announced++;
        } else if (f->remote != NULL) {
            hub_send(f->remote, "announce epoch=%u form=%s", (unsigned)w->info.epoch,
                     form == FORM_JOURNAL ? "journal" : "snapshot");
        }
    }
}

void resync_bytes(struct owner *w)
{
    if (w->resync == RESYNC_STARTING)
        announce(w, FORM_JOURNAL);
}

/* STARTSTABLE was answered by OK: journal entries come at once. */
void resync_stable(struct owner *w)
{
    if (w->resync != RESYNC_STARTING)
        return;
    w->resync = RESYNC_OFF;
    announce(w, FORM_JOURNAL);
    w->cut = w->synced = w->info.flows;
    for (unsigned i = 0; i < w->info.flows; i++)
        w->flows[i].cut = w->flows[i].synced = true;
}

static void try_detour(struct owner *w)
{
    if (w->resync != RESYNC_DETOUR || w->announced < w->info.flows)
        return;
    w->resync = RESYNC_OFF;
    session_sync(w);
}

bool resync_invalid_state(struct owner *w)
{
    if (w->resync != RESYNC_STARTING)
        return false;
    log_event(LOG_INFO, NO_FLOW, "event=resume-by-sync");
    w->resync = RESYNC_DETOUR;
    announce(w, FORM_SNAPSHOT);
    try_detour(w);
    return true;
}

void resync_announced(struct owner *w)
{
    w->announced++;
    try_detour(w);
}
