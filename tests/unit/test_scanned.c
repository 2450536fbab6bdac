/* Keys of a source that is scanned, which may return them several times: each is written once to a file, and
 * once to a target whose own keys are kept. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "test.h"

#include "../../parser/export/export.h"
#include "../../parser/flow.h"
#include "../../parser/snapshot/repeats.h"

static struct capture cap;
static struct flow flow;
static char dir[64], path[96];

static void begin(struct export *x)
{
    flow_init(&flow, 0);
    flow.to.e = &cap.e;
    flow.to.outlet = x != NULL ? export_outlet(x) : NULL;
    flow_begin(&flow, 1, false, true, 1, 0, NULL);
    scanned_begin(&flow.scanned, "redis:7.2.4", 0);
}

/* A KEY record, in pieces of that size. head: lines behind name, db and state. */
static void key(const char *name, const char *head, const char *bytes, size_t piece)
{
    struct buf b = {0}, value = hex(bytes);
    char line[200];
    snprintf(line, sizeof line, "name=%zu\ndb=0\nstate=%s\n\n", strlen(name), head);
    (void)buf_add(&b, line, strlen(line));
    size_t at = 0, first = b.len + 1;
    (void)buf_add(&b, name, strlen(name));
    (void)buf_add(&b, value.p, value.len);
    while (at < b.len) {
        size_t n = at == 0 ? first : piece;
        n = b.len - at < n ? b.len - at : n;
        struct rec r = {.type = REC_KEY, .len = (uint32_t)n, .flags = at + n < b.len ? RF_MORE : 0};
        uint8_t *p = exact(b.p + at, n);
        const char *fault = scanned_key(&flow.scanned, &r, p);
        free(p);
        if (!CHECK(fault == NULL))
            printf("%s: %s\n", name, fault);
        at += n;
    }
    buf_free(&b);
    buf_free(&value);
}

static void place(const char *op, unsigned pos)
{
    char text[80];
    snprintf(text, sizeof text, "op=%s\npos=%u\nplace=@0:0\n", op, pos);
    CHECK(scanned_place(&flow.scanned, (const uint8_t *)text, strlen(text)) == NULL);
}

#define VALUE(kind) "value\nelements=" kind
#define STRING(n)   "value\nelements=string\nlength=" #n

static void keys(size_t piece)
{
    key("a", STRING(2), "'xy'", piece);
    key("s", VALUE("set"), "01 'm' 01 'n' 01 'm'", piece); /* an element comes twice */
    key("a", STRING(2), "'zz'", piece);                    /* and so does a key */
    key("h", VALUE("hash"), "01 'f' 01 '1' ff ff ff ff ff ff ff ff", piece);
    key("gone", STRING(4), "'part'", piece); /* it turns out not to be there any more */
    key("gone", "missing\nlive=1", "", piece);
    key("p", STRING(4), "'part'", piece); /* it is read anew, as it has changed */
    key("p", STRING(3) "\nlive=1", "'new'", piece);
    key("n", STRING(1) "\nlive=1", "'n'", piece); /* a change by itself is none of the file's */
    key("z", VALUE("zset") "\nexpire=4398046511104", "01 'm' 03 '1.5' 01 'i' fe", piece);
    key("l", VALUE("list"), "01 'x' 01 'x'", piece);
    key("none", VALUE("set"), "", piece); /* without elements it is none */
    key("d", "value", "02 01 01 'm' 0b 00 00 00 00 00 00 00 00 00", piece);
    key("e", STRING(0), "", piece);
    key("e", STRING(1), "'2'", piece);
    place("at", 2);
    key("l", VALUE("list"), "01 'y'", piece);
    place("done", 3);
}

static void into_file(size_t piece)
{
    struct buf want = hex("'REDIS0009' fa 09 'redis-ver' 05 '5.0.0' fa 0a 'redis-bits' 02 '64' fe 00 "
                          "00 01 'a' 02 'xy' 02 01 's' 02 01 'm' 01 'n' 04 01 'h' 01 01 'f' 01 '1' "
                          "00 01 'p' 03 'new' fc 00 00 00 00 00 04 00 00 03 01 'z' 02 01 'm' 03 '1.5' "
                          "01 'i' fe 01 01 'l' 02 01 'x' 01 'x' 02 01 'd' 01 01 'm' 00 01 'e' 00 ff");
    uint8_t got[4096];
    capture_init(&cap);
    cap.e.mode = EMIT_OUTLET;
    CHECK(target_parse(&cap.e.target, "5.0"));
    struct export *x = export_open(path, &cap.e.target);
    CHECK(x != NULL);
    begin(x);
    keys(piece);
    CHECK(flow.to.synced);
    EQ(cap.e.stats.lost, 0);
    EQ_I(export_finish(x, &cap.e, true), 0);
    flow_free(&flow);
    export_free(x);
    capture_free(&cap);
    FILE *f = fopen(path, "r");
    size_t n = f != NULL ? fread(got, 1, sizeof got, f) : 0;
    if (f != NULL)
        (void)fclose(f);
    (void)unlink(path);
    bool same = n == want.len + 8 && memcmp(got, want.p, want.len) == 0;
    if (!CHECK(same))
        for (size_t i = 0; i < n; i++)
            printf("%02x%s", got[i], i + 1 < n ? " " : "\n");
    buf_free(&want);
}

static size_t requests_of(const char *policy)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, "7.2"));
    CHECK(target_existing(&cap.e.target, policy));
    begin(NULL);
    key("a", STRING(1), "'1'", 100);
    key("a", STRING(1), "'2'", 100);
    key("a", STRING(1) "\nlive=1", "'3'", 100);
    key("s", VALUE("set"), "01 'm'", 100);
    key("s", VALUE("set"), "01 'n'", 100);
    const char *text = capture_text(&cap);
    size_t sets = 0;
    for (const char *p = text; (p = strstr(p, "SET a")) != NULL; p++)
        sets++;
    bool whole = strstr(text, "SADD s m") != NULL;
    bool again = strstr(text, "SADD s n") != NULL;
    CHECK(whole && again == (strcmp(policy, "overwrite") == 0));
    flow_free(&flow);
    capture_free(&cap);
    return sets;
}

/* Enough of them to outgrow the memory that needs no file. */
static void many(void)
{
    struct repeats r = {.n = 0};
    char name[24];
    unsigned first = 0, again = 0;
    for (unsigned i = 0; i < 100000; i++) {
        int n = snprintf(name, sizeof name, "key:%u", i / 2);
        first += repeats_first(&r, khash_of(i / 50000, name, (size_t)n));
    }
    for (unsigned i = 0; i < 50000; i++) {
        int n = snprintf(name, sizeof name, "key:%u", i);
        again += repeats_has(&r, khash_of(i / 25000, name, (size_t)n)) &&
                 !repeats_has(&r, khash_of(1 - i / 25000, name, (size_t)n));
    }
    EQ(first, 50000);
    EQ(again, 50000);
    EQ_I(r.fault, 0);
    CHECK(r.fd >= 0);
    repeats_clear(&r);
    CHECK(r.n == 0 && !repeats_has(&r, khash_of(0, "key:1", 5)) &&
          repeats_first(&r, khash_of(0, "key:1", 5)));
    repeats_free(&r);
}

int main(void)
{
    strcpy(dir, "/tmp/test_scanned.XXXXXX");
    if (!CHECK(mkdtemp(dir) != NULL))
        return 1;
    snprintf(path, sizeof path, "%s/out.rdb", dir);
    into_file(1);
    into_file(1000);
    EQ(requests_of("overwrite"), 3);
    EQ(requests_of("skip"), 2); /* the first one, and the change */
    EQ(requests_of("fail"), 2);
    many();
    (void)rmdir(dir);
    return test_done();
}
