#include "forget.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "../engine/exact.h"
#include "exits.h"
#include "log.h"
#include "resp.h"
#include "slot.h"
#include "../options.h"
#include "../outcome.h"
#include "../target/cluster.h"

#define DROP_FLOW (REC_FLOWS_MAX + 1) /* removing hashes belongs to no flow */

static void put_text(struct recout *o, unsigned type, const char *text)
{
    struct rec r = {.type = (uint8_t)type, .slot = REC_NO_SLOT, .epoch = 1};
    (void)recout_put(o, &r, text, strlen(text));
}

/* The slots' keys, or those of shares; the hash may be any that tells them apart. Returns how many. */
static unsigned put_slots(struct recout *o, const struct exact *x, bool cluster)
{
    struct buf b = {0};
    char key[EXACT_KEY_MAX];
    unsigned all = cluster ? SLOTS : SHARES * SHARED_DBS;
    for (unsigned slot = 0; slot < all; slot++) {
        struct rec r = {.type = REC_REQUEST,
                        .flags = RF_IDEMPOTENT,
                        .slot = cluster ? (uint16_t)slot : REC_NO_SLOT,
                        .epoch = 1,
                        .keyarg = 1,
                        .db = cluster ? 0 : slot / SHARES,
                        .hash = slot + 1,
                        .seq = slot + 1};
        b.len = 0;
        (void)resp_add_array(&b, 2);
        (void)resp_add_str(&b, "DEL");
        (void)resp_add_bulk(&b, key, exact_key(x, slot, key));
        (void)recout_put(o, &r, b.p, b.len);
    }
    buf_free(&b);
    return all;
}

int forget_stream(const struct exact *x, bool cluster)
{
    struct recout o;
    int fd = memfd_create("forget", MFD_CLOEXEC);
    if (fd < 0)
        return -1;
    recout_init(&o, fd, (size_t)64 << 10);
    int rc = recout_stream(&o, KIND_COMMAND);
    put_text(&o, REC_SESSION, "nonce=00000000000000000000000000000000\nsource=file\nflows=1\nepoch=1\n");
    put_text(&o, REC_TARGET,
             cluster ? "kind=portable\nversion=0\ncluster=1\n" : "kind=portable\nversion=0\ncluster=0\n");
    put_text(&o, REC_FLOW, "flow=0\nmode=FILE\n");
    unsigned keys = put_slots(&o, x, cluster);
    struct rec synced = {.type = REC_SYNCED, .slot = REC_NO_SLOT, .epoch = 1, .seq = keys + 1};
    (void)recout_put(&o, &synced, "", 0);
    put_text(&o, REC_END, "reason=complete\nstatus=0\n");
    if (rc < 0 || recout_flush(&o) < 0 || lseek(fd, 0, SEEK_SET) < 0) {
        int why = errno;
        close(fd);
        errno = why;
        fd = -1;
    }
    recout_free(&o);
    return fd;
}

void forget_files(const struct options *opt, struct outcome *outcome)
{
    const char *path = opt->forget_file;
    if (path == NULL || outcome->status != EXIT_DONE)
        return;
    if (unlink(path) < 0 && errno != ENOENT)
        outcome_fail(outcome, EXIT_CANNOT, "event=position_file file=%s error=%s",
                     log_quote(path, strlen(path)), log_quote(strerror(errno), strlen(strerror(errno))));
}

bool forget_slots(struct exact *x, struct cluster *cl)
{
    char key[EXACT_KEY_MAX];
    for (unsigned slot = 0; x->on && slot < SLOTS; slot++) {
        if (!x->slot[slot].written)
            continue;
        struct buf b = {.max = EXACT_HSET_MAX};
        (void)resp_add_array(&b, 2);
        (void)resp_add_str(&b, "DEL");
        (void)resp_add_bulk(&b, key, exact_key(x, slot, key));
        struct rec d = {.type = REC_REQUEST,
                        .flags = RF_IDEMPOTENT,
                        .flow = DROP_FLOW,
                        .slot = (uint16_t)slot,
                        .keyarg = 1,
                        .db = cl->nodes.slots ? 0 : slot / SHARES,
                        .hash = slot, /* it tells them apart, and nothing else is under way */
                        .len = (uint32_t)b.len};
        bool put = cluster_put_own(cl, &d, b.p, 0) == PUT_DONE;
        buf_free(&b);
        if (!put)
            return false;
        x->slot[slot].written = false;
    }
    return true;
}
