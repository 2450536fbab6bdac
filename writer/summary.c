#include "summary.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "buf.h"
#include "io.h"
#include "json.h"
#include "options.h"
#include "position/positions.h"

/* ---- latency: buckets of an eighth of a doubling ---- */

static unsigned bucket(uint64_t us)
{
    if (us < 8)
        return (unsigned)us;
    unsigned top = 63u - (unsigned)__builtin_clzll(us);
    unsigned b = (top - 2) * 8 + (unsigned)(us >> (top - 3) & 7);
    return b < LAT_BUCKETS ? b : LAT_BUCKETS - 1;
}

/* The least value above bucket b. */
static uint64_t bucket_end(unsigned b)
{
    if (b < 8)
        return b + 1;
    return (uint64_t)(8 + b % 8 + 1) << (b / 8 - 1);
}

void stats_latency(struct stats *s, uint64_t time, uint64_t now)
{
    if (time == 0)
        return;
    uint64_t us = now > time ? now - time : 0;
    s->latency[bucket(us)]++;
    s->latency_n++;
    if (us > s->latency_max)
        s->latency_max = us;
}

/* Latency below which permille of the live records stayed, in microseconds. */
static uint64_t percentile(const struct stats *s, unsigned permille)
{
    uint64_t want = (s->latency_n * permille + 999) / 1000, seen = 0;
    for (unsigned b = 0; b < LAT_BUCKETS; b++) {
        seen += s->latency[b];
        if (seen >= want && seen > 0) {
            uint64_t end = bucket_end(b);
            return end < s->latency_max ? end : s->latency_max;
        }
    }
    return 0;
}

/* ---- what both forms say ---- */

typedef unsigned long long ull;

static uint64_t all_keys(const struct stats *s)
{
    uint64_t n = 0;
    for (unsigned c = 0; c < CLASS_COUNT; c++)
        n += s->keys[c];
    return n;
}

static double seconds(const struct stats *s)
{
    return (double)(mono_us() - s->started) / 1e6;
}

struct number {
    const char *name;
    ull value;
};

#define NUMBERS 25

static void numbers(const struct told *t, struct number *v)
{
    const struct stats *s = t->stats;
    const struct number all[NUMBERS] = {
        {"records", s->records},         {"bytes_in", s->bytes_in},
        {"requests", s->requests},       {"bytes_out", s->bytes_out},
        {"keys", all_keys(s)},           {"live", s->live},
        {"mset_groups", s->msets},       {"exec_groups", s->groups},
        {"big_requests", s->big},        {"barriers", s->barriers},
        {"retries", s->retries},         {"reconnects", s->reconnects},
        {"uncertain", s->uncertain},     {"already", s->already},
        {"dropped", s->dropped},         {"errors", s->errors.total},
        {"reports", s->reports.total},   {"reports_lost", s->lost},
        {"spill_peak", t->spill_peak},   {"epoch", t->epoch},
        {"redirects", s->redirects},     {"programs", s->programs},
        {"doubtful", s->doubtful.total}, {"swept", s->swept},
        {"evicted", s->evicted},
    };
    memcpy(v, all, sizeof all);
}

/* ---- lines ---- */

static void line_kinds(const char *what, const struct kinds *k)
{
    for (unsigned i = 0; i < k->n; i++) {
        fprintf(stderr, "stage=rediswriter summary %s=\"%s\" count=%llu", what, k->kind[i].name,
                (ull)k->kind[i].count);
        for (unsigned j = 0; j < k->kind[i].nkeys; j++)
            fprintf(stderr, " key%u=%s", j + 1, k->kind[i].key[j]);
        fputc('\n', stderr);
    }
}

static void lines(const struct told *told)
{
    const struct stats *s = told->stats;
    struct number v[NUMBERS];
    double t = seconds(s);
    numbers(told, v);
    fprintf(
        stderr,
        "stage=rediswriter summary status=%d seconds=%.3f keys_per_second=%.0f requests_per_second=%.0f\n",
        told->status, t, (double)all_keys(s) / t, (double)s->requests / t);
    fputs("stage=rediswriter summary", stderr);
    for (unsigned i = 0; i < NUMBERS; i++)
        fprintf(stderr, " %s=%llu", v[i].name, v[i].value);
    fputs("\nstage=rediswriter summary keys", stderr);
    for (unsigned c = 1; c < CLASS_COUNT; c++)
        if (s->keys[c] > 0)
            fprintf(stderr, " %s=%llu", rec_class_name(c), (ull)s->keys[c]);
    fputc('\n', stderr);
    if (s->latency_n > 0)
        fprintf(stderr, "stage=rediswriter summary latency_us p50=%llu p99=%llu p999=%llu max=%llu n=%llu\n",
                (ull)percentile(s, 500), (ull)percentile(s, 990), (ull)percentile(s, 999),
                (ull)s->latency_max, (ull)s->latency_n);
    line_kinds("error", &s->errors);
    line_kinds("refusal", &s->refusals);
    line_kinds("report", &s->reports);
    line_kinds("may_count_twice", &s->doubtful);
    for (unsigned i = 0; i < told->positions->n; i++) {
        const struct flowpos *f = &told->positions->flow[i];
        fprintf(stderr, "stage=rediswriter summary flow=%u seq=%llu pos=%llu synced=%d\n", i, (ull)f->seq,
                (ull)f->pos, f->synced);
    }
}

/* ---- JSON ---- */

static void json_kinds(struct buf *b, const char *name, const struct kinds *k)
{
    (void)buf_addf(b, ",\n  \"%s\": [", name);
    for (unsigned i = 0; i < k->n; i++) {
        (void)buf_addf(b, "%s{\"kind\": ", i > 0 ? ", " : "");
        json_adds(b, k->kind[i].name);
        (void)buf_addf(b, ", \"count\": %llu, \"keys\": [", (ull)k->kind[i].count);
        for (unsigned j = 0; j < k->kind[i].nkeys; j++) {
            if (j > 0)
                (void)buf_addstr(b, ", ");
            json_adds(b, k->kind[i].key[j]);
        }
        (void)buf_addstr(b, "]}");
    }
    (void)buf_addstr(b, "]");
}

static void json(const struct told *told, struct buf *b)
{
    const struct stats *s = told->stats;
    struct number v[NUMBERS];
    double t = seconds(s);
    numbers(told, v);
    (void)buf_addf(b, "{\n  \"stage\": \"rediswriter\",\n  \"status\": %d,\n  \"seconds\": %.6f",
                   told->status, t);
    for (unsigned i = 0; i < NUMBERS; i++)
        (void)buf_addf(b, ",\n  \"%s\": %llu", v[i].name, v[i].value);
    (void)buf_addstr(b, ",\n  \"keys_by_class\": {");
    const char *sep = "";
    for (unsigned c = 1; c < CLASS_COUNT; c++, sep = ", ")
        (void)buf_addf(b, "%s\"%s\": %llu", sep, rec_class_name(c), (ull)s->keys[c]);
    (void)buf_addstr(b, "}");
    if (s->latency_n > 0)
        (void)buf_addf(
            b,
            ",\n  \"latency_us\": {\"n\": %llu, \"p50\": %llu, \"p99\": %llu, \"p999\": %llu, \"max\": %llu}",
            (ull)s->latency_n, (ull)percentile(s, 500), (ull)percentile(s, 990), (ull)percentile(s, 999),
            (ull)s->latency_max);
    json_kinds(b, "errors_by_kind", &s->errors);
    json_kinds(b, "refusals_by_kind", &s->refusals);
    json_kinds(b, "reports_by_kind", &s->reports);
    json_kinds(b, "may_count_twice", &s->doubtful);
    (void)buf_addstr(b, ",\n  \"flows\": [");
    for (unsigned i = 0; i < told->positions->n; i++)
        (void)buf_addf(b, "%s{\"seq\": %llu, \"pos\": %llu, \"synced\": %s}", i > 0 ? ", " : "",
                       (ull)told->positions->flow[i].seq, (ull)told->positions->flow[i].pos,
                       told->positions->flow[i].synced ? "true" : "false");
    (void)buf_addstr(b, "]\n}\n");
}

static int write_json(const char *file, const struct told *t)
{
    struct buf b = {0};
    FILE *f = io_fopen_own(file);
    if (f == NULL)
        return -1;
    json(t, &b);
    bool bad = fwrite(b.p, 1, b.len, f) != b.len;
    buf_free(&b);
    return fclose(f) != 0 || bad ? -1 : 0;
}

int summary_write(const struct options *opt, const struct told *t)
{
    if (!opt->quiet)
        lines(t);
    return opt->summary != NULL ? write_json(opt->summary, t) : 0;
}
