/* Commands of a transaction that were refused, when they were queued or by EXEC. */
#include "bundle_parts.h"

#include <string.h>

#include "../target/cluster.h"
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
void bundle_refuses(struct conn *c, const char *text, size_t len)
{
    if (!c->w->outcome.dead)
        outcome_give_up(&c->w->outcome, EXIT_CANNOT, "event=target_refuses node=%s reply=%s",
                        cnode_name(c->node), log_quote(text, len));
}

/* A request of --on-existing skip or fail found its key. */
void bundle_is_there(struct writer *w, struct bundle *t, struct element *e)
{
    e->out = true;
    guard_reply(w, e->ticket, SPLIT_THERE);
    guard_there(w, &e->r, t->req.p + e->off, e->r.len);
}

void bundle_element_error(struct writer *w, struct bundle *t, struct element *e, const char *text, size_t len)
{
    const uint8_t *bytes = t->req.p + e->off;
    struct cunit u = bundle_element_unit(e);
    if (e->probe != 0) {
        e->out = true;
        probe_refused(w, e->probe, text, len);
        return;
    }
    if (t->fn != NULL) {
        t->why_len = (unsigned)(len < sizeof t->why ? len : sizeof t->why - 1);
        memcpy(t->why, text, t->why_len); /* what others said may stand behind it */
        t->why[t->why_len] = '\0';
        e->out = true;
        return;
    }
    e->out = true;
    if (t->barrier) { /* it must not be repeated later */
        struct failure f = {
            .text = text, .len = len, .r = e->r, .request = bytes, .n = e->r.len, .gone = true};
        f.r.type = REC_REQUEST;
        writer_data_error(w, &f);
        return;
    }
    cluster_unit_error(w, &u, bytes, text, len);
}

/* Without its position nothing may go on. */
void bundle_no_position(struct writer *w, const struct bundle *t, const char *text, size_t len)
{
    outcome_give_up(&w->outcome, EXIT_CANNOT, "event=position_refused slot=%u reply=%s", t->slot,
                    log_quote(text, len));
}

/* What was said of one command. */
static void settle_fault(struct writer *w, struct bundle *t, int32_t cmd, const char *text, size_t len)
{
    if (cmd >= 0 && t->e[cmd].ticket != TICKET_NONE && error_class(text, len) == ERR_CONFLICT) {
        bundle_is_there(w, t, &t->e[cmd]);
        return;
    }
    if (cmd >= 0) {
        bundle_element_error(w, t, &t->e[cmd], text, len);
        return;
    }
    if (cmd == CMD_POSITION) {
        bundle_no_position(w, t, text, len);
        return;
    }
    outcome_give_up(&w->outcome, EXIT_CANNOT, "event=select_failed target=%s reply=%s", w->opt.shown,
                    log_quote(text, len));
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
void bundle_take_out(struct writer *w, struct bundle *t)
{
    struct fault f;
    const char *why;
    for (size_t at = 0; next_fault(t, &at, &f, &why);)
        settle_fault(w, t, f.cmd, why, f.len);
    t->faults.len = 0;
}

/* What EXEC said about single requests. */
void bundle_carried_out(struct conn *c, struct bundle *t)
{
    c->w->stats.groups += !t->parts && t->n > 0 && !bundle_is_ours(t);
    /* All are numbered as they were sent: none may be taken out before all were looked up. */
    struct fault f;
    const char *text;
    for (size_t at = 0; next_fault(t, &at, &f, &text);) {
        bool probe = f.cmd >= 0 && t->e[f.cmd].probe != 0;
        /* Also rights that a script lacks: the position behind it is saved, so it has to be named. */
        settle_fault(c->w, t, f.cmd, text, f.len);
        if (!probe && error_class(text, f.len) == ERR_FATAL)
            bundle_refuses(c, text, f.len);
    }
    t->faults.len = 0;
    const struct store *store = c->w->cluster->bundles->store;
    if (t->saves && store != NULL)
        store->written(c, t->barrier ? 0 : t->fields, t->added);
    else if (t->saves)
        cluster_slot_written(c, t->slot, t->fields, t->added);
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

void bundle_still_refused(struct writer *w, struct bundle *t, const char *text, size_t len)
{
    struct named what;
    plight_refused(w, &t->plight, bundle_name_first(t, &what), text, len);
}
