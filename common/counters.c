#include "counters.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "io.h"
#include "record.h"

/* ---- histogram ---- */

static unsigned bucket(uint64_t us)
{
    if (us < 8)
        return (unsigned)us;
    unsigned top = 63u - (unsigned)__builtin_clzll(us);
    unsigned b = (top - 2) * 8 + (unsigned)(us >> (top - 3) & 7);
    return b < HISTOGRAM_BUCKETS ? b : HISTOGRAM_BUCKETS - 1;
}

/* The least value above bucket b. */
static uint64_t bucket_end(unsigned b)
{
    if (b < 8)
        return b + 1;
    return (uint64_t)(8 + b % 8 + 1) << (b / 8 - 1);
}

void histogram_add(struct histogram *h, uint64_t us)
{
    h->bucket[bucket(us)]++;
    h->n++;
    h->sum += us;
    if (us > h->max)
        h->max = us;
}

uint64_t histogram_percentile(const struct histogram *h, unsigned permille)
{
    uint64_t want = (h->n * permille + 999) / 1000, seen = 0;
    for (unsigned b = 0; b < HISTOGRAM_BUCKETS; b++) {
        seen += h->bucket[b];
        if (seen >= want && seen > 0) {
            uint64_t end = bucket_end(b);
            return end < h->max ? end : h->max;
        }
    }
    return 0;
}

uint64_t histogram_below(const struct histogram *h, unsigned power)
{
    uint64_t n = 0;
    for (unsigned b = 0; b < (power - 2) * 8; b++)
        n += h->bucket[b];
    return n;
}

/* ---- the line ---- */

static void add(struct buf *b, const char *name, const char *end, unsigned long long value)
{
    char pair[96];
    int n = snprintf(pair, sizeof pair, " %s%s=%llu", name, end, value);
    if (n > 0 && (size_t)n < sizeof pair && b->len + (size_t)n <= COUNTERS_MAX)
        (void)buf_add(b, pair, (size_t)n);
}

void counters_begin(struct buf *b, const char *stage, int flow)
{
    b->len = 0;
    (void)buf_addf(b, "counters stage=%s", stage);
    if (flow >= 0)
        add(b, "flow", "", (unsigned)flow);
    add(b, "pid", "", (unsigned)getpid());
}

void counters_add(struct buf *b, const char *name, uint64_t value)
{
    add(b, name, "", value);
}

void counters_waited(struct buf *b, const struct waited *w)
{
    add(b, "waited_input", "_us", w->input);
    add(b, "waited_output", "_us", w->output);
}

void counters_keys(struct buf *b, const uint64_t *keys)
{
    uint64_t all = 0;
    for (unsigned c = CLASS_STRING; c < CLASS_COUNT; c++) {
        all += keys[c];
        if (keys[c] > 0)
            add(b, "keys.", rec_class_name(c), keys[c]);
    }
    add(b, "keys", "", all);
}

void counters_channel(struct buf *b, const char *name, int fd)
{
    int size = fd >= 0 ? fcntl(fd, F_GETPIPE_SZ) : -1;
    socklen_t n = sizeof size;
    long held =
        size > 0 || (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &n) == 0) ? io_unread(fd) : -1;
    if (held < 0 || size <= 0)
        return;
    add(b, name, "_bytes", (unsigned long)held);
    add(b, name, "_size_bytes", (unsigned)size);
}

void counters_histogram(struct buf *b, const char *name, const struct histogram *h)
{
    char sep = '=';
    add(b, name, "_count", h->n);
    add(b, name, "_sum_us", h->sum);
    if (b->len + (HISTOGRAM_LAST - HISTOGRAM_FIRST + 1) * 21 > COUNTERS_MAX)
        return;
    (void)buf_addf(b, " %s_below", name);
    for (unsigned k = HISTOGRAM_FIRST; k <= HISTOGRAM_LAST; k++, sep = ',')
        (void)buf_addf(b, "%c%llu", sep, (unsigned long long)histogram_below(h, k));
}

static uint64_t microseconds(struct timeval t)
{
    return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_usec;
}

static uint64_t resident(void)
{
    unsigned long pages = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f == NULL)
        return 0;
    int got = fscanf(f, "%*u %lu", &pages);
    (void)fclose(f);
    return got == 1 ? (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

void counters_process(struct buf *b)
{
    struct rusage use;
    if (getrusage(RUSAGE_SELF, &use) != 0)
        return;
    add(b, "resident", "_bytes", resident());
    add(b, "resident_peak", "_bytes", (uint64_t)use.ru_maxrss * 1024);
    add(b, "cpu_user", "_us", microseconds(use.ru_utime));
    add(b, "cpu_system", "_us", microseconds(use.ru_stime));
}
