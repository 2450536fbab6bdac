#include <ctype.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <unistd.h>

#include "test.h"

#include "../../common/log.h"
#include "../../common/meta.h"
#include "../../common/program.h"
#include "../../common/record.h"
#include "../../common/resp.h"
#include "../../common/slot.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static unsigned passed, failed_checks;

static bool count(bool ok)
{
    if (ok)
        passed++;
    else
        failed_checks++;
    return ok;
}

bool test_true(bool ok, const char *what, const char *file, int line)
{
    if (!count(ok))
        printf("%s:%d: false: %s\n", file, line, what);
    return ok;
}

bool test_u64(uint64_t got, uint64_t want, const char *what, const char *file, int line)
{
    if (!count(got == want))
        printf("%s:%d: %s\n  got  %llu (0x%llx)\n  want %llu (0x%llx)\n", file, line, what,
               (unsigned long long)got, (unsigned long long)got, (unsigned long long)want,
               (unsigned long long)want);
    return got == want;
}

bool test_i64(int64_t got, int64_t want, const char *what, const char *file, int line)
{
    if (!count(got == want))
        printf("%s:%d: %s\n  got  %lld\n  want %lld\n", file, line, what, (long long)got, (long long)want);
    return got == want;
}

bool test_str(const char *got, const char *want, const char *what, const char *file, int line)
{
    bool ok = got != NULL && want != NULL ? strcmp(got, want) == 0 : got == want;
    if (!count(ok))
        printf("%s:%d: %s\n-- got:\n%s\n-- want:\n%s\n--\n", file, line, what, got != NULL ? got : "(null)",
               want != NULL ? want : "(null)");
    return ok;
}

static void show(const char *name, const uint8_t *p, size_t n)
{
    printf("  %s (%zu bytes) ", name, n);
    for (size_t i = 0; i < n && i < 200; i++)
        printf("%02x ", p[i]);
    printf("%s\n", n > 200 ? "..." : "");
}

bool test_mem(const void *got, size_t n, const void *want, size_t wn, const char *what, const char *file,
              int line)
{
    bool ok = n == wn && (n == 0 || memcmp(got, want, n) == 0);
    if (!count(ok)) {
        printf("%s:%d: %s\n", file, line, what);
        show("got ", got, n);
        show("want", want, wn);
    }
    return ok;
}

bool test_hex(const void *got, size_t n, const char *hextext, const char *what, const char *file, int line)
{
    struct buf b = hex(hextext);
    bool ok = test_mem(got, n, b.p, b.len, what, file, line);
    buf_free(&b);
    return ok;
}

int test_done(void)
{
    printf("%u passed, %u failed\n", passed, failed_checks);
    return failed_checks > 0;
}

/* ---- bytes ---- */

static int nibble(char c)
{
    if (!isxdigit((unsigned char)c)) {
        fprintf(stderr, "bad hex digit '%c' in a test\n", c);
        abort();
    }
    return isdigit((unsigned char)c) ? c - '0' : (c | 32) - 'a' + 10;
}

void add_hex(struct buf *b, const char *text)
{
    for (const char *p = text; *p != '\0';) {
        if (*p == ' ' || *p == '|' || *p == '\n') {
            p++;
        } else if (*p == '\'') {
            const char *end = strchr(p + 1, '\'');
            (void)buf_add(b, p + 1, (size_t)(end - p - 1));
            p = end + 1;
        } else {
            uint8_t v = (uint8_t)(nibble(p[0]) * 16 + nibble(p[1]));
            (void)buf_add(b, &v, 1);
            p += 2;
        }
    }
}

struct buf hex(const char *text)
{
    struct buf b = {0};
    (void)buf_room(&b, 1);
    add_hex(&b, text);
    return b;
}

uint8_t *exact(const void *p, size_t n)
{
    uint8_t *q = malloc(n > 0 ? n : 1);
    if (q == NULL)
        abort();
    if (n > 0)
        memcpy(q, p, n);
    return q;
}

void add_plen(struct buf *b, uint64_t v)
{
    uint8_t t[9];
    size_t n = 0;
    if (v < 64) {
        t[n++] = (uint8_t)v;
    } else if (v < 16384) {
        t[n++] = (uint8_t)(0x40 | v >> 8);
        t[n++] = (uint8_t)v;
    } else {
        bool wide = v > UINT32_MAX;
        t[n++] = wide ? 0x81 : 0x80;
        for (int shift = wide ? 56 : 24; shift >= 0; shift -= 8)
            t[n++] = (uint8_t)(v >> shift);
    }
    (void)buf_add(b, t, n);
}

void add_pstr(struct buf *b, const void *p, size_t n)
{
    add_plen(b, n);
    (void)buf_add(b, p, n);
}

void add_le(struct buf *b, uint64_t v, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++) {
        uint8_t c = (uint8_t)(v >> (8 * i));
        (void)buf_add(b, &c, 1);
    }
}

void add_entry(struct buf *b, unsigned op, uint64_t txid, const struct slice *argv, size_t argc)
{
    uint8_t c = (uint8_t)op;
    size_t total = 0;
    for (size_t i = 0; i < argc; i++)
        total += argv[i].n;
    (void)buf_add(b, &c, 1);
    add_plen(b, txid);
    add_plen(b, 1);
    add_plen(b, argc);
    add_plen(b, total);
    for (size_t i = 0; i < argc; i++)
        add_pstr(b, argv[i].p, argv[i].n);
}

void add_command(struct buf *b, uint64_t txid, const char *line)
{
    struct slice argv[64];
    size_t argc = 0;
    for (const char *p = line; *p != '\0' && argc < 64;) {
        size_t n = strcspn(p, " ");
        argv[argc++] = (struct slice){(const uint8_t *)p, n};
        p += n + (p[n] == ' ');
    }
    add_entry(b, 10, txid, argv, argc);
}

void filter_clear(struct filter *s)
{
    for (unsigned i = 0; i < s->nrules; i++) {
        free(s->rule[i].text);
        if (s->rule[i].kind == RULE_REGEX)
            regfree(&s->rule[i].regex);
    }
    renames_free(&s->renames);
    memset(s, 0, sizeof *s);
}

/* ---- records ---- */

struct reading {
    struct buf text, chain;
    size_t done; /* bytes of the file that were shown */
    struct rec first;
    uint64_t reached; /* by the records so far */
    bool open;
};

static struct reading reading;

void capture_init(struct capture *c)
{
    log_init("test", LOG_ERROR);
    c->fd = memfd_create("capture", MFD_CLOEXEC);
    if (c->fd < 0)
        abort();
    emit_init(&c->e, c->fd, EMIT_RECORDS);
    c->e.now_ms = 1700000000000; /* tests must not depend on today */
    reading.done = 0;
    reading.reached = 0;
    reading.open = false;
    reading.chain.len = 0;
}

void capture_free(struct capture *c)
{
    emit_free(&c->e);
    close(c->fd);
    buf_free(&reading.text);
    buf_free(&reading.chain);
}

struct buf capture_bytes(struct capture *c)
{
    struct buf b = {.max = (size_t)1 << 30};
    if (emit_flush(&c->e) < 0)
        abort();
    off_t end = lseek(c->fd, 0, SEEK_END);
    uint8_t *to = buf_room(&b, (size_t)end + 1);
    if (pread(c->fd, to, (size_t)end, 0) != end)
        abort();
    b.len = (size_t)end;
    return b;
}

static void say_bytes(const uint8_t *p, size_t n);
static void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *fmt, ...)
{
    char line[2048];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    (void)buf_add(&reading.text, line, (size_t)n);
}

void show_bytes(struct buf *b, const uint8_t *p, size_t n)
{
    size_t before = reading.text.len;
    say_bytes(p, n);
    (void)buf_add(b, reading.text.p + before, reading.text.len - before);
    reading.text.len = before;
}

static void say_bytes(const uint8_t *p, size_t n)
{
    if (n > 200) {
        say("<%zu bytes %08x>", n, (unsigned)XXH32(p, n, 0));
        return;
    }
    if (n == 0)
        say("\"\"");
    for (size_t i = 0; i < n; i++) {
        if (p[i] >= 0x21 && p[i] <= 0x7e && p[i] != '\\')
            say("%c", p[i]);
        else
            say("\\x%02x", p[i]);
    }
}

static const char *flag_text(unsigned flags)
{
    static const struct {
        unsigned bit;
        char c;
    } names[] = {{RF_PLAINSET, 'P'}, {RF_IDEMPOTENT, 'I'}, {RF_FIRST, 'F'},  {RF_LAST, 'L'}, {RF_LIVE, 'V'},
                 {RF_MULTIKEY, 'K'}, {RF_PRECUT, 'C'},     {RF_ONEFLOW, 'O'}}; /* TOGETHER, HELD, FRESH:
                                                               test_together.c, test_held.c */
    static char text[12];
    size_t n = 0;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if ((flags & names[i].bit) != 0)
            text[n++] = names[i].c;
    if (n == 0)
        text[n++] = '-';
    text[n] = '\0';
    return text;
}

/* The position that is reached with a record. */
static unsigned long long reached(const struct rec *r)
{
    if ((r->flags & RF_HELD) == 0)
        return reading.reached = r->pos;
    return reading.reached != 0 ? reading.reached : 100; /* where the journals of these tests begin */
}

/* A number as RESP has it: no sign, no leading zero. */
static const uint8_t *canonical(const uint8_t *p, const uint8_t *end, char type, uint64_t *v)
{
    const uint8_t *digits = p + 1;
    *v = 0;
    if (p >= end || *p != (uint8_t)type)
        return NULL;
    for (p++; p < end && *p >= '0' && *p <= '9'; p++)
        *v = *v * 10 + (uint64_t)(*p - '0');
    if (p == digits || (*digits == '0' && p - digits > 1) || end - p < 2 || p[0] != '\r' || p[1] != '\n')
        return NULL;
    return p + 2;
}

/* An independent reader of requests: shows the arguments; checks every byte. */
static void say_resp(const uint8_t *p, size_t n, unsigned want, struct slice *key)
{
    const uint8_t *end = p + n;
    uint64_t argc, len;
    p = canonical(p, end, '*', &argc);
    for (uint64_t i = 0; p != NULL && i < argc; i++) {
        p = canonical(p, end, '$', &len);
        if (p == NULL || (uint64_t)(end - p) < len + 2 || p[len] != '\r' || p[len + 1] != '\n') {
            p = NULL;
            break;
        }
        say(" ");
        say_bytes(p, len);
        if (i == want)
            *key = (struct slice){p, len};
        p += len + 2;
    }
    if (p != end)
        say(" MALFORMED");
}

static void say_request(const struct rec *r, const uint8_t *p, size_t n)
{
    struct slice key = {NULL, 0};
    say("%llu pos=%llu db=%u %s", (unsigned long long)r->seq, reached(r), r->db, flag_text(r->flags));
    if (r->vclass != 0)
        say(" %s", rec_class_name(r->vclass));
    if (r->keyarg != 1)
        say(" key=%u", r->keyarg);
    say(" |");
    say_resp(p, n, r->keyarg, &key);
    if (r->keyarg != 0) {
        if (key.p == NULL || r->hash != (uint32_t)XXH3_64bits(key.p, key.n))
            say(" WRONGHASH");
        else if (r->slot != REC_NO_SLOT && r->slot != key_slot(key.p, key.n))
            say(" WRONGSLOT");
    } else if (r->hash != 0 || r->slot != REC_NO_SLOT) {
        say(" KEYLESSHASH");
    }
    if ((r->flags & RF_PLAINSET) != 0 && (n < 13 || memcmp(p, "*3\r\n$3\r\nSET\r\n", 13) != 0))
        say(" NOPLAINSET");
    say("\n");
}

static void take_request(const struct rec *r, const uint8_t *p)
{
    struct reading *rd = &reading;
    if (!rd->open) {
        rd->first = *r;
        rd->chain.len = 0;
    } else if (r->seq != rd->first.seq || r->hash != rd->first.hash || r->pos != rd->first.pos ||
               (r->flags | RF_MORE) != rd->first.flags) {
        say("BROKEN CHAIN\n");
    }
    rd->chain.max = (size_t)1 << 30;
    (void)buf_add(&rd->chain, p, r->len);
    rd->open = (r->flags & RF_MORE) != 0;
    if (!rd->open)
        say_request(r, rd->chain.p, rd->chain.len);
}

/* PROGRAM as "slot[ ?r| !r][ >r][ MUST][ TTL][ ALWAYS]: ARG ARG …;" a step, a register as "$r". */
static void take_program(const struct rec *r, const uint8_t *p)
{
    struct step s;
    struct slice a;
    unsigned reg;
    const char *fault = program_check(p, r->len);
    say("%llu pos=%llu db=%u %s PROGRAM", (unsigned long long)r->seq, reached(r), r->db, flag_text(r->flags));
    if (fault != NULL)
        say(" MALFORMED %s", fault);
    if (r->keyarg != 0)
        say(" KEYARG");
    for (size_t at = 0; fault == NULL && program_next(p, r->len, &at, &s);) {
        say(" | %u", s.slot);
        if (s.cond != 0)
            say("%c%u", (s.cond & STEP_NOT) != 0 ? '!' : '?', s.cond & ~STEP_NOT);
        if (s.keep != 0)
            say(">%u", s.keep);
        say("%s%s%s:", (s.flags & STEP_MUST) != 0 ? "M" : "", (s.flags & STEP_TTL) != 0 ? "T" : "",
            (s.flags & STEP_ALWAYS) != 0 ? "A" : "");
        for (size_t arg = 0; program_arg(&s, &arg, &a, &reg);) {
            say(" ");
            if (reg != 0)
                say("$%u", reg);
            else
                say_bytes(a.p, a.n);
        }
    }
    say("\n");
}

static void take_report(const struct rec *r, const uint8_t *p)
{
    char kind[64], key[256], detail[512];
    uint64_t lost = 9;
    if (meta_get(p, r->len, "kind", kind, sizeof kind) < 0 ||
        meta_get(p, r->len, "key", key, sizeof key) < 0 ||
        meta_get(p, r->len, "detail", detail, sizeof detail) < 0 || !meta_getu(p, r->len, "lost", &lost))
        say("BAD REPORT\n");
    else
        say("%s kind=%s key=%s\n", lost == 1 ? "LOST" : "REMARK", kind, key);
}

static void take_barrier(const struct rec *r, const uint8_t *p)
{
    uint64_t txid;
    struct slice key;
    memcpy(&txid, p, sizeof txid);
    say("%llu pos=%llu db=%u %s BARRIER txid=%llu |", (unsigned long long)r->seq, reached(r), r->db,
        flag_text(r->flags), (unsigned long long)txid);
    say_resp(p + 8, r->len - 8, 0, &key);
    say("\n");
}

/* PROBE as "seq pos=P probe KIND db:name | EXISTS key", without the latter where nothing is asked. */
static void take_probe(const struct rec *r, const uint8_t *p)
{
    struct probe_head h;
    struct slice key;
    memcpy(&h, p, sizeof h);
    say("%llu pos=%llu db=%u probe %u %u:%.*s", (unsigned long long)r->seq, reached(r), r->db, h.kind, h.db,
        (int)h.n, (const char *)p + sizeof h);
    if (r->len > sizeof h + h.n) {
        say(" |");
        say_resp(p + sizeof h + h.n, r->len - sizeof h - h.n, 1, &key);
        if (r->keyarg != 1 || key.p == NULL || r->hash != (uint32_t)XXH3_64bits(key.p, key.n))
            say(" WRONGHASH");
    }
    if (h.kind != PROBE_BEGIN &&
        (r->flags & (RF_LIVE | RF_FRESH | RF_IDEMPOTENT)) != (RF_LIVE | RF_FRESH | RF_IDEMPOTENT))
        say(" WRONGFLAGS");
    say("\n");
}

const char *capture_text(struct capture *c)
{
    struct buf b = capture_bytes(c);
    size_t at = reading.done;
    reading.text.len = 0;
    while (at < b.len) {
        struct rec r;
        memcpy(&r, b.p + at, sizeof r);
        const uint8_t *p = b.p + at + REC_HEADER;
        if (reading.open && r.type != REC_REQUEST)
            say("BROKEN CHAIN\n");
        if (r.type == REC_REQUEST)
            take_request(&r, p);
        else if (r.type == REC_REPORT)
            take_report(&r, p);
        else if (r.type == REC_BARRIER)
            take_barrier(&r, p);
        else if (r.type == REC_PROGRAM)
            take_program(&r, p);
        else if (r.type == REC_PROBE)
            take_probe(&r, p);
        else
            say("%llu pos=%llu db=%u %s %s\n", (unsigned long long)r.seq, reached(&r), r.db,
                flag_text(r.flags), rec_type_name(r.type));
        at += REC_HEADER + r.len;
    }
    reading.done = at;
    buf_free(&b);
    (void)buf_add(&reading.text, "", 1);
    return (const char *)reading.text.p;
}
