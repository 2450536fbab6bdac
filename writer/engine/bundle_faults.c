/* Commands of a transaction that were refused, when they were queued or by EXEC. */
#include "bundle_parts.h"

#include <string.h>

#include "../options.h"
#include "../outcome.h"
#include "../summary.h"
#include "failures.h"
#include "probes.h"
#include "errors.h"
#include "exits.h"
#include "log.h"

void bundle_note_fault(struct bundle *t, int32_t cmd, const char *text, size_t len)
{
    struct fault f = {.cmd = cmd, .len = (uint32_t)(len < 255 ? len : 255)};
    if (buf_add(&t->faults, &f, sizeof f) == 0)
        (void)buf_add(&t->faults, text, f.len);
}

/* Nothing can be done here, or with these rights. */
void bundle_refuses(const struct bundles *b, const struct cnode *node, const char *text, size_t len)
{
    if (!b->use.outcome->dead)
        outcome_give_up(b->use.outcome, EXIT_CANNOT, "event=target_refuses node=%s reply=%s",
                        cnode_name(node), log_quote(text, len));
}

/* A request of --on-existing skip or fail found its key. */
void bundle_is_there(struct bundle *t, struct element *e)
{
    struct splits *splits = t->all->use.splits;
    e->out = true;
    guard_reply(splits, e->ticket, SPLIT_THERE);
    guard_there(splits, &e->r, t->req.p + e->off, e->r.len);
}

void bundle_element_error(struct bundle *t, struct element *e, const char *text, size_t len)
{
    const struct bundle_uses *use = &t->all->use;
    const uint8_t *bytes = t->req.p + e->off;
    struct cunit u = bundle_element_unit(e);
    e->out = true;
    if (e->probe != 0) {
        probe_refused(use->probes, e->probe, text, len);
        return;
    }
    if (t->fn != NULL) {
        t->why_len = (unsigned)(len < sizeof t->why ? len : sizeof t->why - 1);
        memcpy(t->why, text, t->why_len); /* what others said may stand behind it */
        t->why[t->why_len] = '\0';
        return;
    }
    if (t->barrier) { /* it must not be repeated later */
        struct failure f = {
            .text = text, .len = len, .r = e->r, .request = bytes, .n = e->r.len, .gone = true};
        f.r.type = REC_REQUEST;
        failures_add(use->failures, &f);
        return;
    }
    cluster_unit_error(use->cl, &u, bytes, text, len);
}

/* Without its position nothing may go on. */
void bundle_no_position(const struct bundle *t, const char *text, size_t len)
{
    outcome_give_up(t->all->use.outcome, EXIT_CANNOT, "event=position_refused slot=%u reply=%s", t->slot,
                    log_quote(text, len));
}

/* What was said of one command. */
static void settle_fault(struct bundle *t, int32_t cmd, const char *text, size_t len)
{
    if (cmd >= 0 && t->e[cmd].ticket != TICKET_NONE && error_class(text, len) == ERR_CONFLICT)
        bundle_is_there(t, &t->e[cmd]);
    else if (cmd >= 0)
        bundle_element_error(t, &t->e[cmd], text, len);
    else if (cmd == CMD_POSITION)
        bundle_no_position(t, text, len);
    else
        outcome_give_up(t->all->use.outcome, EXIT_CANNOT, "event=select_failed target=%s reply=%s",
                        t->all->use.opt->shown, log_quote(text, len));
}

/* The next fault. False: there are no more. */
static bool next_fault(const struct bundle *t, size_t *at, struct fault *f, const char **text)
{
    if (*at + sizeof *f > t->faults.len)
        return false;
    memcpy(f, t->faults.p + *at, sizeof *f);
    *text = (const char *)t->faults.p + *at + sizeof *f;
    *at += sizeof *f + f->len;
    return true;
}

/* Requests were refused when they were queued. True: for good, all of them. Else text is what says otherwise.
 */
bool bundle_queued_fault(const struct bundle *t, char text[256], size_t *len)
{
    struct fault f;
    const char *why;
    for (size_t at = 0; next_fault(t, &at, &f, &why);) {
        bool probe = f.cmd >= 0 && t->e[f.cmd].probe != 0;
        enum err_class class = error_class(why, f.len);
        if (class == ERR_DATA || class == ERR_CONFLICT || (probe && probe_fails(why, f.len)))
            continue;
        memcpy(text, why, f.len);
        text[ *len = f.len] = '\0';
        return false;
    }
    return true;
}

/* They are not sent again. All are numbered as they were sent, and so were looked up before. */
void bundle_take_out(struct bundle *t)
{
    struct fault f;
    const char *why;
    for (size_t at = 0; next_fault(t, &at, &f, &why);)
        settle_fault(t, f.cmd, why, f.len);
    t->faults.len = 0;
}

/* What EXEC said about single requests. */
void bundle_carried_out(struct bundle *t, const struct cnode *node)
{
    const struct bundles *b = t->all;
    b->use.stats->groups += !t->parts && t->n > 0 && !bundle_is_ours(t);
    /* All are numbered as they were sent: none may be taken out before all were looked up. */
    struct fault f;
    const char *text;
    for (size_t at = 0; next_fault(t, &at, &f, &text);) {
        bool probe = f.cmd >= 0 && t->e[f.cmd].probe != 0;
        /* Also rights that a script lacks: the position behind it is saved, so it has to be named. */
        settle_fault(t, f.cmd, text, f.len);
        if (!probe && error_class(text, f.len) == ERR_FATAL)
            bundle_refuses(b, node, text, f.len);
    }
    t->faults.len = 0;
    if (t->saves && b->store != NULL)
        b->store->written(b->key, node, t->barrier ? 0 : t->fields, t->added);
    else if (t->saves)
        cluster_slot_written(b->use.cl, node, t->slot, t->fields, t->added);
}

/* Its first request is named for all of them. */
const struct named *bundle_name_first(const struct bundle *t, struct named *what)
{
    unsigned first = bundle_first_left(t);
    if (first >= t->n)
        return NULL;
    const struct element *e = &t->e[first];
    *what = (struct named){t->req.p + e->off, e->r.len, e->r.keyarg, t->req.len};
    return what;
}

void bundle_still_refused(struct bundle *t, const char *text, size_t len)
{
    struct named what;
    plight_refused(t->all->use.cl, &t->plight, bundle_name_first(t, &what), text, len);
}
