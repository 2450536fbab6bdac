/*
 * Loads a recorded session: DIR/wire/NN.c2s and NN.s2c are the two directions of connection NN,
 * timeline.tsv says in which order they were read.  Found out here: which connection was which
 * flow of which session, and where in each flow the cut, STARTSTABLE and the journal are.
 */
#include "standin.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
    const char *p; /* NULL: no such file */
    size_t len;
};

static struct file file_map(const char *dir, const char *name)
{
    char path[4096];
    struct file f = {0};
    snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0)
        return f;
    if (fstat(fd, &st) == 0) {
        f.len = (size_t)st.st_size;
        f.p = "";
        if (f.len) {
            void *p = mmap(NULL, f.len, PROT_READ, MAP_PRIVATE, fd, 0);
            if (p == MAP_FAILED)
                f = (struct file){0};
            else
                f.p = p;
        }
    }
    close(fd);
    return f;
}

static void file_unmap(struct file f)
{
    if (f.len)
        munmap((void *)(uintptr_t)f.p, f.len);
}

static struct file file_wire(const char *dir, unsigned conn, const char *way)
{
    char name[64];
    snprintf(name, sizeof name, "wire/%02u.%s", conn, way);
    return file_map(dir, name);
}

static size_t find(struct file f, const char *needle)
{
    const char *hit = f.p ? memmem(f.p, f.len, needle, strlen(needle)) : NULL;
    return hit ? (size_t)(hit - f.p) : SIZE_MAX;
}

/* The line of text at an offset, without its end, NUL-terminated and cut to the room there is. */
static void line_at(struct file f, size_t at, char *out, size_t room)
{
    size_t n = 0;
    while (at + n < f.len && f.p[at + n] != '\r' && f.p[at + n] != '\n' && n + 1 < room)
        n++;
    memcpy(out, f.p + at, n);
    out[n] = '\0';
}

/* How much of flow `conn` had been recorded when the control connection sent STARTSTABLE. */
static size_t sent_before(struct file timeline, unsigned control, size_t startstable, unsigned conn)
{
    size_t at = 0, best = 0;
    char line[128];
    while (at < timeline.len) {
        unsigned who;
        char way[8];
        size_t offset, len;
        line_at(timeline, at, line, sizeof line);
        at += strlen(line) + 1;
        if (sscanf(line, "%*s %u %7s %zu %zu", &who, way, &offset, &len) != 4)
            continue;
        if (who == control && !strcmp(way, "c2s") && offset <= startstable && startstable < offset + len)
            break;
        if (who == conn && !strcmp(way, "s2c"))
            best = offset + len;
    }
    return best;
}

/* Opcode 211 ends the entry, or what it decompresses to: the flow's next LSN. */
static bool journal_offset(const uint8_t *p, size_t n, uint64_t *lsn)
{
    struct buf plain = {0};
    if (n && (p[0] == 0xc9 || p[0] == 0xca)) {
        if (!inflate_blob(p, n, &plain))
            plain.len = 0;
        p = plain.p;
        n = plain.len;
    }
    bool found = n >= 9 && p[n - 9] == 0xd3;
    *lsn = 0;
    for (unsigned i = 0; found && i < 8; i++)
        *lsn |= (uint64_t)p[n - 8 + i] << (8 * i);
    buf_free(&plain);
    return found;
}

/* Walks on from a supposed end of the cut; true if it leads to opcode 211, EOF and the token. */
static bool leads_to_token(struct rec_flow *f, size_t from)
{
    size_t at = from, step, last = 0;
    f->whole_entries = at == f->pre_end;
    while ((step = walk_after_cut(f->data + at, f->len - at)) != 0) {
        at += step;
        last = step;
        if (at == f->pre_end)
            f->whole_entries = true;
    }
    const uint8_t *p = f->data + at;
    if (f->len - at < 9 + TOKEN_LEN || p[0] != 0xff || memcmp(p + 9, f->token, TOKEN_LEN) != 0)
        return false;
    if (!journal_offset(p - last, last, &f->first_lsn))
        return false;
    f->cut_end = from;
    f->switch_end = at + 9 + TOKEN_LEN;
    return true;
}

/* Opcode 200 and eight zero bytes may occur inside values too, so each place is tried. */
static bool find_cut(struct rec_flow *f)
{
    static const uint8_t cut[9] = {0xc8};
    size_t at = f->reply_end;
    for (;;) {
        const uint8_t *hit = memmem(f->data + at, f->pre_end - at, cut, sizeof cut);
        if (!hit)
            return false;
        at = (size_t)(hit - f->data) + sizeof cut;
        if (leads_to_token(f, at))
            return true;
        at -= sizeof cut - 1;
    }
}

static bool flow_borders(struct rec_flow *f, uint64_t asked)
{
    if (f->partial) {
        f->cut_end = f->pre_end = f->switch_end = f->reply_end;
        f->first_lsn = asked;
    } else if (!find_cut(f)) {
        return false;
    } else if (f->pre_end > f->switch_end) {
        f->pre_end = f->cut_end; /* no timeline */
    }
    f->end_lsn = f->first_lsn;
    walk_journal(f->data + f->switch_end, f->len - f->switch_end, &f->end_lsn, UINT64_MAX);
    return true;
}

/* The reply to DFLY FLOW at the head of the recording. */
static bool flow_reply(struct rec_flow *f)
{
    const char *p = (const char *)f->data;
    char kind[16];
    int used = 0;
    char head[96];
    size_t n = f->len < sizeof head - 1 ? f->len : sizeof head - 1;
    memcpy(head, p, n);
    head[n] = '\0';
    if (sscanf(head, "*2 +%15s +%40[0-9a-f]%n", kind, f->token, &used) != 2)
        return false;
    f->reply_end = (size_t)used + 2;
    f->partial = !strcmp(kind, "PARTIAL");
    return strlen(f->token) == TOKEN_LEN && f->reply_end <= f->len;
}

static bool load_flow(struct capture *c, const char *dir, unsigned conn, const char *order, struct file data)
{
    char sync[32];
    unsigned id;
    bool known = sscanf(order, "DFLY FLOW %*s %31s %u", sync, &id) == 2;
    for (unsigned i = 0; known && i < c->sessions; i++) {
        struct rec_session *s = &c->session[i];
        if (strcmp(s->sync, sync) != 0 || id >= s->flows)
            continue;
        struct rec_flow *f = &s->flow[id];
        f->data = (const uint8_t *)data.p;
        f->len = data.len;
        if (!flow_reply(f)) {
            complain("%s: %02u.s2c does not begin with a reply to DFLY FLOW", dir, conn);
            return false;
        }
        return true;
    }
    complain("%s: %02u.c2s belongs to no recorded session", dir, conn);
    return false;
}

/* A control connection's greeting: 3, 4 or 5 elements, the first session's becomes ours. */
static bool load_control(struct capture *c, const char *dir, unsigned conn, struct file s2c)
{
    char text[256] = "", lineage[REPLID_LEN + 1] = "", replid[REPLID_LEN + 1] = "";
    size_t at = find(s2c, "\r\n*");
    unsigned elements = 0, version = 0;
    struct rec_session *s = &c->session[c->sessions];
    if (at != SIZE_MAX) {
        size_t n = s2c.len - at - 2 < sizeof text - 1 ? s2c.len - at - 2 : sizeof text - 1;
        memcpy(text, s2c.p + at + 2, n);
    }
    int got = sscanf(text, "*%u +%40[0-9a-f] +%31s :%u :%u +%40[0-9a-f]", &elements, replid, s->sync,
                     &s->flows, &version, lineage);
    if (got < 4 || s->flows == 0 || s->flows > MAX_FLOWS ||
        c->sessions == sizeof c->session / sizeof *c->session) {
        complain("%s: %02u.s2c holds no reply to REPLCONF capa dragonfly", dir, conn);
        return false;
    }
    s->flow = grab(s->flows * sizeof *s->flow);
    if (c->sessions++ == 0) {
        snprintf(c->replid, sizeof c->replid, "%s", replid);
        snprintf(c->lineage, sizeof c->lineage, "%s", *lineage ? lineage : replid);
        c->greeting = elements;
        c->version_int = version;
        if (sscanf(s->sync, "SYNC%u", &c->first_sync) != 1)
            c->first_sync = 1;
    }
    return true;
}

/* After all flows are known: their borders, by the timeline. */
static bool load_borders(struct capture *c, const char *dir, unsigned conns)
{
    struct file timeline = file_map(dir, "wire/timeline.tsv");
    unsigned session = UINT32_MAX, control = 0;
    size_t startstable = SIZE_MAX;
    bool ok = true;
    for (unsigned conn = 0; ok && conn < conns; conn++) {
        struct file c2s = file_wire(dir, conn, "c2s");
        char order[256];
        line_at(c2s, 0, order, sizeof order);
        if (strncmp(order, "DFLY FLOW", 9) != 0) {
            session++;
            control = conn;
            startstable = find(c2s, "DFLY STARTSTABLE");
        } else {
            unsigned id = 0;
            unsigned long long lsn = 0;
            sscanf(order, "DFLY FLOW %*s %*s %u %llu", &id, &lsn);
            struct rec_flow *f = &c->session[session].flow[id];
            f->pre_end = sent_before(timeline, control, startstable, conn);
            if (f->pre_end < f->reply_end || f->pre_end > f->len)
                f->pre_end = f->len;
            ok = flow_borders(f, lsn);
            if (!ok)
                complain("%s: %02u.s2c: no cut, or no EOF token after it", dir, conn);
        }
        file_unmap(c2s);
    }
    file_unmap(timeline);
    return ok;
}

static void load_df_version(struct capture *c)
{
    const struct rec_flow *f = &c->session[0].flow[0];
    size_t n = f->len - f->reply_end < 512 ? f->len - f->reply_end : 512;
    const char *p = (const char *)f->data + f->reply_end;
    const char *hit = memmem(p, n,
                             "\x06"
                             "df-ver",
                             7);
    snprintf(c->df_version, sizeof c->df_version, "df-v1.26.0"); /* older ones do not say */
    if (hit && (size_t)(hit - p) + 8 < n) {
        size_t len = (unsigned char)hit[7];
        if (len < sizeof c->df_version && (size_t)(hit - p) + 8 + len <= n)
            snprintf(c->df_version, sizeof c->df_version, "%.*s", (int)len, hit + 8);
    }
}

/* "dbs": "0,1" of meta.json; db 0 where that says nothing. */
static void load_dbs(struct capture *c, const char *dir)
{
    struct file f = file_map(dir, "meta.json");
    size_t at = find(f, "\"dbs\": \"");
    snprintf(c->dbs, sizeof c->dbs, "0");
    if (at != SIZE_MAX && at + 8 < f.len) {
        line_at(f, at + 8, c->dbs, sizeof c->dbs);
        c->dbs[strspn(c->dbs, "0123456789,")] = '\0';
    }
    file_unmap(f);
}

/* Reads the connections in order; a flow's control connection has the lower number. */
static unsigned load_connections(struct capture *c, const char *dir, bool *ok)
{
    unsigned conn = 0;
    for (*ok = true; *ok; conn++) {
        struct file c2s = file_wire(dir, conn, "c2s"), s2c = file_wire(dir, conn, "s2c");
        char order[256] = "";
        if (!c2s.p || !s2c.p)
            break;
        line_at(c2s, 0, order, sizeof order);
        if (!strncmp(order, "DFLY FLOW", 9)) {
            *ok = load_flow(c, dir, conn, order, s2c); /* stays mapped */
        } else {
            *ok = load_control(c, dir, conn, s2c);
            file_unmap(s2c);
        }
        file_unmap(c2s);
    }
    return conn;
}

struct capture *capture_load(const char *dir)
{
    struct capture *c = grab(sizeof *c);
    bool ok;
    unsigned conns = load_connections(c, dir, &ok);
    if (ok && c->sessions == 0) {
        complain("%s: no recorded session (no wire/00.c2s)", dir);
        ok = false;
    }
    for (unsigned i = 0; ok && i < c->session[0].flows; i++) {
        if (c->session[0].flow[i].data)
            continue;
        complain("%s: flow %u is not in the recording", dir, i);
        ok = false;
    }
    if (ok)
        ok = load_borders(c, dir, conns);
    if (!ok) {
        capture_free(c);
        return NULL;
    }
    load_df_version(c);
    load_dbs(c, dir);
    return c;
}

void capture_free(struct capture *c)
{
    if (!c)
        return;
    for (unsigned s = 0; s < c->sessions; s++) {
        for (unsigned i = 0; i < c->session[s].flows; i++) {
            struct rec_flow *f = &c->session[s].flow[i];
            file_unmap((struct file){(const char *)f->data, f->len});
        }
        free(c->session[s].flow);
    }
    free(c);
}
