/* Journal entries that are more than a command: RESTORE, transactions of old masters, large ones; and the
 * positions that entries count for: dragonfly-replication(7), JOURNAL. */
#include "journaled.h"

#include "../../common/crc64.h"
#include "../../common/resp.h"

#define GONE "1 pos=101 db=0 IV | DEL k\n" /* no older value stays */

/* ---- RESTORE ---- */

static void restore(const char *target, const char *payload, const char *tail, const char *ttl,
                    const char *want)
{
    struct buf p = hex(payload), b = {0};
    struct slice argv[10] = {SLICE("RESTORE"), SLICE("k"), {(const uint8_t *)ttl, strlen(ttl)}, {p.p, p.len}};
    size_t argc = 4;
    for (const char *t = tail; *t != '\0';) {
        size_t n = strcspn(t, " ");
        argv[argc++] = (struct slice){(const uint8_t *)t, n};
        t += n + (t[n] == ' ');
    }
    begin(target, (struct source){0});
    add_entry(&b, 10, 7, argv, argc);
    feed(&b);
    if (!EQ_S(capture_text(&cap), want))
        printf("  for %s: RESTORE k %s %s %s\n", target, ttl, payload, tail);
    end();
    buf_free(&p);
    buf_free(&b);
}

/* Footer around type and value. */
static const char *dumped(const char *value, unsigned ver)
{
    static char text[2][1024];
    static int turn;
    char *out = text[turn ^= 1];
    struct buf b = hex(value);
    add_le(&b, ver, 2);
    add_le(&b, crc64(0, b.p, b.len), 8);
    size_t k = 0;
    for (size_t i = 0; i < b.len; i++)
        k += (size_t)snprintf(out + k, 1024 - k, "%02x", b.p[i]);
    buf_free(&b);
    return out;
}

static void restored_line(const char *target, const char *value, const char *tail, const char *ttl,
                          const char *head, unsigned ver, const char *behind)
{
    struct buf want = {0}, p = hex(dumped(value, ver));
    (void)buf_addstr(&want, head);
    show_bytes(&want, p.p, p.len);
    (void)buf_addstr(&want, behind);
    (void)buf_add(&want, "", 1);
    restore(target, dumped(value, 9), tail, ttl, (const char *)want.p);
    buf_free(&want);
    buf_free(&p);
}

static void restores(void)
{
    static const char bar[] = "00 03 62 61 72 09 00 36 4c 18 ac ba e0 9e a6"; /* 4.7 */
    static const char hash[] = "10 14 14 00 00 00 04 00 81 66 02 81 76 02 81 6e 02 f1 88 13 03 ff";
    for (size_t i = 0; i < 4; i++) {
        restore(
            targets[i], bar, "REPLACE ABSTTL", "0",
            "1 pos=100 db=0 IFV string | SET k bar\n2 pos=100 db=0 LV position\n3 pos=101 db=0 V position\n");
        restore(
            targets[i], bar, "REPLACE ABSTTL STICK", "1767225600000",
            "1 pos=100 db=0 IFV string | SET k bar\n2 pos=100 db=0 ILV string | PEXPIREAT k 1767225600000\n"
            "3 pos=101 db=0 V position\n");
        restore(
            targets[i], bar, "REPLACE", "100000", /* without ABSTTL it counts from the arrival */
            "1 pos=100 db=0 IFV string | SET k bar\n2 pos=100 db=0 ILV string | PEXPIREAT k 1700000100000\n"
            "3 pos=101 db=0 V position\n");
        /* an empty string is a key, too: COPY of "" across shards */
        restore(targets[i], dumped("00 00", 9), "REPLACE ABSTTL", "0",
                "1 pos=100 db=0 IFV string | SET k \"\"\n2 pos=100 db=0 LV position\n3 pos=101 db=0 V "
                "position\n");
        /* an empty container would be refused as RESTORE: the key goes */
        restore(targets[i], dumped("02 00", 9), "REPLACE", "0",
                "1 pos=100 db=0 IFV set | DEL k\n2 pos=100 db=0 LV position\n3 pos=101 db=0 V position\n");
        restore(targets[i], dumped("02 80 00 00 00 00", 9), "REPLACE", "0",
                "1 pos=100 db=0 IFV set | DEL k\n2 pos=100 db=0 LV position\n3 pos=101 db=0 V position\n");
        /* a list with an empty node, and a field twice: commands make them */
        restore(targets[i],
                dumped("0e 02 0b 0b000000 0a000000 0000 ff 0e 0e000000 0a000000 0100 00 01 61 ff", 9),
                "REPLACE", "0",
                "1 pos=100 db=0 IFV list | DEL k\n2 pos=100 db=0 V list | RPUSH k a\n"
                "3 pos=100 db=0 LV position\n4 pos=101 db=0 V position\n");
        restore(
            targets[i], dumped("04 02 01 'f' 01 '1' 01 'f' 01 '2'", 9), "REPLACE", "0",
            "LOST kind=unsound-value key=k\n1 pos=100 db=0 IFV hash | DEL k\n"
            "2 pos=100 db=0 IV hash | HSET k f 1\n3 pos=100 db=0 LV position\n4 pos=101 db=0 V position\n");
        restore(targets[i], "00 03 62 61 72 09 00 36 4c 18 ac ba e0 9e a7", "REPLACE", "0",
                "LOST kind=restore-payload key=k\n" GONE); /* checksum */
        restore(
            targets[i], "00 03 62 61 72 09 00 00 00 00 00 00 00 00 00", "REPLACE", "0",
            "1 pos=100 db=0 IFV string | SET k bar\n2 pos=100 db=0 LV position\n3 pos=101 db=0 V position\n");
        restore(targets[i], dumped("00 04 62 61 72", 9), "REPLACE", "0",
                "LOST kind=restore-payload key=k\n" GONE);
        restore(targets[i], dumped("00 02 62 61 72", 9), "REPLACE", "0",
                "LOST kind=restore-payload key=k\n" GONE);
        restore(targets[i], dumped("26 02 62 61", 9), "REPLACE", "0",
                "LOST kind=restore-payload key=k\n" GONE);
        restore(targets[i], "00 09 00", "REPLACE", "0", "LOST kind=restore-payload key=k\n" GONE);
        restore(targets[i], bar, "REPLACE", "-1", "LOST kind=malformed-command key=k\n" SKIPPED);
        restore(targets[i], dumped("24 00 03 08 04 cdccccccccccec3f 00 00", 9), "REPLACE", "0",
                "LOST kind=top-k key=k\n" GONE);
        restore(targets[i], dumped("1e 07 7b 22 61 22 3a 31 7d", 9), "REPLACE", "0",
                "LOST kind=json key=k\n" GONE);
        restore(targets[i], dumped("14 07 7b 22 61 22 3a 31 7d", 9), "REPLACE", "0",
                "LOST kind=json key=k\n" GONE); /* type 20 meant JSON */
        /* what only decoding notices must be named, too */
        restore(targets[i], dumped("1f 01 01 'a' 01 'v' 03 'abc'", 9), "REPLACE", "0",
                "LOST kind=restore-payload key=k\n" GONE);
    }
    restored_line("7.4", hash, "REPLACE STICK", "0", ONE "IV hash | RESTORE k 0 ", 10, " REPLACE\n");
    restored_line("7.0", hash, "REPLACE ABSTTL", "1767225600000", ONE "IV hash | RESTORE k 1767225600000 ",
                  10, " REPLACE ABSTTL\n");
    restored_line("7.0", hash, "REPLACE ABSTTL", "5", ONE "IV hash | RESTORE k 1700000060000 ", 10,
                  " REPLACE ABSTTL\n");
    restored_line("6.2", "05 01 01 6d 00 00 00 00 00 00 f8 3f", "REPLACE", "0", ONE "IV zset | RESTORE k 0 ",
                  8, " REPLACE\n");
    restore("6.2", dumped(hash, 9), "REPLACE", "0",
            "1 pos=100 db=0 IFV hash | DEL k\n2 pos=100 db=0 IV hash | HSET k f v n 5000\n"
            "3 pos=100 db=0 LV position\n4 pos=101 db=0 V position\n");
    restore("7.4", dumped("1f 01 01 61 c0 01 c2 80 0d 7c 05", 9), "REPLACE", "0",
            "1 pos=100 db=0 IFV hash | DEL k\n2 pos=100 db=0 IV hash | HSET k a 1\n"
            "3 pos=100 db=0 IV hash | HPEXPIREAT k 1767225600000 FIELDS 1 a\n4 pos=100 db=0 LV position\n"
            "5 pos=101 db=0 V position\n");
}

/* A session that says no journal follows still has journal blobs in its snapshot: an expiry must never get
 * lost. */
static void no_journal(void)
{
    struct buf b = hex("'REDIS0009'"), j = {0};
    add_command(&j, 1, "SET k v PXAT 5");
    add_hex(&b, "d2 01");
    add_pstr(&b, j.p, j.len);
    begin("7.0", (struct source){0});
    flow_begin(&flow, 1, false, false, 1, 0, NULL);
    feed(&b);
    EQ_S(capture_text(&cap), "1 pos=0 db=0 IV string | SET k v PXAT 1700000060000\n");
    flow_free(&flow);
    capture_free(&cap);
    buf_free(&b);
    buf_free(&j);
}

/* ---- transactions of masters up to v1.20 ---- */

static void words(struct buf *b, unsigned op, uint64_t txid, const char *line)
{
    size_t at = b->len;
    add_command(b, txid, line);
    b->p[at] = (uint8_t)op;
}

static void exec(struct buf *b, unsigned txid)
{
    add_le(b, 12, 1);
    add_plen(b, txid);
    add_plen(b, 1);
}

/* As long as a transaction waits for its EXEC nothing behind its first entry counts as reached. */
static void transactions(void)
{
    struct buf b = {0};
    words(&b, 10, 1, "SET a 1");
    words(&b, 11, 8, "SET b 2");
    words(&b, 11, 9, "SET c 3");
    words(&b, 10, 2, "SET d 4");
    add_hex(&b, "0d 06 02");
    words(&b, 11, 8, "HSETEX h 100 f v");
    exec(&b, 8);
    words(&b, 10, 3, "HSETEX i 100 f v");
    exec(&b, 9);
    exec(&b, 9); /* without entries */
    words(&b, 10, 4, "SET e 5");
    begin("7.4", (struct source){0});
    feed(&b);
    EQ_S(capture_text(&cap), "1 pos=101 db=0 IV string | SET a 1\n"
                             "2 pos=101 db=0 IV string | SET d 4\n"
                             "3 pos=101 db=0 V position\n"
                             "4 pos=101 db=0 IV string | SET b 2\n"
                             "5 pos=101 db=2 IV | HSET h f v\n"
                             "6 pos=101 db=2 IV | HPEXPIREAT h 1700000100000 FIELDS 1 f\n"
                             "7 pos=101 db=2 IV | HSET i f v\n"
                             "8 pos=101 db=2 IV | HPEXPIREAT i 1700000100000 FIELDS 1 f\n"
                             "9 pos=109 db=0 IV string | SET c 3\n"
                             "10 pos=110 db=2 V position\n"
                             "11 pos=111 db=2 IV string | SET e 5\n");
    EQ(flow.to.next_lsn, 111);
    end();
    buf_free(&b);
    /* cut off in the middle: that is no whole end */
    begin("7.0", (struct source){0});
    words(&b, 11, 8, "SET b 2");
    feed(&b);
    CHECK(flow_end(&flow, false) == -1);
    CHECK(flow_end(&flow, true) == 0);
    EQ_S(capture_text(&cap), "");
    flow_free(&flow);
    capture_free(&cap);
    buf_free(&b);
}

/* Positions and sequence over several entries, of which some give no request and some several. */
static void positions(void)
{
    struct buf b = {0};
    begin("7.4", (struct source){0});
    words(&b, 10, 1, "SET a 1");
    words(&b, 10, 2, "HSETEX h 100 f v");
    words(&b, 10, 3, "STICK a");
    words(&b, 10, 4, "BF.ADD f x");
    add_hex(&b, "0d");
    words(&b, 9, 0, "DEL a");
    words(&b, 10, 5, "SADDEX s 100 m");
    feed(&b);
    EQ_S(capture_text(&cap),
         "1 pos=101 db=0 IV string | SET a 1\n"
         "2 pos=101 db=0 IV | HSET h f v\n3 pos=102 db=0 IV | HPEXPIREAT h 1700000100000 FIELDS 1 f\n"
         "4 pos=103 db=0 V position\n"
         "LOST kind=probabilistic key=f\n5 pos=104 db=0 V position\n"
         "6 pos=105 db=0 V position\n7 pos=106 db=0 IV | DEL a\n"
         "LOST kind=member-ttl key=s\n8 pos=107 db=0 IV | SADD s m\n");
    EQ(cap.e.stats.commands, 6);
    EQ(cap.e.stats.ignored, 1);
    EQ(cap.e.stats.lost, 2);
    end();
    buf_free(&b);
}

/* Requests larger than a record, and keys and values with any bytes. */
static void large(void)
{
    struct buf b = {.max = (size_t)16 << 20};
    size_t n = ((size_t)2 << 20) + 5;
    uint8_t *v = malloc(n);
    memset(v, 'v', n);
    struct slice argv[3] = {SLICE("SET"), {(const uint8_t *)"k\r\n\0", 4}, {v, n}};
    begin("7.0", (struct source){0});
    add_entry(&b, 10, 1, argv, 3);
    argv[0] = SLICE("APPEND");
    add_entry(&b, 10, 1, argv, 3);
    words(&b, 10, 1, "SET a 1");
    feed(&b);
    const char *text = capture_text(&cap);
    CHECK(strncmp(text, "1 pos=101 db=0 IV | SET k\\x0d\\x0a\\x00 <2097157 bytes ", 53) == 0);
    CHECK(strstr(text, "\n2 pos=102 db=0 V | APPEND k\\x0d\\x0a\\x00 <2097157 bytes ") != NULL);
    CHECK(strstr(text, "\n3 pos=103 db=0 IV string | SET a 1\n") != NULL);
    CHECK(strstr(text, "BROKEN") == NULL && strstr(text, "MALFORMED") == NULL);
    end();
    free(v);
    buf_free(&b);
}

int main(void)
{
    restores();
    no_journal();
    transactions();
    positions();
    large();
    return test_done();
}
