#include "summary_table.h"

#include <stdio.h>

#include "exits.h"

#define KINDS_SHOWN 5 /* of each list; --summary has all */

typedef unsigned long long ull;

/* A number with a comma between each three digits. */
static const char *grouped(uint64_t n, char out[static 32])
{
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (ull)n);
    char *to = out;
    for (int i = 0; i < len; i++) {
        if (i > 0 && (len - i) % 3 == 0)
            *to++ = ',';
        *to++ = digits[i];
    }
    *to = '\0';
    return out;
}

static const char *outcome(int status)
{
    switch (status) {
    case EXIT_DONE: return "done";
    case EXIT_DATA: return "done, but the target does not have everything";
    case EXIT_PARTIAL: return "stopped before the full sync was complete";
    case EXIT_DAMAGED: return "the input is damaged or was cut short";
    case EXIT_RETRY: return "ended early; a retry may help";
    default: return "failed";
    }
}

static void row(struct buf *b, const char *name)
{
    (void)buf_addf(b, "  %-18s", name);
}

static void moved(const struct stats *s, struct buf *b)
{
    char n[32];
    uint64_t all = 0;
    const char *sep = " (";
    for (unsigned c = 0; c < CLASS_COUNT; c++)
        all += s->keys[c];
    row(b, "moved");
    (void)buf_addf(b, "%s keys", grouped(all, n));
    for (unsigned c = 1; c < CLASS_COUNT; c++) {
        if (s->keys[c] == 0)
            continue;
        (void)buf_addf(b, "%s%s %s", sep, grouped(s->keys[c], n), rec_class_name(c));
        sep = ", ";
    }
    (void)buf_addf(b, "%s, %s later changes\n", sep[0] == ',' ? ")" : "", grouped(s->live, n));
}

static void took(const struct stats *s, double seconds, struct buf *b)
{
    char n[32];
    double t = seconds > 0 ? seconds : 1e-6;
    row(b, "took");
    (void)buf_addf(b, "%.1f s: %.1f MB sent, %.1f MB/s, %s requests/s\n", seconds, (double)s->bytes_out / 1e6,
                   (double)s->bytes_out / 1e6 / t, grouped((uint64_t)((double)s->requests / t), n));
}

static void latency(const struct stats *s, struct buf *b)
{
    const struct histogram *h = &s->latency;
    if (h->n == 0)
        return;
    row(b, "latency");
    (void)buf_addf(b, "half of the changes within %.1f ms, 99 %% within %.1f ms, all within %.1f ms\n",
                   (double)histogram_percentile(h, 500) / 1e3, (double)histogram_percentile(h, 990) / 1e3,
                   (double)h->max / 1e3);
}

static void kinds(const char *name, const struct kinds *k, struct buf *b)
{
    char n[32];
    for (unsigned i = 0; i < k->n && i < KINDS_SHOWN; i++) {
        row(b, i == 0 ? name : "");
        (void)buf_addf(b, "%s: %s", grouped(k->kind[i].count, n), k->kind[i].name);
        for (unsigned j = 0; j < k->kind[i].nkeys; j++)
            (void)buf_addf(b, "%s%s", j == 0 ? ", as " : " ", k->kind[i].key[j]);
        (void)buf_addstr(b, "\n");
    }
    if (k->n > KINDS_SHOWN) {
        row(b, "");
        (void)buf_addf(b, "and %u further kinds\n", k->n - KINDS_SHOWN);
    }
}

static const char *advice(const struct stats *s, int status)
{
    if (s->evicted > 0)
        return "the target was full: raise its maxmemory or set maxmemory-policy noeviction, and begin anew";
    if (s->errors.total > 0)
        return "look at the keys above; --errors-to FILE keeps such requests, to be replayed";
    if (s->lost > 0)
        return "dfparse --report FILE lists everything that was not carried over";
    if (s->doubtful.total > 0)
        return "compare the keys above with the source: they may have counted twice";
    switch (status) {
    case EXIT_DONE: return NULL;
    case EXIT_PARTIAL: return "run it again: the target does not have everything yet";
    case EXIT_DAMAGED: return "make the input again; what came before the damage is at the target";
    case EXIT_RETRY: return "run it again; df2redis --restart replicate does that by itself";
    default: return "see the message above";
    }
}

void summary_table(const struct stats *s, int status, double seconds, struct buf *b)
{
    char n[32];
    (void)buf_addf(b, "rediswriter: %s (status %d)\n", outcome(status), status);
    moved(s, b);
    took(s, seconds, b);
    kinds("NOT APPLIED", &s->errors, b);
    kinds("NOT CARRIED OVER", &s->reports, b);
    kinds("MAY COUNT TWICE", &s->doubtful, b);
    if (s->evicted > 0) {
        row(b, "EVICTED");
        (void)buf_addf(b, "%s keys, by the target, to make room\n", grouped(s->evicted, n));
    }
    latency(s, b);
    if (s->retries + s->reconnects > 0) {
        row(b, "on the way");
        (void)buf_addf(b, "%llu retries, %llu reconnects\n", (ull)s->retries, (ull)s->reconnects);
    }
    const char *next = advice(s, status);
    if (next != NULL) {
        row(b, "next");
        (void)buf_addf(b, "%s\n", next);
    }
}
