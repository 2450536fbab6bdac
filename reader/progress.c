#include "progress.h"

long progress_left(uint64_t done, uint64_t all, uint64_t us)
{
    if (done == 0 || all == 0 || done > all)
        return -1;
    return (long)((double)us / 1e6 * ((double)all / (double)done - 1));
}

static void add_left(struct buf *b, long seconds)
{
    if (seconds >= 600)
        (void)buf_addf(b, "  %ld min left", (seconds + 30) / 60);
    else if (seconds >= 0)
        (void)buf_addf(b, "  %ld s left", seconds);
}

void progress_text(const struct progress *p, struct buf *b)
{
    (void)buf_addf(b, "%s  flows %u/%u  synced %u  ", p->phase, p->up, p->flows, p->synced);
    if (p->keys > 0)
        (void)buf_addf(b, "%llu keys  ", (unsigned long long)p->keys);
    (void)buf_addf(b, "%.1f MB  %.1f MB/s", (double)p->bytes / 1e6, p->rate / 1e6);
    if (p->size > 0 && p->bytes <= p->size) {
        (void)buf_addf(b, "  %.0f %% of %.1f MB", 100.0 * (double)p->bytes / (double)p->size,
                       (double)p->size / 1e6);
        add_left(b, progress_left(p->bytes, p->size, p->us));
    } else if (p->all > 0 && p->keys > 0 && p->keys <= p->all) {
        (void)buf_addf(b, "  %.0f %% of %llu keys", 100.0 * (double)p->keys / (double)p->all,
                       (unsigned long long)p->all);
        add_left(b, progress_left(p->keys, p->all, p->us));
    }
    if (p->lag_known)
        (void)buf_addf(b, "  behind by %llu", (unsigned long long)p->lag);
    if (p->full)
        (void)buf_addstr(b, "  (output full)");
}
