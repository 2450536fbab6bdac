/* Every small file of tests/fixtures, and the flows of recorded sessions that are small: cut at each byte,
 * each byte changed, through the whole parser. Whatever comes: no crash, no hang, and the exit status says
 * damage; or, where a change makes other data of the same form, what it says of these. The checksum of a file
 * covers every change. Larger files are tried at some 200 places, or with DF2REDIS_DAMAGE=all in the
 * environment at each, and each bit of small ones. */
#include <fcntl.h>
#include <glob.h>
#include <unistd.h>

#include "test.h"

#include "../../common/exits.h"
#include "../../common/record.h"
#include "../../parser/session.h"

#define SMALL  2000
#define PLACES 200

static bool all_places;
static int null_fd;
static unsigned tried;

/* What the whole parser makes of the bytes of one flow, which come in pieces. */
static int run(const char *target, const uint8_t *p, size_t n, bool file, size_t piece)
{
    struct options opt = {
        .restore_limit = (size_t)64 << 10, .part_size = (size_t)64 << 10, .have_target = true};
    const char *session = file ? "nonce=0123\nsource=file\nflows=1\nepoch=1\njournal=0\n"
                               : "nonce=0123\nsource=dragonfly\nflows=1\nepoch=1\njournal=1\n";
    const char *flow = file ? "flow=0\nmode=FILE\n" : "flow=0\nmode=FULL\n";
    const char *end = "reason=complete\nstatus=0\n";
    struct rec r = {.epoch = 1, .time = UINT64_C(1700000000000000)};
    struct parser *parser = calloc(1, sizeof *parser);
    (void)target_parse(&opt.target, target);
    parser_init(parser, &opt, null_fd);
    r.type = REC_SESSION;
    r.len = (uint32_t)strlen(session);
    (void)parser_record(parser, &r, (const uint8_t *)session);
    r.type = REC_FLOW;
    r.len = (uint32_t)strlen(flow);
    int rc = parser_record(parser, &r, (const uint8_t *)flow);
    for (size_t at = 0; at < n && rc == 0; at += r.len) {
        r.type = REC_DATA;
        r.pos = at;
        r.len = (uint32_t)(n - at < piece ? n - at : piece);
        uint8_t *q = exact(p + at, r.len);
        rc = parser_record(parser, &r, q);
        free(q);
    }
    if (rc == 0) {
        r = (struct rec){.type = REC_END, .epoch = 1, .len = (uint32_t)strlen(end)};
        (void)parser_record(parser, &r, (const uint8_t *)end);
    }
    int status = parser_end(parser);
    parser_free(parser);
    free(parser);
    tried++;
    return status;
}

/* From one place to the next. */
static size_t stride(size_t n)
{
    return all_places || n <= SMALL ? 1 : n / PLACES | 1;
}

static bool named(const char *name, const char *what)
{
    if (*what != '\0')
        printf("  %s: %s\n", name, what);
    return false;
}

/* Up to its end a file is cut short; behind it there may be padding. */
static void cuts(const char *name, const char *target, const struct buf *b, bool file, int whole)
{
    size_t ended = 0;
    bool ok = true;
    for (size_t n = 0; n < b->len && ok; n += stride(b->len)) {
        int status = run(target, b->p, n, file, 1 + n % 3000);
        if (status == EXIT_DAMAGED && ended == 0)
            continue;
        ended = ended == 0 ? n : ended;
        /* A journal may end behind any of its entries. */
        ok = status == whole ||
             (!file && (status == EXIT_DAMAGED || status == EXIT_DONE || status == EXIT_DATA));
    }
    if (!CHECK(ok && (ended == 0 || ended > 20)))
        (void)named(name, "cut short, and not noticed");
}

/* Version 5 and later, with a checksum that is not 0, and not Dragonfly's, which is none. */
static bool has_checksum(const struct buf *b)
{
    static const uint8_t none[8];
    bool valkey = b->len > 17 && memcmp(b->p, "VALKEY", 6) == 0;
    return b->len > 17 && (valkey || memcmp(b->p, "REDIS0004", 9) > 0) &&
           memcmp(b->p + b->len - 8, none, 8) != 0 && memmem(b->p, b->len, "df-ver", 6) == NULL;
}

static void changes(const char *name, const char *target, struct buf *b, bool file, bool covered)
{
    bool ok = true;
    for (size_t i = 0; i < b->len && ok; i += stride(b->len))
        for (unsigned bit = 0; bit < (all_places && b->len <= SMALL ? 9u : 1u) && ok; bit++) {
            uint8_t change = (uint8_t)(bit == 0 ? 0xff : 1u << (bit - 1));
            b->p[i] ^= change;
            int status = run(target, b->p, b->len, file, 1 + i % 3000);
            b->p[i] ^= change;
            ok = i < 9 && status == EXIT_CANNOT ? true /* another version */
                 : covered                      ? status == EXIT_DAMAGED
                           : status == EXIT_DONE || status == EXIT_DATA || status == EXIT_DAMAGED;
        }
    if (!CHECK(ok))
        (void)named(name, covered ? "changed, and not noticed" : "changed: another status");
}

static void damaged(const char *name, struct buf *b, bool file)
{
    static const char *const targets[] = {"portable", "8.8", "4.0", "dragonfly:1.40"};
    for (size_t i = 0; i < (b->len <= SMALL ? 4u : 2u); i++) {
        int whole = run(targets[i], b->p, b->len, file, b->len + 1);
        CHECK(whole == EXIT_DONE || whole == EXIT_DATA || whole == EXIT_DAMAGED || whole == EXIT_CANNOT);
        if (whole == EXIT_CANNOT) /* a version that is not known: nothing of it is read */
            continue;
        cuts(name, targets[i], b, file, whole);
        changes(name, targets[i], b, file, file && whole != EXIT_DAMAGED && has_checksum(b));
    }
}

static struct buf load(const char *name)
{
    struct buf b = {0};
    FILE *f = fopen(name, "re");
    if (f == NULL) {
        printf("%s cannot be read\n", name);
        exit(1);
    }
    uint8_t *to = buf_room(&b, (size_t)1 << 20);
    b.len = fread(to, 1, (size_t)1 << 20, f);
    fclose(f);
    return b;
}

/* Hexadecimal, with remarks behind #. */
static void hex_file(const char *name)
{
    char line[8192];
    struct buf b = {0};
    FILE *f = fopen(name, "re");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        line[strcspn(line, "#\n")] = '\0';
        add_hex(&b, line);
    }
    if (CHECK(f != NULL && b.len > 9))
        fclose(f);
    damaged(name, &b, true);
    buf_free(&b);
}

static void snapshot(const char *name)
{
    struct buf b = load(name);
    damaged(name, &b, true);
    buf_free(&b);
}

/* A recorded flow, behind the master's reply with its token. */
static void flow(const char *name)
{
    struct buf b = load(name);
    uint8_t *p = memmem(b.p, b.len, "+FULL\r\n+", 8);
    if (p != NULL && b.len < 100000) {
        buf_shift(&b, (size_t)(p - b.p) + 8 + 40 + 2);
        damaged(name, &b, false);
    }
    buf_free(&b);
}

static unsigned each(const char *pattern, void (*what)(const char *))
{
    glob_t g;
    unsigned n = 0;
    if (glob(pattern, 0, NULL, &g) == 0) {
        for (; n < g.gl_pathc; n++)
            what(g.gl_pathv[n]);
        globfree(&g);
    }
    return n;
}

int main(void)
{
    const char *env = getenv("DF2REDIS_DAMAGE");
    all_places = env != NULL && strcmp(env, "all") == 0;
    null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    (void)dup2(null_fd, STDERR_FILENO); /* each damage is logged */
    CHECK(each("tests/fixtures/rdb/*.hex", hex_file) >= 28);
    CHECK(each("tests/fixtures/snapshots/*.dfs", snapshot) >= 3);
    CHECK(each("tests/fixtures/snapshots/*.rdb", snapshot) >= 1);
    CHECK(each("tests/fixtures/captures/*/wire/0[1-9].s2c", flow) >= 20);
    CHECK(tried > 10000);
    if (all_places)
        printf("%u tried, ", tried);
    return test_done();
}
