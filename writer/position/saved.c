#include "saved.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bsd/string.h>

#include "crc64.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "../target/policy.h"
#include "position_file.h"
#include "../engine/live.h"
#include "../engine/probes.h"
#include "../engine/whole.h"
#include "../options.h"
#include "../outcome.h"
#include "../session.h"
#include "../target/cluster.h"
#include "../target/holds.h"
#include "../target/sweep.h"
#include "marks.h"
#include "positions.h"

#define EVERY ((uint64_t)1000000) /* us between two writings of the file */

/* ---- the file ---- */

static void damaged(struct saved *d, const char *what)
{
    outcome_fail(d->outcome, EXIT_CANNOT, "event=position_file file=%s error=%s",
                 log_quote(d->opt->position_file, strlen(d->opt->position_file)),
                 log_quote(what, strlen(what)));
}

static bool parse_file(struct saved *d, struct saved_vector *v, const char *text, size_t n)
{
    struct position_file f;
    size_t body;
    const char *fault = position_file_check(text, n, &body);
    if (fault == NULL)
        fault = position_file_parse(&f, d->opt->task, text, body);
    if (fault != NULL) {
        damaged(d, fault);
        return false;
    }
    *v = f.v;
    d->over = f.over;
    if (v->state == SAVED_WHOLE && !d->marks->checked && !d->cl->nodes.whole) {
        bool told = marks_parse(d->marks, text, body);
        d->marks->lost = told ? NULL : "the position file does not tell which servers were written to";
    }
    return true;
}

static bool from_file(struct saved *d, struct saved_vector *v)
{
    if (d->opt->position_file == NULL)
        return true;
    int fd = io_open_own(d->opt->position_file, O_RDONLY, 0);
    if (fd < 0 && errno == ENOENT)
        return true;
    char *text = xmalloc(POSITION_FILE_MAX);
    ssize_t n = fd >= 0 ? read(fd, text, POSITION_FILE_MAX) : -1;
    bool ok = n >= 0;
    if (!ok)
        damaged(d, strerror(errno));
    if (fd >= 0)
        close(fd);
    ok = ok && parse_file(d, v, text, (size_t)n);
    free(text);
    return ok;
}

static bool put_file(struct saved *d, const struct buf *b)
{
    char tmp[4096], dir[4096];
    if (snprintf(tmp, sizeof tmp, "%s.new", d->opt->position_file) >= (int)sizeof tmp) {
        errno = ENAMETOOLONG;
        return false;
    }
    strlcpy(dir, d->opt->position_file, sizeof dir);
    int fd = io_open_new(tmp);
    if (fd < 0)
        return false;
    bool ok = io_write_at(fd, b->p, b->len, 0) == 0 && fsync(fd) == 0;
    ok = close(fd) == 0 && ok && rename(tmp, d->opt->position_file) == 0;
    fd = ok ? open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    ok = ok && fd >= 0 && fsync(fd) == 0; /* the new name must last, too */
    if (fd >= 0)
        close(fd);
    return ok;
}

/* At the end: has everything been applied that was sent? */
static bool over(const struct saved *d)
{
    bool all = d->ended_quiet;
    for (unsigned i = 0; i < d->positions->n; i++)
        all = all && d->positions->flow[i].n == 0;
    return all;
}

/* What has been applied: of a full sync that is not complete, no position is any use. */
static void fill_body(struct saved *d, struct buf *b, bool whole)
{
    const struct session *s = d->session;
    struct position_file f = {.task = d->opt->task, .epoch = s->epoch, .over = whole && over(d)};
    struct saved_vector *v = &f.v;
    v->state = whole ? SAVED_WHOLE : d->outcome->lost_data ? SAVED_LOST : SAVED_INCOMPLETE;
    v->flows = s->flows;
    v->began_empty = !whole && policy_began_empty(d->policy) && !positions_all_synced(d->positions);
    v->verify = d->probes->owed;
    memcpy(f.nonce, s->nonce, sizeof f.nonce);
    v->lineage = s->lineage;
    if (d->exact->on)
        memcpy(v->history, d->exact->history, sizeof v->history);
    for (unsigned i = 0; i < s->flows && i < d->positions->n; i++) {
        v->pos[i] = d->positions->flow[i].pos;
        v->verify |= probes_owed(d->probes, i, d->positions->flow[i].seq);
        v->quiet[i] = positions_quiet(&d->positions->flow[i]);
        v->own[i] = s->flow[i].own;
        const char *slots = holds_at(d->holds, i, d->positions->flow[i].seq);
        v->slots[i] = slots != NULL ? xstrdup(slots) : NULL;
        d->holds->flow[i].file = d->positions->flow[i].seq;
    }
    position_file_print(&f, b);
    saved_vector_free(v);
}

static bool kept(const struct saved *d)
{
    return d->opt->position_file != NULL && d->session->journal && d->session->live;
}

static bool due(const struct saved *d)
{
    return kept(d) && d->session->stage == ST_RUN;
}

static bool whole(const struct saved *d)
{
    const struct session *s = d->session;
    for (unsigned i = 0; i < d->positions->n; i++)
        if (d->positions->flow[i].pos == 0) /* keys of its full sync are still to be read again */
            return false;
    /* Those of a session that goes on hold from the start, whatever its form, and so do those of a scan. */
    return (s->going_on == s->flows || s->scans || positions_all_synced(d->positions)) &&
           !d->outcome->lost_data && d->sweep->state == SWEEP_OFF;
}

/* Write a body with what marks it. */
static void put_body(struct saved *d, struct buf *b, bool covered)
{
    if (!d->cl->nodes.whole)
        marks_print(d->marks, b, covered);
    position_file_seal(b);
    /* Unchanged positions are not written again: time has no part in the text. */
    uint64_t sum = crc64(0, b->p, b->len);
    if (sum != d->sum && !put_file(d, b))
        damaged(d, strerror(errno));
    d->sum = sum;
    d->body.len = 0; /* it would be older */
    for (unsigned i = 0; i < d->holds->flows && !d->outcome->failed; i++)
        holds_saved(d->holds, i, d->holds->flow[i].file);
}

static void put(struct saved *d, bool whole)
{
    struct buf b = {.max = POSITION_FILE_MAX};
    fill_body(d, &b, whole);
    put_body(d, &b, marks_cover(d->marks));
    buf_free(&b);
}

static void saved_marked(void *arg)
{
    struct saved *d = arg;
    if (d->body.len > 0)
        put_body(d, &d->body, true);
}

/* The positions of now go to the file once the marks behind them are at the target. */
static void mark(struct saved *d)
{
    d->body.len = 0;
    d->body.max = POSITION_FILE_MAX;
    fill_body(d, &d->body, whole(d));
    marks_round(d->marks, saved_marked, d);
}

void saved_write(struct saved *d, uint64_t now, bool final)
{
    if (!due(d) || (!final && us_since(now, d->at) < EVERY))
        return;
    d->at = now;
    if (final || d->marks->doing != MARKS_IDLE || marks_cover(d->marks))
        put(d, whole(d)); /* marks may have to wait for a master that is not there */
    else if (d->marks->flying == 0 && !d->cl->flushing && !d->outcome->failed)
        mark(d);
}

bool saved_settled(struct saved *d)
{
    if (!due(d) || !whole(d) || marks_cover(d->marks))
        return true;
    if (d->marks->doing == MARKS_IDLE && d->marks->flying == 0)
        mark(d);
    return false;
}

void saved_void(struct saved *d)
{
    if (kept(d) && access(d->opt->position_file, F_OK) == 0)
        put(d, false);
}

int saved_timeout(const struct saved *d, uint64_t now)
{
    if (!due(d))
        return -1;
    uint64_t at = d->at + EVERY;
    return at <= now ? 0 : (int)((at - now) / 1000) + 1;
}

/* ---- both ---- */

bool saved_check(struct saved *d)
{
    struct saved_vector v = {.state = SAVED_NONE};
    if (d->cl->nodes.whole)
        return whole_read(d->whole);
    if (d->marks->checked)
        return true;
    if (d->marks->doing != MARKS_IDLE)
        return false;
    if (!from_file(d, &v))
        return false;
    saved_vector_free(&v); /* the state is all that counts here */
    if (v.state == SAVED_WHOLE && d->marks->lost == NULL) {
        marks_check(d->marks);
        return false;
    }
    return d->marks->checked = true;
}

bool saved_read(struct saved *d, struct saved_vector *v)
{
    *v = (struct saved_vector){.state = SAVED_NONE};
    const char *why = "an earlier session of this task was here: the target has lost data";
    bool ok = true;
    if (d->cl->nodes.whole)
        *v = d->whole->saved;
    else
        ok = from_file(d, v);
    if (v->state == SAVED_NONE && d->opt->expect_saved)
        v->state = SAVED_LOST;
    if (v->state == SAVED_WHOLE && !d->cl->nodes.whole && d->marks->lost != NULL) {
        v->state = SAVED_LOST;
        why = d->marks->lost;
    }
    if (ok && v->state == SAVED_LOST)
        log_event(LOG_WARN, NO_FLOW, "event=position_missing target=%s note=%s", d->opt->shown,
                  log_quote(why, strlen(why)));
    return ok;
}

static int say(struct ctl *c, struct buf *line)
{
    int rc = ctl_send(c, "%.*s", (int)line->len, (const char *)line->p);
    line->len = 0;
    return rc;
}

int saved_tell(struct saved *d, const struct saved_vector *v)
{
    struct ctl *c = &d->live->ctl;
    struct buf b = {.max = CTL_LINE_MAX};
    position_say(v, d->session->epoch, &b);
    int rc = say(c, &b);
    for (unsigned i = 0; rc == 0 && v->state == SAVED_WHOLE && i < v->flows; i++) {
        position_say_flow(v, i, &b);
        rc = say(c, &b);
    }
    buf_free(&b);
    log_event(LOG_INFO, NO_FLOW, "event=resume state=%s flows=%u", position_state(v->state), v->flows);
    return rc;
}
