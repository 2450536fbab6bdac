/* A session's part in reading keys again: who asks, whose answers come, and what is left at the end. */
#include "check.h"
#include "exits.h"
#include "io.h"
#include "session.h"

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

void parser_ask(struct parser *p)
{
    if (parser_waits(p))
        each_flow(p, p->ctl.fd < 0 ? "the session is over" : NULL);
    for (unsigned i = 0; i < p->nflows; i++)
        if (p->flows[i] != NULL)
            parser_tell(p, p->flows[i]);
}

void parser_ask_no_more(struct parser *p)
{
    p->rereads.closed = true; /* entries that were kept back may want the same */
    each_flow(p, "the stream has ended");
}

int parser_check(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    struct flow *f = r->flow < REC_FLOWS_MAX ? p->flows[r->flow] : NULL;
    if (p->begun && r->epoch < p->epoch)
        return 0;
    if (f == NULL || r->epoch != p->epoch) {
        parser_fault(p, EXIT_DAMAGED, "error", "a CHECK record of a flow that was not begun");
        return -1;
    }
    if (p->opt->mode != EMIT_RECORDS || p->ctl.fd < 0)
        return 0; /* nobody is there to be asked, or to answer */
    p->e.now_ms = now_us() / 1000;
    const char *fault = check_record(&f->to, payload, r->len);
    if (fault != NULL) {
        parser_fault(p, EXIT_DAMAGED, "error", fault);
        return -1;
    }
    parser_ask(p);
    return 0;
}

int parser_key(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    struct flow *f = r->flow < REC_FLOWS_MAX ? p->flows[r->flow] : NULL;
    if (p->begun && r->epoch < p->epoch)
        return 0;
    if (f == NULL || r->epoch != p->epoch) {
        parser_fault(p, EXIT_DAMAGED, "error", "a KEY record of a flow that was not begun");
        return -1;
    }
    if (f->to.rereads == NULL)
        return 0; /* of a session that was live when another parser asked for it */
    p->e.now_ms = now_us() / 1000;
    const char *fault = reread_answer(&f->to, r, payload);
    if (fault != NULL) {
        parser_fault(p, EXIT_DAMAGED, "error", fault);
        return -1;
    }
    parser_ask(p);
    return 0;
}
