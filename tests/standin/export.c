/*
 * The generated keys as files: a Dragonfly snapshot file, RESP for `redis-cli --pipe`, and a
 * capture directory, so that benchmarks can serve flows that cost nothing to make.
 */
#include "standin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FLUSH_BYTES ((size_t)1 << 20)

static FILE *file_open(const char *path)
{
    FILE *f = strcmp(path, "-") ? fopen(path, "wb") : stdout;
    if (!f)
        complain("%s: %s", path, strerror(errno));
    return f;
}

/* Returns an exit status; also finds what write errors there were. */
static int file_close(FILE *f, const char *path)
{
    bool bad = fflush(f) != 0 || ferror(f);
    if (f != stdout && fclose(f) != 0)
        bad = true;
    if (bad)
        complain("%s: cannot write", path);
    return bad ? 1 : 0;
}

static void file_put(FILE *f, struct buf *b)
{
    if (b->len)
        fwrite(b->p, 1, b->len, f);
    b->len = 0;
}

static void big_out(FILE *f, const struct dataset *d, bool resp)
{
    struct buf b = {0};
    if (!opt.big_value)
        return;
    if (!resp)
        buf_put(&b, "\xfe\x00", 2);
    big_head(&b, resp);
    for (uint64_t at = 0; at < opt.big_value;) {
        at += big_part(d, &b, at);
        file_put(f, &b);
    }
    if (resp)
        fputs("\r\n", f);
    buf_free(&b);
}

static void dfs_keys(FILE *f, struct dataset *d, unsigned flow, struct packer *packer)
{
    struct buf raw = {0}, packed = {0};
    uint64_t keys = dataset_flow_keys(flow);
    for (uint64_t k = 0; k < keys;) {
        raw.len = 0;
        buf_put(&raw, "\xfe\x00", 2);
        for (; k < keys && raw.len < BLOB_SIZE; k++)
            rdb_key_value(d, &raw, k * opt.flows + flow);
        const struct buf *b = packer_pack(packer, &raw, &packed);
        fwrite(b->p, 1, b->len, f);
    }
    buf_free(&raw);
    buf_free(&packed);
}

int export_dfs(const char *path)
{
    struct dataset d;
    struct buf b = {0};
    FILE *f = file_open(path);
    if (!f)
        return 1;
    dataset_init(&d);
    struct packer *packer = packer_new();
    snapshot_header(&b, 0, true);
    file_put(f, &b);
    big_out(f, &d, false);
    for (unsigned i = 0; i < opt.flows; i++)
        dfs_keys(f, &d, i, packer);
    buf_byte(&b, 0xff);
    buf_le(&b, 0, 8);
    file_put(f, &b);
    buf_free(&b);
    packer_free(packer);
    dataset_free(&d);
    return file_close(f, path);
}

static void resp_words(struct buf *b, const struct words *w)
{
    buf_array(b, w->argc);
    for (size_t i = 0; i < w->argc; i++)
        buf_bulk(b, w->argv[i], w->len[i]);
}

/* The journal in an order that gives the same end: flows touch different keys, so only the
 * FLUSHALL has to keep its place between them. */
static void resp_journal(FILE *f, const struct dataset *d, bool after_flush)
{
    struct words w = {0};
    struct buf b = {0};
    for (unsigned flow = 0; flow < opt.flows; flow++) {
        uint64_t flush = plan_flush_entry(flow), all = plan_entries(flow);
        uint64_t from = after_flush ? flush + 1 : 0;
        uint64_t to = after_flush || flush > all ? all : flush;
        for (uint64_t e = from; e < to; e++) {
            struct live_op op = plan_op(flow, e);
            live_command(d, &op, &w);
            resp_words(&b, &w);
            if (b.len >= FLUSH_BYTES)
                file_put(f, &b);
        }
    }
    file_put(f, &b);
    buf_free(&b);
    words_free(&w);
}

int export_resp(const char *path)
{
    struct dataset d;
    struct buf b = {0};
    FILE *f = file_open(path);
    if (!f)
        return 1;
    dataset_init(&d);
    big_out(f, &d, true);
    for (unsigned flow = 0; flow < opt.flows; flow++) {
        uint64_t keys = dataset_flow_keys(flow);
        for (uint64_t k = 0; k < keys; k++) {
            key_resp(&d, &b, k * opt.flows + flow);
            if (b.len >= FLUSH_BYTES)
                file_put(f, &b);
        }
    }
    file_put(f, &b);
    if (opt.with_journal)
        resp_journal(f, &d, false);
    if (opt.with_journal && opt.has_flush_at) {
        fputs("*1\r\n$8\r\nFLUSHALL\r\n", f);
        resp_journal(f, &d, true);
    }
    buf_free(&b);
    dataset_free(&d);
    return file_close(f, path);
}

/* ---- capture directory ---- */

struct recording {
    const char *dir;
    char replid[REPLID_LEN + 1];
    FILE *timeline;
    uint64_t pre[MAX_FLOWS], all[MAX_FLOWS], lsn[MAX_FLOWS];
};

static FILE *wire_open(const struct recording *r, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", r->dir, name);
    return file_open(path);
}

static int write_text(const struct recording *r, const char *name, const struct buf *text)
{
    FILE *f = wire_open(r, name);
    if (!f)
        return 1;
    fwrite(text->p, 1, text->len, f);
    return file_close(f, name);
}

static uint64_t write_chunks(FILE *f, struct source *s, enum phase phase)
{
    struct chunk c;
    int64_t wake = NEVER;
    uint64_t n = 0;
    while (s->ops->next(s, phase, 0, &c, &wake)) {
        fwrite(c.p, 1, c.len, f);
        n += c.len;
    }
    return n;
}

static int write_flow(struct recording *r, struct generator *g, unsigned flow)
{
    struct flow_start start = {0};
    char name[64], line[160];
    struct buf text = {0};
    generator_start(g, 1, flow, &start);
    snprintf(line, sizeof line, "DFLY FLOW %s SYNC1 %u\r\n", r->replid, flow);
    buf_text(&text, line);
    snprintf(name, sizeof name, "wire/%02u.c2s", flow + 1);
    int status = write_text(r, name, &text);
    buf_free(&text);
    snprintf(name, sizeof name, "wire/%02u.s2c", flow + 1);
    FILE *f = status ? NULL : wire_open(r, name);
    if (f) {
        r->pre[flow] = (uint64_t)fprintf(f, "*2\r\n+FULL\r\n+%s\r\n", start.token);
        r->pre[flow] += write_chunks(f, start.source, PHASE_SNAPSHOT);
        r->all[flow] = r->pre[flow] + write_chunks(f, start.source, PHASE_STABLE);
        r->lsn[flow] = start.source->ops->next_lsn(start.source);
        status = file_close(f, name);
    }
    start.source->ops->close(start.source);
    return f ? status : 1;
}

static int write_control(const struct recording *r, uint64_t *startstable, uint64_t *end)
{
    char line[256];
    struct buf text = {0};
    buf_text(&text, "PING\r\nREPLCONF listening-port 16380\r\nREPLCONF capa eof capa psync2\r\n"
                    "REPLCONF capa dragonfly\r\nREPLCONF CLIENT-VERSION 4\r\nDFLY SYNC SYNC1\r\n");
    *startstable = text.len;
    buf_text(&text, "DFLY STARTSTABLE SYNC1\r\n");
    *end = text.len;
    int status = write_text(r, "wire/00.c2s", &text);
    text.len = 0;
    buf_text(&text, "+PONG\r\n+OK\r\n+OK\r\n");
    snprintf(line, sizeof line, "*5\r\n+%s\r\n+SYNC1\r\n:%u\r\n:5\r\n+%s\r\n", r->replid, (unsigned)opt.flows,
             r->replid);
    buf_text(&text, line);
    buf_text(&text, "+OK\r\n+OK\r\n+OK\r\n");
    if (!status)
        status = write_text(r, "wire/00.s2c", &text);
    buf_free(&text);
    return status;
}

/* As one long read before STARTSTABLE and one after it. */
static int write_timeline(const struct recording *r, uint64_t startstable, uint64_t end)
{
    FILE *f = wire_open(r, "wire/timeline.tsv");
    if (!f)
        return 1;
    fputs("seconds\tconn\tdir\toffset\tlength\n", f);
    fprintf(f, "0.0\t0\tc2s\t0\t%llu\n", (unsigned long long)startstable);
    for (unsigned i = 0; i < opt.flows; i++)
        fprintf(f, "1.0\t%u\ts2c\t0\t%llu\n", i + 1, (unsigned long long)r->pre[i]);
    fprintf(f, "2.0\t0\tc2s\t%llu\t%llu\n", (unsigned long long)startstable,
            (unsigned long long)(end - startstable));
    for (unsigned i = 0; i < opt.flows; i++)
        fprintf(f, "3.0\t%u\ts2c\t%llu\t%llu\n", i + 1, (unsigned long long)r->pre[i],
                (unsigned long long)(r->all[i] - r->pre[i]));
    return file_close(f, "wire/timeline.tsv");
}

static int write_meta(const struct recording *r)
{
    FILE *f = wire_open(r, "meta.json");
    if (!f)
        return 1;
    fprintf(f,
            "{\n \"version\": \"%s\",\n \"note\": \"made by standin --write-capture\",\n "
            "\"final_lsn_per_flow\": [",
            opt.df_version);
    for (unsigned i = 0; i < opt.flows; i++)
        fprintf(f, "%s%llu", i ? ", " : "", (unsigned long long)r->lsn[i]);
    fputs("]\n}\n", f);
    return file_close(f, "meta.json");
}

int export_capture(const char *dir)
{
    struct recording *r = grab(sizeof *r);
    char wire[4096];
    uint64_t startstable, end;
    int status = 0;
    r->dir = dir;
    if (opt.replid)
        snprintf(r->replid, sizeof r->replid, "%s", opt.replid);
    else
        hex40(r->replid, opt.seed, 0x7265706c);
    snprintf(wire, sizeof wire, "%s/wire", dir);
    if ((mkdir(dir, 0777) != 0 && errno != EEXIST) || (mkdir(wire, 0777) != 0 && errno != EEXIST)) {
        complain("%s: %s", wire, strerror(errno));
        status = 1;
    }
    opt.journal_rate = 0; /* all of it at once */
    struct generator *g = generator_new();
    for (unsigned i = 0; !status && i < opt.flows; i++)
        status = write_flow(r, g, i);
    if (!status)
        status = write_control(r, &startstable, &end);
    if (!status)
        status = write_timeline(r, startstable, end);
    if (!status)
        status = write_meta(r);
    generator_free(g);
    free(r);
    return status;
}
