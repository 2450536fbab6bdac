#include "sessinfo.h"

#include <string.h>

#include "ctl.h"
#include "meta.h"
#include "record.h"

static void text(struct buf *b, const char *name, const char *value, char sep)
{
    if (value[0] != '\0')
        meta_add(b, name, value, strlen(value), sep);
}

void sessinfo_format(const struct sessinfo *s, struct buf *b, char sep)
{
    text(b, "nonce", s->nonce, sep);
    text(b, "source", s->source, sep);
    text(b, "version", s->version, sep);
    text(b, "run_id", s->run_id, sep);
    text(b, "address", s->address, sep);
    text(b, "masters", s->masters, sep);
    text(b, "server", s->server, sep);
    (void)buf_addf(b, "flows=%u%cepoch=%u%cjournal=%d%c", s->flows, sep, (unsigned)s->epoch, sep,
                   (int)s->journal, sep);
    lineage_add(b, &s->lineage, sep);
    text(b, "session", s->session, sep);
    if (s->protocol > 0)
        (void)buf_addf(b, "protocol=%u%c", s->protocol, sep);
    if (s->dbs_known)
        (void)buf_addf(b, "dbs=%s%c", s->dbs, sep);
    if (s->resume)
        (void)buf_addf(b, "resume=1%c", sep);
    text(b, "refused", s->refused, sep);
    text(b, "control", s->control, sep);
    (void)buf_addf(b, "started=%llu%c", (unsigned long long)s->started, sep);
}

bool sessinfo_parse(struct sessinfo *s, const char *line)
{
    uint64_t flows, epoch, journal, protocol, resume;
    memset(s, 0, sizeof *s);
    if (ctl_get(line, "nonce", s->nonce, sizeof s->nonce) != 32 ||
        ctl_get(line, "source", s->source, sizeof s->source) <= 0 ||
        (lineage_get(&s->lineage, line, strlen(line)) && strlen(s->lineage.replid) != REPLID_LEN) ||
        ctl_get(line, "control", s->control, sizeof s->control) <= 0)
        return false;
    (void)ctl_get(line, "version", s->version, sizeof s->version);
    (void)ctl_get(line, "run_id", s->run_id, sizeof s->run_id);
    (void)ctl_get(line, "session", s->session, sizeof s->session);
    (void)ctl_get(line, "address", s->address, sizeof s->address);
    (void)ctl_get(line, "masters", s->masters, sizeof s->masters);
    (void)ctl_get(line, "server", s->server, sizeof s->server);
    s->dbs_known = ctl_get(line, "dbs", s->dbs, sizeof s->dbs) >= 0;
    if (!ctl_getu(line, "flows", &flows) || flows < 1 || flows > REC_FLOWS_MAX ||
        !ctl_getu(line, "epoch", &epoch) || epoch < 1 || epoch > UINT16_MAX ||
        !ctl_getu(line, "journal", &journal) || !ctl_getu(line, "started", &s->started))
        return false;
    if (ctl_getu(line, "protocol", &protocol) && protocol <= UINT16_MAX)
        s->protocol = (unsigned)protocol;
    s->resume = ctl_getu(line, "resume", &resume) && resume != 0;
    (void)ctl_get(line, "refused", s->refused, sizeof s->refused);
    s->flows = (unsigned)flows;
    s->epoch = (uint16_t)epoch;
    s->journal = journal != 0;
    return true;
}
