/* Reconnecting a flow whose connection was lost: when to try, and what to log. The stream continues over the
 * new connection. dfreader(1), Lost connections. */
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "psync_flow.h"

#define LASTS (5 * US) /* a new connection without a byte resets the retries only after this time */

/* Bytes that came and were not handed on are dropped: they come again. */
static void put_down(struct flow *f)
{
    struct psync_flow *d = f->conn;
    conn_close(&d->conn);
    d->state = STATE_DOWN;
    d->at = d->have = 0;
    d->broken = false;
    f->away = true;
}

bool psync_again(struct flow *f, const struct fault *was, struct fault *why)
{
    struct psync_flow *d = f->conn;
    const struct options *o = f->stream->o;
    bool first = !f->away;
    /* A signal has ended a connect: what follows from it comes in the next turn. */
    bool may_help = was->status == EXIT_RETRY || was->status == EXIT_PARTIAL;
    *why = *was;
    if (!d->begun || d->refused || f->state != FLOW_UP || !may_help || stream_ending(f->stream))
        return false;
    if (!retry_failed(&d->retry, mono_us(), (uint64_t)o->reconnect_timeout * US)) {
        if (d->retry.tries > 0)
            fault_set(why, EXIT_RETRY, "not connected again within %d seconds: %s", o->reconnect_timeout,
                      was->text);
        return false;
    }
    if (first)
        log_event(LOG_WARN, (int)f->id, "event=flow_connection_lost offset=%llu error=%s",
                  (unsigned long long)d->scan.offset, log_quote(was->text, strlen(was->text)));
    else
        log_event(LOG_INFO, (int)f->id, "event=flow_not_reconnected tries=%u error=%s", d->retry.tries,
                  log_quote(was->text, strlen(was->text)));
    put_down(f);
    return true;
}

/* Another master goes on with the stream: it and its positions bear another id from here on. */
static void rename_stream(struct flow *f, const char *replid)
{
    struct psync_flow *d = f->conn;
    if (replid[0] == '\0' || strcasecmp(replid, d->lineage.replid) == 0)
        return;
    strlcpy(d->lineage.replid, replid, sizeof d->lineage.replid);
    if (f->announced)                     /* else its FLOW record is still to come, and says it */
        (void)stream_announce_lineage(f); /* a failure is noticed in the next turn */
}

void psync_again_done(struct flow *f, const char *replid)
{
    struct psync_flow *d = f->conn;
    uint64_t now = mono_us();
    rename_stream(f, replid);
    d->state = STATE_STREAM;
    d->back_at = now;
    d->back_offset = d->scan.offset;
    f->away = false;
    f->reconnects++;
    log_event(LOG_WARN, (int)f->id, "event=flow_reconnected offset=%llu replid=%s tries=%u ms=%llu",
              (unsigned long long)d->scan.offset, d->lineage.replid, d->retry.tries + 1,
              (unsigned long long)(retry_lasts(&d->retry, now) / 1000));
}

void psync_again_settle(struct psync_flow *d, uint64_t now)
{
    if (d->state == STATE_STREAM && d->retry.since != 0 &&
        (d->scan.offset > d->back_offset || us_since(now, d->back_at) >= LASTS))
        d->retry = (struct retry){.since = 0};
}
