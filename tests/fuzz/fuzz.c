#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "../unit/canon.h"

void fuzz_failed(const char *what, const char *file, int line)
{
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

uint8_t *fuzz_exact(const void *p, size_t n)
{
    uint8_t *q = malloc(n > 0 ? n : 1);
    HOLDS(q != NULL);
    if (n > 0)
        memcpy(q, p, n);
    return q;
}

int fuzz_file(const void *data, size_t n)
{
    int fd = memfd_create("fuzz", MFD_CLOEXEC);
    HOLDS(fd >= 0 && pwrite(fd, data, n, 0) == (ssize_t)n);
    return fd;
}

void fuzz_target(struct target *t, unsigned choice, unsigned more)
{
    static const char *const targets[2][8] = {
        {"portable", "6.2", "7.0", "7.2", "7.4", "8.4", "valkey:9", "dragonfly:1.40"},
        {"4.0", "5.0", "6.0", "8.6", "8.8", "8.10", "valkey:8.1", "dragonfly:1.20"}};
    HOLDS(target_parse(t, targets[more & 1][choice & 7]));
    if ((more & 8) != 0)
        strcpy(t->modules, "bf,ReJSON");
    if ((more & 8) != 0 && (choice & 1) != 0 && t->kind != SERVER_DRAGONFLY)
        t->cluster = true;
    if ((more & 12) == 12)
        HOLDS(target_existing(t, (choice & 2) != 0 ? "skip" : "fail"));
}

static void rule(struct filter *s, const char *text, bool exclude)
{
    HOLDS(filter_add_rule(s, text, exclude) == NULL);
}

const struct filter *fuzz_filter(unsigned more)
{
    static struct filter s[3];
    if (!s[0].active) {
        rule(&s[0], "glob:*[q-s]?x*", true);
        rule(&s[0], "regex:^[a-z]", false);
        HOLDS(filter_add_rename(&s[0], "k=key:") == NULL);
        HOLDS(filter_add_dbs(&s[0], "0=3,1=0") == NULL);
        rule(&s[1], "type:string", false);
        rule(&s[1], "type:hash", false);
        rule(&s[1], "type:stream", false);
        rule(&s[1], "db:2", true);
        HOLDS(filter_add_rename(&s[2], "=new:") == NULL);
        rule(&s[2], "prefix:x", true);
    }
    return (more >> 1 & 3) != 0 ? &s[(more >> 1 & 3) - 1] : NULL;
}

void fuzz_emit(struct emit *e, uint8_t choice, unsigned more)
{
    static int fd = -1;
    if (fd < 0)
        fd = fuzz_file("", 0);
    HOLDS(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
    emit_init(e, fd, EMIT_RECORDS);
    fuzz_target(&e->target, choice, more);
    e->hints = (more & 8) != 0;
    e->now_ms = NOW_MS;
    e->restore_limit = (choice & 8) != 0 ? 0 : (choice & 16) != 0 ? 20 : (size_t)64 << 10;
    e->part_size = (choice & 32) != 0 ? 16 : (size_t)64 << 10;
    e->unsupported = (choice & 64) != 0 ? UNSUPPORTED_APPROXIMATE : UNSUPPORTED_REPORT;
    e->target.has_json = (choice & 128) != 0;
    if ((choice & 160) == 160)
        e->target.maxbulk = 40;
}

void fuzz_canon(struct emit *e, struct buf *out)
{
    HOLDS(emit_flush(e) == 0);
    off_t end = lseek(e->out.fd, 0, SEEK_END);
    uint8_t *p = malloc((size_t)end + 1);
    HOLDS(p != NULL && pread(e->out.fd, p, (size_t)end, 0) == end);
    const char *fault = canon(p, (size_t)end, out);
    if (fault != NULL)
        fuzz_failed(fault, "records", 0);
    free(p);
    emit_free(e);
}
