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
#include "../writer.h"

#define EVERY ((uint64_t)1000000) /* us between two writings of the file */

/* ---- the file ---- */

static void damaged(struct writer *w, const char *what)
{
    writer_fail(w, EXIT_CANNOT, "event=position_file file=%s error=%s",
                log_quote(w->opt.position_file, strlen(w->opt.position_file)), log_quote(what, strlen(what)));
}

static bool parse_file(struct writer *w, struct saved_vector *v, const char *text, size_t n)
{
    struct position_file f;
    size_t body;
    const char *fault = position_file_check(text, n, &body);
    if (fault == NULL)
        fault = position_file_parse(&f, w->opt.task, text, body);
    if (fault != NULL) {
        damaged(w, fault);
        return false;
    }
    *v = f.v;
    w->saved_over = f.over;
    if (v->state == SAVED_WHOLE && !w->marks.checked && !w->cluster->whole) {
        bool told = marks_parse(w, text, body);
        w->marks.lost = told ? NULL : "the position file does not tell which servers were written to";
    }
    return true;
}

static bool from_file(struct writer *w, struct saved_vector *v)
{
    if (w->opt.position_file == NULL)
        return true;
    int fd = io_open_own(w->opt.position_file, O_RDONLY, 0);
    if (fd < 0 && errno == ENOENT)
        return true;
    char *text = xmalloc(POSITION_FILE_MAX);
    ssize_t n = fd >= 0 ? read(fd, text, POSITION_FILE_MAX) : -1;
    bool ok = n >= 0;
    if (!ok)
        damaged(w, strerror(errno));
    if (fd >= 0)
        close(fd);
    ok = ok && parse_file(w, v, text, (size_t)n);
    free(text);
    return ok;
}

static bool put_file(struct writer *w, const struct buf *b)
{
    char tmp[4096], dir[4096];
    if (snprintf(tmp, sizeof tmp, "%s.new", w->opt.position_file) >= (int)sizeof tmp) {
        errno = ENAMETOOLONG;
        return false;
    }
    strlcpy(dir, w->opt.position_file, sizeof dir);
    int fd = io_open_new(tmp);
    if (fd < 0)
        return false;
    bool ok = io_write_at(fd, b->p, b->len, 0) == 0 && fsync(fd) == 0;
    ok = close(fd) == 0 && ok && rename(tmp, w->opt.position_file) == 0;
    fd = ok ? open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    ok = ok && fd >= 0 && fsync(fd) == 0; /* the new name must last, too */
    if (fd >= 0)
        close(fd);
    return ok;
}

/* At the end: has everything been applied that was sent? */
static bool over(const struct writer *w)
{
    bool all = w->ended_quiet;
    for (unsigned i = 0; i < w->positions.n; i++)
        all = all && w->positions.flow[i].n == 0;
    return all;
}

/* What has been applied: of a full sync that is not complete, no position is any use. */
static void fill_body(struct writer *w, struct buf *b, bool whole)
{
    const struct session *s = &w->session;
    struct position_file f = {.task = w->opt.task, .epoch = s->epoch, .over = whole && over(w)};
    struct saved_vector *v = &f.v;
    v->state = whole ? SAVED_WHOLE : w->lost_data ? SAVED_LOST : SAVED_INCOMPLETE;
    v->flows = s->flows;
    v->began_empty = !whole && policy_began_empty(w) && !positions_all_synced(&w->positions);
    v->verify = w->probes.owed;
    memcpy(f.nonce, s->nonce, sizeof f.nonce);
    v->lineage = s->lineage;
    if (w->exact.on)
        memcpy(v->history, w->exact.history, sizeof v->history);
    for (unsigned i = 0; i < s->flows && i < w->positions.n; i++) {
        v->pos[i] = w->positions.flow[i].pos;
        v->quiet[i] = positions_quiet(&w->positions.flow[i]);
        v->own[i] = s->flow[i].own;
        const char *slots = holds_at(&w->holds, i, w->positions.flow[i].seq);
        v->slots[i] = slots != NULL ? xstrdup(slots) : NULL;
        w->holds.flow[i].file = w->positions.flow[i].seq;
    }
    position_file_print(&f, b);
    saved_vector_free(v);
}

static bool kept(const struct writer *w)
{
    return w->opt.position_file != NULL && w->session.journal && w->session.live;
}

static bool due(const struct writer *w)
{
    return kept(w) && w->session.stage == ST_RUN;
}

static bool whole(const struct writer *w)
{
    const struct session *s = &w->session;
    for (unsigned i = 0; i < w->positions.n; i++)
        if (w->positions.flow[i].pos == 0) /* keys of its full sync are still to be read again */
            return false;
    /* Those of a session that goes on hold from the start, whatever its form, and so do those of a scan. */
    return (s->going_on == s->flows || s->scans || positions_all_synced(&w->positions)) && !w->lost_data &&
           w->sweep.state == SWEEP_OFF;
}

/* Write a body with what marks it. */
static void put_body(struct writer *w, struct buf *b, bool covered)
{
    if (!w->cluster->whole)
        marks_print(w, b, covered);
    position_file_seal(b);
    /* Unchanged positions are not written again: time has no part in the text. */
    uint64_t sum = crc64(0, b->p, b->len);
    if (sum != w->saved_sum && !put_file(w, b))
        damaged(w, strerror(errno));
    w->saved_sum = sum;
    w->saved_body.len = 0; /* it would be older */
    for (unsigned i = 0; i < w->holds.flows && !w->failed; i++)
        holds_saved(w, i, w->holds.flow[i].file);
}

static void put(struct writer *w, bool whole)
{
    struct buf b = {.max = POSITION_FILE_MAX};
    fill_body(w, &b, whole);
    put_body(w, &b, marks_cover(w));
    buf_free(&b);
}

static void saved_marked(struct writer *w)
{
    if (w->saved_body.len > 0)
        put_body(w, &w->saved_body, true);
}

/* The positions of now go to the file once the marks behind them are at the target. */
static void mark(struct writer *w)
{
    w->saved_body.len = 0;
    w->saved_body.max = POSITION_FILE_MAX;
    fill_body(w, &w->saved_body, whole(w));
    marks_round(w, saved_marked);
}

void saved_write(struct writer *w, uint64_t now, bool final)
{
    if (!due(w) || (!final && us_since(now, w->saved_at) < EVERY))
        return;
    w->saved_at = now;
    if (final || w->marks.doing != MARKS_IDLE || marks_cover(w))
        put(w, whole(w)); /* marks may have to wait for a master that is not there */
    else if (w->marks.flying == 0 && !w->cluster->flushing && !w->failed)
        mark(w);
}

bool saved_settled(struct writer *w)
{
    if (!due(w) || !whole(w) || marks_cover(w))
        return true;
    if (w->marks.doing == MARKS_IDLE && w->marks.flying == 0)
        mark(w);
    return false;
}

void saved_void(struct writer *w)
{
    if (kept(w) && access(w->opt.position_file, F_OK) == 0)
        put(w, false);
}

int saved_timeout(const struct writer *w, uint64_t now)
{
    if (!due(w))
        return -1;
    uint64_t at = w->saved_at + EVERY;
    return at <= now ? 0 : (int)((at - now) / 1000) + 1;
}

/* ---- both ---- */

bool saved_check(struct writer *w)
{
    struct saved_vector v = {.state = SAVED_NONE};
    if (w->cluster->whole)
        return whole_key(w);
    if (w->marks.checked)
        return true;
    if (w->marks.doing != MARKS_IDLE)
        return false;
    if (!from_file(w, &v))
        return false;
    saved_vector_free(&v); /* the state is all that counts here */
    if (v.state == SAVED_WHOLE && w->marks.lost == NULL) {
        marks_check(w);
        return false;
    }
    return w->marks.checked = true;
}

bool saved_read(struct writer *w, struct saved_vector *v)
{
    *v = (struct saved_vector){.state = SAVED_NONE};
    const char *why = "an earlier session of this task was here: the target has lost data";
    bool ok = true;
    if (w->cluster->whole)
        *v = w->whole.saved;
    else
        ok = from_file(w, v);
    if (v->state == SAVED_NONE && w->opt.expect_saved)
        v->state = SAVED_LOST;
    if (v->state == SAVED_WHOLE && !w->cluster->whole && w->marks.lost != NULL) {
        v->state = SAVED_LOST;
        why = w->marks.lost;
    }
    if (ok && v->state == SAVED_LOST)
        log_event(LOG_WARN, NO_FLOW, "event=position_missing target=%s note=%s", w->opt.shown,
                  log_quote(why, strlen(why)));
    return ok;
}

static int say(struct ctl *c, struct buf *line)
{
    int rc = ctl_send(c, "%.*s", (int)line->len, (const char *)line->p);
    line->len = 0;
    return rc;
}

int saved_tell(struct writer *w, const struct saved_vector *v)
{
    struct ctl *c = &w->live.ctl;
    struct buf b = {.max = CTL_LINE_MAX};
    position_say(v, w->session.epoch, &b);
    int rc = say(c, &b);
    for (unsigned i = 0; rc == 0 && v->state == SAVED_WHOLE && i < v->flows; i++) {
        position_say_flow(v, i, &b);
        rc = say(c, &b);
    }
    buf_free(&b);
    log_event(LOG_INFO, NO_FLOW, "event=resume state=%s flows=%u", position_state(v->state), v->flows);
    return rc;
}
