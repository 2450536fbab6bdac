/* Position keys, marks and position files as text (writer/position/position_text.c, position_file.c), and
 * FILE.sent.
 */
#include <hiredis/hiredis.h>
#include <bsd/string.h>

#include "../../writer/target/identity.c"
#include "../../writer/target/info.c"
#include "../../writer/position/position_file.c"
#include "../../writer/position/position_text.c"
#include "../../writer/words.c"
#include "test.h"

#define NONCE  "0123456789abcdef0123456789abcdef"
#define REPLID "0123456789abcdef0123456789abcdef01234567"

/* ---- the key of a single server ---- */

/* fields: name, value, …, NULL */
static struct saved_vector read_key(const char *const *fields)
{
    redisReply element[32], *elements[32];
    redisReply r = {.type = REDIS_REPLY_ARRAY, .element = elements};
    struct saved_vector v;
    for (; fields[r.elements] != NULL; r.elements++) {
        char *text = (char *)exact(fields[r.elements], strlen(fields[r.elements]) + 1);
        element[r.elements] = (redisReply){.type = REDIS_REPLY_STRING, .str = text, .len = strlen(text)};
        elements[r.elements] = &element[r.elements];
    }
    position_key_read(&v, &r);
    for (size_t i = 0; i < r.elements; i++)
        free(element[i].str);
    return v;
}

#define KEY(...) read_key((const char *const[]){__VA_ARGS__, NULL})

static void key_states(void)
{
    struct saved_vector v =
        KEY("f1", "3 9 200", "session", NONCE " 3 2 " REPLID " lin", "f0", "3 7 100", "verify", "1");
    EQ(v.state, SAVED_WHOLE);
    EQ(v.flows, 2);
    EQ(v.pos[0], 100);
    EQ(v.pos[1], 200);
    EQ_S(v.lineage.replid, REPLID);
    EQ_S(v.lineage.top, "lin");
    CHECK(v.verify && !v.began_empty);
    EQ(KEY("writer", "x").state, SAVED_NONE);
    EQ(KEY("m", "h.1 4").state, SAVED_NONE); /* a mark is no position */
    EQ(KEY("f0", "1 2 3").state, SAVED_LOST);
    v = KEY("session", "n 1 1 r -", "empty", "1");
    CHECK(v.state == SAVED_INCOMPLETE && v.began_empty && !v.verify);
    v = KEY("session", "n 1 1 r -", "empty", "1", "sweep", "1", "f0", "1 2 3");
    CHECK(v.state == SAVED_INCOMPLETE && !v.began_empty);
    v = KEY("session", "n 1 1 r", "f0", "1 2 18446744073709551615"); /* without a lineage */
    CHECK(v.state == SAVED_WHOLE && v.lineage.top[0] == '\0' && v.pos[0] == UINT64_MAX);
    EQ(KEY("session", "n 1 1 r - later words", "f0", "1 2 3 of a later version").state, SAVED_WHOLE);
}

static void positions_that_do_not_count(void)
{
    static const char *const bad[][2] = {
        {"f0", "1 2"},    {"f0", "1"},
        {"f0", ""},       {"f0", "1 2 "},
        {"f0", "1  2 3"}, {"f0", "1 2 18446744073709551616"},
        {"f0", "1 2 -3"}, {"f0", "1 2 +3"},
        {"f0", "1 2 3x"}, {"f0", "4294967297 2 3"}, /* is no 1 */
        {"f1", "1 2 3"},  {"f00", "1 2 3"},
        {"f0x", "1 2 3"}, {"f0 ", "1 2 3"},
        {"f9x", "1 2 3"}, {"f4294967296", "1 2 3"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct saved_vector v = KEY("session", "n 1 1 r -", bad[i][0], bad[i][1]);
        if (!CHECK(v.state == SAVED_LOST && v.pos[0] == 0))
            printf("  %s = %s\n", bad[i][0], bad[i][1]);
    }
    /* Of another epoch, not known yet, and no fields of flows. */
    EQ(KEY("session", "n 1 1 r -", "f0", "2 2 3").state, SAVED_INCOMPLETE);
    EQ(KEY("session", "n 1 1 r -", "f0", "1 2 0").state, SAVED_INCOMPLETE);
    EQ(KEY("session", "n 1 1 r -", "f", "1 2 3", "F0", "1 2 3", "", "1 2 3").state, SAVED_INCOMPLETE);
    /* A flow that comes twice does not stand for another one. */
    EQ(KEY("session", "n 1 2 r -", "f0", "1 2 3", "f00", "1 2 3").state, SAVED_LOST);
    EQ(KEY("session", "n 1 2 r -", "f0", "1 2 3", "f0", "1 2 3").state, SAVED_LOST);
    EQ(KEY("session", "n 1 1 r -", "f0", "1 2 3", "f0", "1 2 4").state, SAVED_LOST);
    EQ(KEY("session", "n 1 1 r -", "f0", "1 2 3", "session", "n 1 1 r -").state, SAVED_LOST);
}

/* Flows of several masters. */
static void lineages(void)
{
    struct saved_vector v =
        KEY("l1", REPLID " top and later words", "session", "n 1 2 r -", "f0", "1 2 3", "f1", "1 2 4");
    EQ(v.state, SAVED_WHOLE);
    EQ_S(v.own[1].replid, REPLID);
    EQ_S(v.own[1].top, "top");
    CHECK(v.own[0].replid[0] == '\0' && v.pos[1] == 4);
    EQ_S(v.lineage.replid, "r");
    static const char *const bad[][2] = {
        {"l0", "a"},
        {"l0", ""},
        {"l0", "a "},
        {"l0", " a b"},
        {"l0", REPLID REPLID " -"},
        {"l0", "a " REPLID REPLID},
        {"l2", "a b"},
        {"l00", "a b"},
        {"l0x", "a b"},
        {"l1", "a b"}, /* it is there twice */
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        v = KEY("session", "n 1 2 r -", "f0", "1 2 3", "f1", "1 2 4", "l1", "a b", bad[i][0], bad[i][1]);
        if (!CHECK(v.state == SAVED_LOST && v.own[1].replid[0] == '\0' && v.pos[0] == 0))
            printf("  %s = %s\n", bad[i][0], bad[i][1]);
    }
    EQ(KEY("l0", "a b").state, SAVED_LOST); /* the rest of the key was removed */
    EQ(KEY("session", "n 1 1 r -", "f0", "1 2 3", "l", "a", "lx", "b").state, SAVED_WHOLE);
}

static void sessions_that_are_none(void)
{
    static const char *const bad[] = {
        "",
        "x",
        "n 1 1",
        "n 1 1 ",
        "n 1 0 r -",
        "n 1 1025 r -",
        "n 1 4294967297 r -",
        "n -1 1 r -",
        "n 4294967297 1 r -",
        " n 1 1 r -",
        "n 1 1  -",
        "n 01 1 r -",
        NONCE NONCE " 1 1 r -",
        "n 1 1 " REPLID REPLID " -",
        "n 1 1 r " REPLID REPLID,
    };
    struct position_id id;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (!CHECK(!position_id_parse(&id, bad[i])))
            printf("  %s\n", bad[i]);
        EQ(KEY("session", bad[i]).state, SAVED_LOST); /* something was there */
    }
}

/* A NUL in it: it is nothing that we wrote. */
static void binary(void)
{
    char name[] = "f0", value[] = "1 2 3\0004", session[] = "session", whose[] = "n 1 1 r -";
    redisReply e[4] = {{.str = session, .len = 7},
                       {.str = whose, .len = 9},
                       {.str = name, .len = 2},
                       {.str = value, .len = 7}};
    redisReply *p[4] = {&e[0], &e[1], &e[2], &e[3]},
               r = {.type = REDIS_REPLY_ARRAY, .elements = 4, .element = p};
    struct saved_vector v;
    position_key_read(&v, &r);
    EQ(v.state, SAVED_LOST);
    e[3].len = 5;
    position_key_read(&v, &r);
    EQ(v.state, SAVED_WHOLE);
}

/* What was carried out beyond the positions. */
static void beyond(void)
{
    struct saved_vector v =
        KEY("a1", "3 205 2 1 0", "session", NONCE " 3 2 " REPLID " lin", "f0", "3 7 100", "f1", "3 9 200");
    EQ(v.state, SAVED_WHOLE);
    CHECK(v.place[0].pos == 0 && v.place[1].pos == 205 && v.place[1].sub == 2 && v.place[1].step == 1);
    v = KEY("a0", "2 205 2 1 0", "session", "n 1 1 r -", "f0", "1 7 100"); /* of another epoch */
    CHECK(v.state == SAVED_WHOLE && v.place[0].pos == 0);
    static const char *const bad[][2] = {
        {"a0", "1 2 3 4"},   {"a0", ""},           {"a0", "1 0 1 1 0"},  {"a0", "1 -2 1 1 0"},
        {"a1", "1 2 1 1 0"}, {"a00", "1 2 1 1 0"}, {"a0x", "1 2 1 1 0"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        v = KEY("session", "n 1 1 r -", "f0", "1 7 1", bad[i][0], bad[i][1]);
        if (!CHECK(v.state == SAVED_LOST && v.place[0].pos == 0))
            printf("  %s = %s\n", bad[i][0], bad[i][1]);
    }
    EQ(KEY("session", "n 1 1 r -", "f0", "1 7 1", "a0", "1 2 1 1 0", "a0", "1 2 1 1 0").state, SAVED_LOST);
    EQ(KEY("a0", "1 2 1 1 0").state, SAVED_LOST); /* the rest of the key was removed */
    EQ(KEY("session", "n 1 1 r -", "f0", "1 7 1", "a", "1", "ax", "b").state, SAVED_WHOLE);
}

/* The position behind the last effect: a further word of the flow's field. */
static void quiet(void)
{
    struct buf b = {0};
    struct position_flow f = {.flow = 1, .epoch = 3, .seq = 9, .pos = 200, .quiet = 150}, back;
    char text[POSITION_TEXT];
    EQ(position_flow_print(&f, text), strlen("3 9 200 150"));
    EQ_S(text, "3 9 200 150");
    CHECK(position_flow_parse(&back, 2, "f1", text) && back.pos == 200 && back.quiet == 150);
    for (uint64_t none = 200; none <= 201; none++) { /* only what lies below the position is one */
        f.quiet = none;
        (void)position_flow_print(&f, text);
        EQ_S(text, "3 9 200");
    }
    static const char *const bad[] = {
        "3 9 200",    "3 9 200 0",   "3 9 200 200", "3 9 200 201",
        "3 9 200 -1", "3 9 200 15x", "3 9 200 ",    "3 9 200 18446744073709551616"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!CHECK(position_flow_parse(&back, 2, "f1", bad[i]) && back.pos == 200 && back.quiet == 0))
            printf("  %s\n", bad[i]);
    struct saved_vector v = KEY("session", "n 3 2 r -", "f0", "3 7 100 90 later", "f1", "3 9 200");
    CHECK(v.state == SAVED_WHOLE && v.quiet[0] == 90 && v.quiet[1] == 0);
    position_say_flow(&v, 0, &b);
    CHECK(b.len == strlen("from flow=0 pos=100 quiet=90") &&
          memcmp(b.p, "from flow=0 pos=100 quiet=90", b.len) == 0);
    b.len = 0;
    position_say_flow(&v, 1, &b);
    CHECK(b.len == strlen("from flow=1 pos=200"));
    buf_free(&b);
    /* What was carried out behind it was an effect, wherever it stands. */
    EQ(KEY("session", "n 3 1 r -", "f0", "3 7 100 90", "a0", "3 91 1 1 0").quiet[0], 0);
    EQ(KEY("session", "n 3 1 r -", "f0", "3 7 100 90", "a0", "3 105 1 1 0").quiet[0], 0);
    EQ(KEY("session", "n 3 1 r -", "f0", "3 7 100 90", "a0", "3 90 1 1 0").quiet[0], 90);
    EQ(KEY("session", "n 3 1 r -", "f0", "3 7 100 90", "a0", "2 105 1 1 0").quiet[0], 90);
    EQ(KEY("session", "n 4 1 r -", "f0", "3 7 100 90").quiet[0], 0); /* of another epoch */
}

/* ---- slots and marks ---- */

static void places(void)
{
    struct exact_id id = {.pos = UINT64_MAX, .sub = UINT32_MAX, .step = 3, .held = 0x8001};
    struct exact_past p;
    char text[POSITION_TEXT], history[HISTORY_MAX];
    uint64_t number;
    size_t n = position_place_print(NONCE + 16, &id, text);
    EQ(n, strlen(text));
    CHECK(position_place_parse(&p, history, 'f', 2, "f1", text));
    EQ_S(history, NONCE + 16);
    CHECK(p.flow == 1 && memcmp(&p.id, &id, sizeof id) == 0);
    CHECK(!position_place_parse(&p, history, 'f', 1, "f1", text)); /* no such flow */
    CHECK(!position_place_parse(&p, history, 'f', 2, "w", text));
    CHECK(!position_place_parse(&p, history, 'a', 2, "f1", text));
    CHECK(!position_place_parse(&p, history, 'f', 2, "f1", "h 1 2 3"));
    CHECK(!position_place_parse(&p, history, 'f', 2, "f1", "h 1 4294967296 3 4"));
    CHECK(!position_place_parse(&p, history, 'f', 2, "f1", "h 18446744073709551616 2 3 4"));
    CHECK(!position_place_parse(&p, history, 'f', 2, "f1", NONCE " 1 2 3 4")); /* too long a history */
    n = position_pair_print("h.1", 77, text);
    CHECK(position_mark_parse(text, n, history, &number) && number == 77);
    CHECK(!position_mark_parse(text, n + 1, history, &number)); /* a NUL in it */
    CHECK(!position_mark_parse("h.1", 3, history, &number));
    CHECK(!position_mark_parse("h.1 x", 5, history, &number));
}

/* ---- the file ---- */

static const char *sealed(struct position_file *f, const char *task, const char *body)
{
    struct buf b = {0};
    size_t len = 0;
    (void)buf_addstr(&b, "df2redis positions 1\n");
    (void)buf_addstr(&b, body);
    position_file_seal(&b);
    uint8_t *p = exact(b.p, b.len);
    const char *fault = position_file_check((const char *)p, b.len, &len);
    if (fault == NULL)
        fault = position_file_parse(f, task, (const char *)p, len);
    free(p);
    buf_free(&b);
    return fault != NULL ? fault : "";
}

#define FIRST "task=t\nflows=2\nreplid=r\nlineage=l\n" /* all that the first version had */

static void files(void)
{
    struct position_file f;
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nf1=6\n"), "");
    CHECK(f.v.state == SAVED_WHOLE && f.v.flows == 2 && f.v.pos[0] == 5 && f.v.pos[1] == 6);
    CHECK(f.nonce[0] == '\0' && !f.over && !f.v.verify && f.v.history[0] == '\0' && !f.v.began_empty);
    EQ_S(sealed(&f, "u", FIRST "whole=1\nf0=5\nf1=6\n"), "it belongs to another task");
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\n"), "positions are missing");
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nf1=0\n"), "positions are missing");
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nf1=18446744073709551616\n"), "positions are missing");
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nf1=-6\n"), "positions are missing");
    EQ_S(sealed(&f, "t", FIRST "f0=5\nf1=6\n"), "fields are missing");
    EQ_S(sealed(&f, "t", "task=t\nflows=0\nreplid=r\nlineage=l\nwhole=1\n"), "fields are missing");
    EQ_S(sealed(&f, "t", "task=t\nflows=1025\nreplid=r\nlineage=l\nwhole=1\n"), "fields are missing");
    EQ_S(sealed(&f, "t", "task=t\nflows=1\nreplid=" REPLID REPLID "\nlineage=l\nwhole=1\nf0=1\n"),
         "fields are missing");
    EQ_S(sealed(&f, "t", "task=t%00\nflows=1\nreplid=r\nlineage=l\nwhole=1\nf0=1\n"),
         "it belongs to another task");
    EQ_S(sealed(&f, "t", ""), "it belongs to another task");
    EQ_S(sealed(&f, "t", FIRST "whole=0\nf0=0\nf1=6\n"), "");
    EQ(f.v.state, SAVED_INCOMPLETE);
    EQ_S(sealed(&f, "t", FIRST "whole=0\nlost=1\nempty=1\nf0=0\nf1=6\nf1=7\n"), "");
    CHECK(f.v.state == SAVED_LOST && f.v.began_empty && f.v.pos[1] == 6); /* of two the first counts */
    EQ_S(sealed(&f, "t", FIRST "whole=1\nover=1\nf0=5\nq0=3\nf1=6\nq1=6\n"), "");
    CHECK(f.over && f.v.quiet[0] == 3 && f.v.quiet[1] == 0);
    EQ_S(sealed(&f, "t", FIRST "whole=1\nover=0\nf0=5\nq0=3\nf1=6\n"), ""); /* something may be beyond 5 */
    EQ(f.v.quiet[0], 0);
    EQ_S(sealed(&f, "t", FIRST "whole=1\nnonce=n\nepoch=4294967296\nf0=5\nf1=6\n"), "");
    EQ_S(f.nonce, "");
}

static void lineages_of_files(void)
{
    struct position_file f;
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nf1=6\n"), "");
    CHECK(f.v.own[0].replid[0] == '\0' && f.v.own[1].replid[0] == '\0'); /* as all files before */
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nl0=a%20b%20later\nf1=6\nl2=x\n"), "");
    EQ_S(f.v.own[0].replid, "a");
    EQ_S(f.v.own[0].top, "b");
    CHECK(f.v.own[1].replid[0] == '\0');
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nl0=a\nf1=6\n"), "a lineage is malformed");
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nl1=\nf1=6\n"), "a lineage is malformed");
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nl0=a%20b%00\nf1=6\n"), "a lineage is malformed");
    EQ_S(sealed(&f, "t", FIRST "whole=1\nf0=5\nl0=" REPLID REPLID "%20-\nf1=6\n"), "a lineage is malformed");
    EQ_S(sealed(&f, "t",
                FIRST "whole=1\nf0=5\nl0=" REPLID REPLID REPLID REPLID REPLID REPLID REPLID "%20-\nf1=6\n"),
         "a lineage is malformed");
}

static void as_written(void)
{
    struct position_file f = {.task = "a task", .nonce = NONCE, .epoch = 65535, .over = true}, back;
    struct buf b = {0};
    size_t len;
    f.v = (struct saved_vector){.state = SAVED_WHOLE,
                                .lineage = {.replid = REPLID, .top = "-"},
                                .history = "h.1",
                                .verify = true,
                                .flows = REC_FLOWS_MAX};
    for (unsigned i = 0; i < f.v.flows; i++) {
        f.v.pos[i] = UINT64_MAX - i;
        f.v.quiet[i] = i % 3 == 0 ? f.v.pos[i] - 1 : 0;
        if (i % 2 == 1)
            f.v.own[i] = (struct lineage){.replid = REPLID, .top = "a%"};
    }
    position_file_print(&f, &b);
    position_file_seal(&b);
    CHECK(b.len < POSITION_FILE_MAX / 2);
    CHECK(position_file_check((const char *)b.p, b.len, &len) == NULL);
    CHECK(position_file_parse(&back, "a task", (const char *)b.p, len) == NULL);
    CHECK(memcmp(&f.v, &back.v, sizeof f.v) == 0 && back.epoch == f.epoch && back.over);
    EQ_S(back.nonce, f.nonce);
    for (size_t cut = 0; cut < b.len; cut += cut < 100 ? 1 : 997)
        CHECK(position_file_check((const char *)b.p, cut, &len) != NULL);
    b.p[30] ^= 1;
    CHECK(position_file_check((const char *)b.p, b.len, &len) != NULL);
    buf_free(&b);
}

static bool marks_of(struct position_marks *m, const char *text)
{
    uint8_t *p = exact(text, strlen(text));
    bool ok = position_marks_parse(m, (const char *)p, strlen(text));
    free(p);
    return ok;
}

static void marks(void)
{
    static struct position_marks m, back;
    static const char *const bad[] = {
        "",
        "marks=h%204%201\n",
        "marked=1\n",
        "marks=h%204\nmarked=1\n",
        "marks=h%20x%201\nmarked=1\n",
        "marks=h%204%201\nmarked=16384\n",
        "marks=h%204%201\nmarked=1,1\n",
        "marks=h%204%201\nmarked=1,\n",
        "marks=h%204%201\nmarked=,1\n",
        "marks=h%204%201\nmarked=-1\n",
        "marks=h%204%201\nmarked=1%202\n",
        "marks=h%204%201\nmarked=1\nmaster0=h:1\n",
        "marks=h%204%201\nmarked=1\nmaster0=h:1%20a%20b%20c\n",
        "marks=h%204%201\nmarked=1\nmaster0=h:1%20a%20b%201%205\nmaster1=\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        if (!CHECK(!marks_of(&m, bad[i]) && m.master == NULL))
            printf("  %s\n", bad[i]);
    CHECK(marks_of(&m, "marks=h%204%200\nmarked=\n") && m.slots == 0 && !m.covered && m.masters == 0);
    struct identity who = {.run_id = "a", .replid = "b", .pid = "7", .started = 1700000000},
                    none = {.started = 0};
    struct buf b = {0};
    m = (struct position_marks){
        .history = "h.1", .number = UINT64_MAX, .covered = true, .slots = POSITION_MASTERS};
    for (unsigned i = 0; i < m.slots; i++)
        m.slot[i] = (uint16_t)(SLOTS - 1 - i);
    position_marks_print(&m, &b);
    position_master_print(0, "h:1", &who, &b);
    position_master_print(1, "[::1]:2", &none, &b);
    CHECK(position_marks_parse(&back, (const char *)b.p, b.len));
    CHECK(back.number == m.number && back.covered && back.slots == m.slots && back.masters == 2);
    EQ_B(back.slot, sizeof back.slot, m.slot, sizeof m.slot);
    EQ_S(back.history, "h.1");
    if (back.masters == 2) {
        EQ_S(back.master[1].name, "[::1]:2");
        CHECK(identity_same(&back.master[0].who, &who) && !identity_same(&back.master[1].who, &none));
    }
    free(back.master);
    buf_free(&b);
}

/* ---- to dfreader ---- */

static void said(void)
{
    static struct saved_vector v;
    struct buf b = {0};
    position_say(&v, 2, &b);
    EQ_B(b.p, b.len, "resume epoch=2 state=none flows=0 verify=0", 42);
    v = (struct saved_vector){
        .state = SAVED_WHOLE, .lineage = {.replid = "a b", .top = "-"}, .flows = 1, .verify = true};
    v.pos[0] = UINT64_MAX;
    b.len = 0;
    position_say(&v, 2, &b);
    (void)buf_addstr(&b, "|");
    position_say_flow(&v, 0, &b);
    static const char want[] = "resume epoch=2 state=saved replid=a%20b lineage=- flows=1 verify=1|from "
                               "flow=0 pos=18446744073709551615";
    EQ_B(b.p, b.len, want, sizeof want - 1);
    v.own[0] = (struct lineage){.replid = "c d", .top = "-"};
    b.len = 0;
    position_say_flow(&v, 0, &b);
    static const char own[] = "from flow=0 pos=18446744073709551615 replid=c%20d lineage=-";
    EQ_B(b.p, b.len, own, sizeof own - 1);
    buf_free(&b);
}

/* The slots that flows of a cluster hold: of a set that is none nothing is known. */
static void slots(void)
{
    struct saved_vector v = KEY("session", NONCE " 3 4 " REPLID " lin", "s0", "0-5,7", "f0", "3 7 100", "f1",
                                "3 9 200", "s1", "7-5", "f2", "3 9 300", "s2", "-", "f3", "3 9 400");
    struct buf b = {.max = 4096};
    EQ(v.state, SAVED_WHOLE);
    EQ_S(v.slots[0], "0-5,7");
    CHECK(v.slots[1] == NULL && v.slots[3] == NULL);
    EQ_S(v.slots[2], "-");
    position_say_flow(&v, 0, &b);
    (void)buf_add(&b, "", 1);
    EQ_S((const char *)b.p, "from flow=0 pos=100 slots=0-5,7");
    b.len = 0;
    struct position_file f = {.task = "t", .v = v}, back;
    memcpy(f.nonce, NONCE, sizeof NONCE);
    position_file_print(&f, &b);
    CHECK(position_file_parse(&back, "t", (const char *)b.p, b.len) == NULL);
    EQ_S(back.v.slots[0], "0-5,7");
    CHECK(back.v.slots[1] == NULL);
    saved_vector_free(&back.v);
    saved_vector_free(&v);
    buf_free(&b);
}

int main(void)
{
    slots();
    key_states();
    positions_that_do_not_count();
    lineages();
    sessions_that_are_none();
    binary();
    beyond();
    quiet();
    places();
    files();
    lineages_of_files();
    as_written();
    marks();
    said();
    return test_done();
}
