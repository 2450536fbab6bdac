#include "sweep.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <bsd/string.h>

#include "crc64.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "request.h"
#include "resp.h"
#include "target.h"
#include "writer.h"

#define OUT_MAX ((size_t)64 << 10)
#define CALL_MS 20000
#define EVERY   ((uint64_t)5000) /* us between two steps: the live records come first */

static uint64_t hash_of(uint32_t db, const uint8_t *p, size_t n)
{
    uint64_t h = crc64(db, p, n);
    return h != 0 ? h : 1; /* 0 is a free place */
}

static void fails(struct writer *w, const char *what)
{
    writer_fail(w, EXIT_CANNOT, "event=sweep_failed step=%s error=%s", what,
                log_quote(strerror(errno), strlen(strerror(errno))));
}

bool sweep_begin(struct writer *w)
{
    struct sweep *s = &w->sweep;
    sweep_free(s);
    s->fd = io_tmpfile(w->opt.spill_dir);
    if (s->fd < 0) {
        fails(w, "file");
        return false;
    }
    s->out.max = 2 * OUT_MAX;
    s->state = SWEEP_MARKS;
    return true;
}

void sweep_free(struct sweep *s)
{
    if (s->mark != NULL)
        (void)munmap(s->mark, s->n * sizeof *s->mark);
    if (s->state != SWEEP_OFF)
        close(s->fd);
    buf_free(&s->out);
    free(s->late);
    memset(s, 0, sizeof *s);
}

/* ---- marks ---- */

static void write_marks(struct writer *w)
{
    struct sweep *s = &w->sweep;
    if (s->out.len > 0 && io_write_at(s->fd, s->out.p, s->out.len, s->n * sizeof(uint64_t)) < 0)
        fails(w, "write");
    s->n += s->out.len / sizeof(uint64_t);
    s->out.len = 0;
}

static void late_put(struct sweep *s, uint64_t h)
{
    size_t i = h & (s->late_cap - 1);
    while (s->late[i] != 0 && s->late[i] != h)
        i = (i + 1) & (s->late_cap - 1);
    s->late_n += s->late[i] == 0;
    s->late[i] = h;
}

static void late_add(struct sweep *s, uint64_t h)
{
    if (2 * s->late_n >= s->late_cap) {
        uint64_t *old = s->late;
        size_t cap = s->late_cap;
        s->late_cap = cap > 0 ? 2 * cap : 1024;
        s->late = xcalloc(s->late_cap, sizeof *s->late);
        s->late_n = 0;
        for (size_t i = 0; i < cap; i++)
            if (old[i] != 0)
                late_put(s, old[i]);
        free(old);
    }
    late_put(s, h);
}

static void note(struct writer *w, uint64_t h)
{
    struct sweep *s = &w->sweep;
    if (s->state == SWEEP_SCANS) {
        late_add(s, h);
        return;
    }
    (void)buf_add(&s->out, &h, sizeof h);
    if (s->out.len >= OUT_MAX)
        write_marks(w);
}

void sweep_note(struct writer *w, const struct rec *r, const uint8_t *payload)
{
    struct slice key;
    unsigned n = 0, arg = r->keyarg;
    if (w->sweep.state == SWEEP_OFF)
        return;
    if ((r->flags & RF_MULTIKEY) == 0) {
        if (arg > 0 && request_arg(payload, r->len, arg, &key))
            note(w, hash_of(r->db, key.p, key.n));
        return;
    }
    /* Which of its arguments are keys only dfparse knows: all of them stay, if they are there. */
    while (request_arg(payload, r->len, ++n, &key) && n < 4096)
        note(w, hash_of(r->db, key.p, key.n));
}

/* ---- the scan ---- */

static int compare(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static bool marked(const struct sweep *s, uint64_t h)
{
    for (size_t i = h & (s->late_cap - 1); s->late_cap > 0 && s->late[i] != 0;
         i = (i + 1) & (s->late_cap - 1))
        if (s->late[i] == h)
            return true;
    return s->n > 0 && bsearch(&h, s->mark, s->n, sizeof h, compare) != NULL;
}

/* All flows have ended their full sync: sort what was noted, and see which databases there are. */
static void begin_scan(struct writer *w)
{
    struct sweep *s = &w->sweep;
    write_marks(w);
    if (s->n > 0) {
        s->mark = mmap(NULL, s->n * sizeof *s->mark, PROT_READ | PROT_WRITE, MAP_SHARED, s->fd, 0);
        if (s->mark == MAP_FAILED) {
            s->mark = NULL;
            fails(w, "map");
            return;
        }
        qsort(s->mark, s->n, sizeof *s->mark, compare);
    }
    redisReply *r = target_call(&w->node, CALL_MS, "INFO", "keyspace", NULL);
    if (r == NULL) {
        node_lose(&w->node, "INFO: %s", strerror(errno));
        if (s->mark != NULL)
            (void)munmap(s->mark, s->n * sizeof *s->mark);
        s->mark = NULL;
        return; /* again on the next connection */
    }
    for (const char *p = r->str != NULL ? strstr(r->str, "\ndb") : NULL; p != NULL && s->ndbs < 1024;
         p = strstr(p + 1, "\ndb"))
        s->dbs[s->ndbs++] = (uint32_t)strtoul(p + 3, NULL, 10);
    freeReplyObject(r);
    strlcpy(s->cursor, "0", sizeof s->cursor);
    s->state = SWEEP_SCANS;
    log_event(LOG_INFO, NO_FLOW, "event=sweep_begins keys=%llu databases=%u", (unsigned long long)s->n,
              s->ndbs);
}

static bool select_db(struct writer *w, uint32_t db)
{
    char num[16];
    snprintf(num, sizeof num, "%u", db);
    return target_must(w, &w->node, CALL_MS, "SELECT", num, NULL);
}

/* What came of one SCAN: remove the keys that are not marked. */
static bool remove_unmarked(struct writer *w, const redisReply *keys)
{
    struct sweep *s = &w->sweep;
    for (size_t i = 0; i < keys->elements; i++) {
        const redisReply *k = keys->element[i];
        s->scanned++;
        if (k->str == NULL || target_key_is_ours(k->str, k->len) ||
            marked(s, hash_of(s->dbs[s->at], (const uint8_t *)k->str, k->len)))
            continue;
        if (!target_delete(w, &w->node, CALL_MS, k->str, k->len))
            return false;
        s->removed++;
    }
    return true;
}

static void scan_step(struct writer *w)
{
    struct sweep *s = &w->sweep;
    struct node *n = &w->node;
    if (!select_db(w, s->dbs[s->at]))
        return;
    redisReply *r = target_call(n, CALL_MS, "SCAN", s->cursor, "COUNT", "500", NULL);
    if (r == NULL) {
        node_lose(n, "SCAN: %s", strerror(errno));
        return;
    }
    bool ok = r->type == REDIS_REPLY_ARRAY && r->elements == 2 && r->element[0]->str != NULL;
    if (ok && remove_unmarked(w, r->element[1])) {
        strlcpy(s->cursor, r->element[0]->str, sizeof s->cursor);
        s->at += strcmp(s->cursor, "0") == 0;
    } else if (!ok) {
        log_event(LOG_DEBUG, NO_FLOW, "event=scan_refused reply=%s",
                  log_quote(r->str != NULL ? r->str : "?", 1));
    }
    freeReplyObject(r);
    if (!n->lost)
        (void)select_db(w, n->db);
}

bool sweep_due(const struct writer *w, uint64_t now)
{
    const struct sweep *s = &w->sweep;
    if (s->state == SWEEP_OFF || w->session.stage != ST_RUN || w->failed || w->node.lost)
        return false;
    return s->state == SWEEP_MARKS ? positions_all_synced(&w->positions) : now >= s->next;
}

void sweep_step(struct writer *w)
{
    struct sweep *s = &w->sweep;
    struct node *n = &w->node;
    if (s->state == SWEEP_MARKS) {
        begin_scan(w);
        return;
    }
    if (s->at < s->ndbs)
        scan_step(w);
    s->next = mono_us() + EVERY;
    if (s->at < s->ndbs)
        return;
    log_event(LOG_WARN, NO_FLOW, "event=sweep_done scanned=%llu removed=%llu", (unsigned long long)s->scanned,
              (unsigned long long)s->removed);
    /* Until now a restart would have had to begin anew: see write_identity. */
    if ((n->db == 0 || select_db(w, 0)) &&
        target_must(w, n, CALL_MS, "HDEL", w->session.position_key, "sweep", NULL) &&
        (n->db == 0 || select_db(w, n->db))) {
        w->stats.swept += s->removed;
        sweep_free(s);
    }
}
