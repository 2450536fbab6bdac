#include "saved.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bsd/string.h>

#include "call.h"
#include "crc64.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "target.h"
#include "writer.h"

#define CALL_MS  20000
#define EVERY    ((uint64_t)1000000) /* us between two writings of the file */
#define FILE_MAX ((size_t)1 << 20)

static const char head[] = "df2redis positions 1\n";

/* ---- from the position key ---- */

/* "nonce epoch flows replid lineage" */
static void read_identity(struct saved_vector *v, const char *text, unsigned *epoch)
{
    char nonce[40];
    if (sscanf(text, "%39s %u %u %71s %71s", nonce, epoch, &v->flows, v->replid, v->lineage) >= 4 &&
        v->flows > 0 && v->flows <= REC_FLOWS_MAX)
        v->state = SAVED_INCOMPLETE;
}

static void read_fields(struct saved_vector *v, const redisReply *r)
{
    unsigned epoch = 0, flow, e, whole = 0;
    unsigned long long seq, pos;
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        if (r->element[i]->str != NULL && r->element[i + 1]->str != NULL &&
            strcmp(r->element[i]->str, "session") == 0)
            read_identity(v, r->element[i + 1]->str, &epoch);
    for (size_t i = 0; i + 1 < r->elements && v->state == SAVED_INCOMPLETE; i += 2)
        if (r->element[i]->str != NULL && r->element[i + 1]->str != NULL &&
            sscanf(r->element[i]->str, "f%u", &flow) == 1 && flow < v->flows &&
            sscanf(r->element[i + 1]->str, "%u %llu %llu", &e, &seq, &pos) == 3 && e == epoch && pos > 0) {
            v->pos[flow] = pos; /* known from the end of the flow's full sync on */
            whole++;
        }
    /* What a transaction left that found no key: somebody had removed it. */
    for (size_t i = 0; i + 1 < r->elements && v->state == SAVED_NONE; i += 2)
        if (r->element[i]->str != NULL && sscanf(r->element[i]->str, "f%u", &flow) == 1)
            v->state = SAVED_LOST;
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        v->began_empty |= r->element[i]->str != NULL && strcmp(r->element[i]->str, "empty") == 0;
    bool sweeping = false; /* keys may be left that the source does not have any more */
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        sweeping |= r->element[i]->str != NULL && strcmp(r->element[i]->str, "sweep") == 0;
    v->began_empty &= !sweeping;
    for (size_t i = 0; i + 1 < r->elements; i += 2)
        v->verify |= r->element[i]->str != NULL && strcmp(r->element[i]->str, "verify") == 0 &&
                     r->element[i + 1]->str != NULL && strcmp(r->element[i + 1]->str, "1") == 0;
    if (v->state == SAVED_INCOMPLETE && whole == v->flows && !sweeping)
        v->state = SAVED_WHOLE;
}

static bool from_key(struct writer *w, struct saved_vector *v)
{
    struct node *n = &w->node;
    char num[16];
    snprintf(num, sizeof num, "%u", n->db);
    if (n->db != 0 && !target_must(w, n, CALL_MS, "SELECT", "0", NULL))
        return false;
    redisReply *r = target_call(n, CALL_MS, "HGETALL", w->session.position_key, NULL);
    n->in_call = r == NULL || (r->type != REDIS_REPLY_ERROR && !reply_is_hash(r));
    if (r == NULL) {
        node_lose(n, "HGETALL: %s", call_reason(&n->t));
        return false;
    }
    bool ok = reply_is_hash(r);
    if (ok)
        read_fields(v, r);
    else if (r->type != REDIS_REPLY_ERROR)
        node_lose(n, "HGETALL: unexpected reply");
    else
        writer_fail(w, EXIT_CANNOT, "event=position_not_read reply=%s", log_quote(r->str, r->len));
    freeReplyObject(r);
    return ok && (n->db == 0 || target_must(w, n, CALL_MS, "SELECT", num, NULL));
}

/* ---- the file ---- */

static void damaged(struct writer *w, const char *what)
{
    writer_fail(w, EXIT_CANNOT, "event=position_file file=%s error=%s",
                log_quote(w->opt.position_file, strlen(w->opt.position_file)), log_quote(what, strlen(what)));
}

/* The text without its last line, which is the checksum over it. Returns its length, 0: damaged. */
static size_t checked(const char *text, size_t n)
{
    char want[32];
    size_t body = n;
    if (n < sizeof head || memcmp(text, head, sizeof head - 1) != 0 || text[n - 1] != '\n')
        return 0;
    for (body = n - 1; body > 0 && text[body - 1] != '\n'; body--)
        ;
    int k = snprintf(want, sizeof want, "crc=%016llx\n",
                     (unsigned long long)crc64(0, (const uint8_t *)text, body));
    return (size_t)k == n - body && memcmp(text + body, want, (size_t)k) == 0 ? body : 0;
}

/* Whose positions they are, and whether anything behind them had been sent: for sent.h. */
static void read_session(struct writer *w, const char *text, size_t n)
{
    struct sent_session *from = &w->sent.from;
    char nonce[33];
    uint64_t epoch = 0, over = 0;
    *from = (struct sent_session){0};
    if (meta_get(text, n, "nonce", nonce, sizeof nonce) > 0 && meta_getu(text, n, "epoch", &epoch))
        snprintf(from->id, sizeof from->id, "%s %u", nonce, (unsigned)epoch);
    from->over = meta_getu(text, n, "over", &over) && over == 1;
}

static bool parse_file(struct writer *w, struct saved_vector *v, const char *text, size_t n)
{
    char task[128], name[16];
    uint64_t flows = 0, whole = 0, lost = 0;
    n = checked(text, n);
    if (n == 0) {
        damaged(w, "its checksum does not fit");
        return false;
    }
    if (meta_get(text, n, "task", task, sizeof task) < 0 || strcmp(task, w->opt.task) != 0) {
        damaged(w, "it belongs to another task");
        return false;
    }
    if (meta_get(text, n, "replid", v->replid, sizeof v->replid) < 0 ||
        meta_get(text, n, "lineage", v->lineage, sizeof v->lineage) < 0 ||
        !meta_getu(text, n, "flows", &flows) || flows < 1 || flows > REC_FLOWS_MAX ||
        !meta_getu(text, n, "whole", &whole)) {
        damaged(w, "fields are missing");
        return false;
    }
    if (meta_get(text, n, "history", v->history, sizeof v->history) < 0)
        v->history[0] = '\0';
    read_session(w, text, n);
    uint64_t empty = 0;
    v->began_empty = meta_getu(text, n, "empty", &empty) && empty == 1;
    uint64_t verify = 0;
    v->verify = meta_getu(text, n, "verify", &verify) && verify != 0;
    v->flows = (unsigned)flows;
    (void)meta_getu(text, n, "lost", &lost);
    v->state = whole == 1 ? SAVED_WHOLE : lost == 1 ? SAVED_LOST : SAVED_INCOMPLETE;
    if (whole == 1 && !w->marks.checked && w->cluster != NULL) {
        bool told = marks_parse(w, text, n);
        w->marks.lost = told ? NULL : "the position file does not tell which servers were written to";
    }
    for (unsigned i = 0; i < v->flows; i++) {
        snprintf(name, sizeof name, "f%u", i);
        if (!meta_getu(text, n, name, &v->pos[i]) || (whole == 1 && v->pos[i] == 0)) {
            damaged(w, "positions are missing");
            return false;
        }
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
    char *text = xmalloc(FILE_MAX);
    ssize_t n = fd >= 0 ? read(fd, text, FILE_MAX) : -1;
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

/* At the end: has everything been applied that was sent, by runs before as well? */
static bool over(const struct writer *w)
{
    bool all = w->ended && writer_quiet(w) && sent_over(w);
    for (unsigned i = 0; i < w->positions.n; i++)
        all = all && w->positions.flow[i].n == 0;
    return all;
}

/* What has been applied: of a full sync that is not complete, no position is any use. */
static void fill_body(const struct writer *w, struct buf *b, bool whole)
{
    const struct session *s = &w->session;
    (void)buf_addstr(b, head);
    meta_adds(b, "task", w->opt.task);
    meta_adds(b, "nonce", s->nonce);
    meta_addu(b, "epoch", s->epoch);
    meta_addu(b, "flows", s->flows);
    meta_adds(b, "replid", s->replid);
    meta_adds(b, "lineage", s->lineage);
    if (w->exact.on)
        meta_adds(b, "history", w->exact.history);
    meta_addu(b, "whole", whole);
    meta_addu(b, "lost", w->lost_data);
    if (!whole && session_began_empty(w) && !positions_all_synced(&w->positions))
        meta_addu(b, "empty", 1);
    if (w->probes.owed)
        meta_addu(b, "verify", 1);
    meta_addu(b, "over", whole && over(w));
    for (unsigned i = 0; i < s->flows; i++)
        (void)buf_addf(b, "f%u=%llu\n", i,
                       (unsigned long long)(i < w->positions.n ? w->positions.flow[i].pos : 0));
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
    /* Those of a session that goes on hold from the start, whatever its form. */
    return (s->going_on == s->flows || positions_all_synced(&w->positions)) && !w->lost_data &&
           w->sweep.state == SWEEP_OFF;
}

/* Write a body with what marks it. */
static void put_body(struct writer *w, struct buf *b, bool covered)
{
    if (w->cluster != NULL)
        marks_print(w, b, covered);
    (void)buf_addf(b, "crc=%016llx\n", (unsigned long long)crc64(0, b->p, b->len));
    /* Unchanged positions are not written again: time has no part in the text. */
    uint64_t sum = crc64(0, b->p, b->len);
    if (sum != w->saved_sum && !put_file(w, b))
        damaged(w, strerror(errno));
    w->saved_sum = sum;
    w->saved_body.len = 0; /* it would be older */
}

static void put(struct writer *w, bool whole)
{
    struct buf b = {.max = FILE_MAX};
    fill_body(w, &b, whole);
    put_body(w, &b, marks_cover(w));
    buf_free(&b);
}

void saved_marked(struct writer *w)
{
    if (w->saved_body.len > 0)
        put_body(w, &w->saved_body, true);
}

/* The positions of now go to the file once the marks behind them are at the target. */
static void mark(struct writer *w)
{
    w->saved_body.len = 0;
    w->saved_body.max = FILE_MAX;
    fill_body(w, &w->saved_body, whole(w));
    marks_round(w);
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
    if (w->cluster == NULL || w->marks.checked)
        return true;
    if (w->marks.doing != MARKS_IDLE)
        return false;
    if (!from_file(w, &v))
        return false;
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
    bool ok = w->cluster == NULL ? from_key(w, v) : from_file(w, v);
    if (v->state == SAVED_NONE && w->opt.expect_saved)
        v->state = SAVED_LOST;
    if (v->state == SAVED_WHOLE && w->cluster != NULL && w->marks.lost != NULL) {
        v->state = SAVED_LOST;
        why = w->marks.lost;
    }
    if (ok && v->state == SAVED_LOST)
        log_event(LOG_WARN, NO_FLOW, "event=position_missing target=%s note=%s", w->opt.shown,
                  log_quote(why, strlen(why)));
    return ok;
}

int saved_tell(struct writer *w, const struct saved_vector *v)
{
    static const char *const states[] = {"none", "lost", "incomplete", "saved"};
    struct ctl *c = &w->live.ctl;
    struct buf b = {.max = 4096};
    if (v->state != SAVED_NONE) {
        meta_add(&b, "replid", v->replid, strlen(v->replid), ' ');
        meta_add(&b, "lineage", v->lineage, strlen(v->lineage), ' ');
    }
    (void)buf_addf(&b, "flows=%u verify=%d", v->flows, v->verify);
    int rc = ctl_send(c, "resume epoch=%u state=%s %.*s", w->session.epoch, states[v->state], (int)b.len,
                      (const char *)b.p);
    for (unsigned i = 0; rc == 0 && v->state == SAVED_WHOLE && i < v->flows; i++)
        rc = ctl_send(c, "from flow=%u pos=%llu", i, (unsigned long long)v->pos[i]);
    buf_free(&b);
    log_event(LOG_INFO, NO_FLOW, "event=resume state=%s flows=%u", states[v->state], v->flows);
    return rc;
}
