#include "session.h"

#include "exits.h"
#include "meta.h"
#include "program.h"
#include "render.h"
#include "resp.h"

bool show_takes(const struct parser *p)
{
    return p->opt->mode == EMIT_JSON || p->opt->mode == EMIT_RESP;
}

static int damaged(struct parser *p, const char *what)
{
    parser_fault(p, EXIT_DAMAGED, "error", what);
    return -1;
}

/* What render takes for granted of records that were made here. Returns NULL, or what is wrong. */
static const char *check(const struct parser *p, const struct rec *r, const uint8_t *payload)
{
    int whole = 1;
    struct slice none;
    switch (r->type) {
    case REC_BARRIER:
        if (r->len <= 8 || resp_split(payload + 8, r->len - 8, &none, 0, &whole) < 0 || !whole)
            return "a BARRIER record without a request";
        break;
    case REC_PROGRAM:
        if (p->opt->mode == EMIT_RESP)
            return "--resp has no form for a stream that was written for a cluster";
        return program_check(payload, r->len);
    default: break;
    }
    return NULL;
}

static int session(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    if (parser_flows(p, r, payload) < 0)
        return -1;
    p->begun = true;
    render_session(&p->e, p->nflows);
    return 0;
}

static int target(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    char text[16];
    if (p->opt->mode == EMIT_RESP && meta_get(payload, r->len, "existing", text, sizeof text) > 0 &&
        strcmp(text, "overwrite") != 0) {
        parser_fault(p, EXIT_USAGE, "error",
                     "--resp has no form for a stream of --on-existing: nobody would hold back the parts of "
                     "a key that exists");
        return -1;
    }
    return 0;
}

static int end(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    uint64_t status;
    if (meta_getu(payload, r->len, "status", &status))
        p->status = exit_worse(p->status, (int)(status & 255));
    if (render_end(&p->e) > 0)
        return damaged(p, "a FLUSH did not arrive on every flow: what follows it was not written");
    return 0;
}

int show_record(struct parser *p, const struct rec *r, const uint8_t *payload)
{
    const char *fault = check(p, r, payload);
    if (fault != NULL)
        return damaged(p, fault);
    p->begun = true; /* its END is its own */
    int rc = 0;
    if (r->type == REC_SESSION)
        rc = session(p, r, payload);
    else if (r->type == REC_TARGET)
        rc = target(p, r, payload);
    if (rc == 0)
        render(&p->e, r, payload);
    if (rc == 0 && r->type == REC_END)
        rc = end(p, r, payload);
    return rc;
}
