#include "sent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bsd/string.h>

#include "buf.h"
#include "exits.h"
#include "io.h"
#include "log.h"
#include "program.h"
#include "request.h"
#include "writer.h"

#define PATH_ROOM 4096
#define TIMED_MAX 65536u

/* ---- the file ---- */

/* Another one after each start of the machine, when what was not synced may be gone. */
static void boot_id(char out[40])
{
    memset(out, 0, 40);
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, out, 36) : -1;
    if (n < 36)
        out[0] = '\0';
    if (fd >= 0)
        close(fd);
}

static bool path_of(const struct writer *w, const char *suffix, char out[PATH_ROOM])
{
    if (snprintf(out, PATH_ROOM, "%s.sent%s", w->opt.position_file, suffix) < PATH_ROOM)
        return true;
    errno = ENAMETOOLONG;
    return false;
}

static bool cannot(struct writer *w)
{
    writer_fail(w, EXIT_CANNOT, "event=sent_file file=%s.sent error=%s", w->opt.position_file,
                log_quote(strerror(errno), strlen(strerror(errno))));
    return false;
}

/* What a run before has left, if it belongs to the positions that the session goes on from. NULL: no; *why
 * says so. The caller frees it. */
static struct sent_file *left_behind(struct writer *w, const struct sent_file *now, const char **why)
{
    char path[PATH_ROOM];
    size_t size = sent_file_size((unsigned)now->flows);
    struct sent_file *f = xcalloc(1, size);
    int fd = path_of(w, "", path) ? io_open_own(path, O_RDONLY, 0) : -1;
    ssize_t n = fd >= 0 ? read(fd, f, size) : -1;
    if (fd >= 0)
        close(fd);
    *why = n < 0 ? "missing" : sent_file_unfit(f, (size_t)n, now, w->sent.from.id);
    if (*why == NULL)
        return f;
    free(f);
    return NULL;
}

/* The new file in place of the old one, whole, and mapped. */
static bool put_in_place(struct writer *w, const struct sent_file *f)
{
    char path[PATH_ROOM], tmp[PATH_ROOM];
    struct sent *s = &w->sent;
    if (!path_of(w, "", path) || !path_of(w, ".new", tmp))
        return cannot(w);
    int fd = io_open_new(tmp);
    if (fd < 0)
        return cannot(w);
    s->size = sent_file_size((unsigned)f->flows);
    void *p = MAP_FAILED;
    if (io_write_at(fd, f, s->size, 0) == 0 && rename(tmp, path) == 0)
        p = mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    bool ok = p != MAP_FAILED || cannot(w);
    close(fd);
    s->file = s->map = ok ? p : NULL;
    return ok;
}

static void unmap(struct sent *s)
{
    if (s->file != NULL)
        (void)munmap(s->map, s->size);
    s->file = NULL;
    free(s->span);
    s->span = NULL;
    if (s->timed.slot != NULL)
        hashset_free(&s->timed);
}

/* ---- what is to be named ---- */

static void name_earlier(struct writer *w, uint64_t n)
{
    static const char kind[] = "earlier run";
    log_event(LOG_WARN, NO_FLOW, "event=named_before requests=%llu note=%s", (unsigned long long)n,
              "\"may have counted twice, and the run that named them in its log has not reported it\"");
    kinds_add(&w->stats.doubtful, kind, sizeof kind - 1, n);
}

/* The session goes on: from where to where may records have been applied already? */
static void look_back(struct writer *w, struct sent_file *now)
{
    struct sent *s = &w->sent;
    const char *why;
    if (w->sent.from.over)
        return;
    struct sent_file *old = left_behind(w, now, &why);
    for (unsigned i = 0; i < now->flows; i++) {
        bool known = old != NULL && old->flow[i].vague == 0;
        s->span[i].until = known ? old->flow[i].pos : UINT64_MAX;
        now->flow[i].vague = !known;
        if (old != NULL && old->flow[i].pos > now->flow[i].pos)
            now->flow[i].pos = old->flow[i].pos;
    }
    if (old == NULL)
        log_event(LOG_WARN, NO_FLOW, "event=sent_unknown file=%s.sent reason=%s note=%s",
                  w->opt.position_file, why,
                  "\"every change that the master had when this session went on counts as repeated\"");
    else if (old->named > 0)
        name_earlier(w, now->named = old->named);
    free(old);
}

bool sent_begin(struct writer *w)
{
    struct sent *s = &w->sent;
    const struct session *ses = &w->session;
    unmap(s);
    if (w->cluster == NULL || w->exact.on || w->opt.position_file == NULL || !ses->journal || !ses->live)
        return true;
    char boot[40], id[SENT_ID];
    boot_id(boot);
    snprintf(id, sizeof id, "%s %u", ses->nonce, ses->epoch);
    struct sent_file *now = sent_file_new(boot, id, ses->flows);
    s->span = xcalloc(ses->flows, sizeof *s->span);
    for (unsigned i = 0; i < ses->flows; i++)
        now->flow[i].pos = s->span[i].at = w->positions.flow[i].pos;
    if (ses->going_on > 0) {
        strlcpy(now->before, s->from.id, sizeof now->before);
        look_back(w, now);
    }
    bool ok = put_in_place(w, now);
    free(now);
    for (unsigned i = 0; ok && s->head != NULL && s->head_epoch == ses->epoch && i < ses->flows; i++)
        if (s->head[i] > 0)
            sent_head(w, i, ses->epoch, s->head[i]);
    return ok;
}

void sent_head(struct writer *w, unsigned flow, unsigned epoch, uint64_t pos)
{
    struct sent *s = &w->sent;
    if (flow >= REC_FLOWS_MAX || pos == 0)
        return;
    if (s->file == NULL || w->session.epoch != epoch || w->session.stage != ST_RUN) {
        if (s->head == NULL)
            s->head = xcalloc(REC_FLOWS_MAX, sizeof *s->head);
        if (s->head_epoch != epoch)
            memset(s->head, 0, REC_FLOWS_MAX * sizeof *s->head);
        s->head_epoch = epoch;
        s->head[flow] = pos;
    }
    if (s->file == NULL || w->session.epoch != epoch || flow >= s->file->flows ||
        s->span[flow].until != UINT64_MAX)
        return;
    volatile struct sent_flow *f = &s->file->flow[flow];
    if (f->pos < pos)
        f->pos = pos;
    f->vague = s->span[flow].vague;
    s->span[flow].until = pos;
}

bool sent_over(const struct writer *w)
{
    const volatile struct sent_file *f = w->sent.file;
    for (unsigned i = 0; f != NULL && i < w->positions.n; i++)
        if (f->flow[i].vague != 0 || f->flow[i].pos > w->positions.flow[i].pos)
            return false;
    return true;
}

void sent_forget(struct writer *w)
{
    free(w->sent.head);
    w->sent.head = NULL;
}

void sent_end(struct writer *w)
{
    if (w->sent.file != NULL)
        w->sent.file->named = 0;
    unmap(&w->sent);
    sent_forget(w);
}

/* ---- naming ---- */

void sent_name(struct writer *w, unsigned flow, struct slice command, struct slice key, struct slice also)
{
    char more[320] = "";
    const struct kind *k = kinds_count(&w->stats.doubtful, (const char *)command.p, command.n, key.p, key.n);
    if (w->sent.file != NULL)
        w->sent.file->named++;
    if (also.p != NULL)
        snprintf(more, sizeof more, " also=%s", log_quote(also.p, also.n));
    log_event(k->count == 1 ? LOG_WARN : LOG_DEBUG, (int)flow, "event=may_count_twice command=%s key=%s%s",
              log_quote(command.p, command.n), log_quote(key.p, key.n), more);
}

static bool is(struct slice name, const char *word)
{
    return name.n == strlen(word) && strncasecmp((const char *)name.p, word, name.n) == 0;
}

static bool one_of(struct slice name, const char *const words[])
{
    for (; *words != NULL; words++)
        if (is(name, *words))
            return true;
    return false;
}

void sent_name_request(struct writer *w, unsigned flow, const uint8_t *request, size_t n, unsigned keyarg)
{
    static const char *const two[] = {"LMOVE", "RENAME", "RENAMENX", "RPOPLPUSH", "SMOVE", NULL};
    struct slice name = {0}, key = {0}, also = {0}, keys = {0};
    (void)request_arg(request, n, 0, &name);
    if (is(name, "COPY") && keyarg > 0) /* what it reads stays as it is */
        keyarg++;
    if (keyarg > 0)
        (void)request_arg(request, n, keyarg, &key);
    if (is(name, "EVAL") && request_arg(request, n, 2, &keys) && is(keys, "2"))
        (void)request_arg(request, n, 4, &also);
    else if (keyarg > 0 && one_of(name, two))
        (void)request_arg(request, n, keyarg + 1, &also);
    sent_name(w, flow, name, key, also);
}

/* Each key that steps of a program write. */
static void name_program(struct writer *w, const struct rec *r, const uint8_t *program)
{
    static const char *const reads[] = {"DUMP",     "EXISTS", "GET",    "GETRANGE",    "HGETALL",
                                        "LINDEX",   "LRANGE", "PTTL",   "PEXPIRETIME", "SISMEMBER",
                                        "SMEMBERS", "TYPE",   "ZRANGE", NULL};
    struct slice seen[PROGRAM_STEPS];
    unsigned n = 0, reg;
    struct step step;
    for (size_t at = 0; program_next(program, r->len, &at, &step);) {
        struct slice name = {0}, key = {0};
        size_t a = 0;
        bool whole = program_arg(&step, &a, &name, &reg);
        for (unsigned skip = is(name, "EVAL") ? 3 : 1; whole && skip > 0; skip--)
            whole = program_arg(&step, &a, &key, &reg);
        if (!whole || reg != 0 || one_of(name, reads))
            continue;
        unsigned i = 0;
        while (i < n && (seen[i].n != key.n || memcmp(seen[i].p, key.p, key.n) != 0))
            i++;
        if (i < n || n == PROGRAM_STEPS)
            continue;
        seen[n++] = key;
        sent_name(w, r->flow, name, key, (struct slice){0});
    }
}

/* IDEMPOTENT says that a request may be sent twice in a row. Here others stand between, and for most of these
 * that makes no difference: what they set, the last of them sets again. Not so for those that go by what
 * other keys hold, or by how much there is; and where a key vanished with its last member its expiry went as
 * well, but does not go now if later members are there already. */
static bool differs_in_a_row(struct writer *w, const struct rec *r, struct slice name, const uint8_t *request,
                             size_t n)
{
    static const char *const empties[] = {"HDEL", "SREM", "ZREM", "ZREMRANGEBYLEX", "ZREMRANGEBYSCORE", NULL};
    struct hashset *timed = &w->sent.timed;
    struct slice how = {0};
    uint32_t key = hashset_key(r->hash, r->db);
    if (is(name, "PFMERGE"))
        return true;
    if (is(name, "XTRIM"))
        return request_arg(request, n, 2, &how) && is(how, "MAXLEN");
    if (is(name, "PEXPIREAT")) {
        if (timed->slot == NULL)
            hashset_init(timed, TIMED_MAX);
        if (timed->count < TIMED_MAX)
            (void)hashset_add(timed, key);
        return !hashset_has(timed, key);
    }
    return timed->slot != NULL && one_of(name, empties) && hashset_has(timed, key);
}

void sent_name_repeat(struct writer *w, const struct rec *r, const uint8_t *payload, size_t n)
{
    struct slice name = {0};
    bool idempotent = (r->flags & RF_IDEMPOTENT) != 0;
    if (r->type == REC_PROGRAM) {
        if (!idempotent)
            name_program(w, r, payload);
        return;
    }
    if (request_shows_repeat(payload, n))
        return;
    (void)request_arg(payload, n, 0, &name);
    if (!idempotent || differs_in_a_row(w, r, name, payload, n))
        sent_name_request(w, r->flow, payload, n, r->keyarg);
}
