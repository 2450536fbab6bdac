/* --on-existing skip and fail: what the snapshot has is written so that a key of the name at the target is
 * noticed by the reply, and not changed. What the journal says is written as ever. */
#include "test.h"

#include "../../parser/flow.h"
#include "../../parser/command/scripts.h"

static struct capture cap;
static struct flow flow;

static void feed(struct buf *b)
{
    uint8_t *p = exact(b->p, b->len);
    CHECK(flow_feed(&flow, &cap.e, p, b->len, 0, UINT64_C(1700000000000000)) == 0);
    free(p);
    buf_free(b);
}

/* @ in want: the script that refuses keys that exist; ~: the one that sets only new ones; ^: that restores
 * only these. */
static void check(const char *want)
{
    struct buf b = {0};
    for (const char *p = want; *p != '\0'; p++) {
        const char *script = *p == '@' ? LUA_ONLY_NEW : *p == '~' ? LUA_SET_NEW : LUA_RESTORE_NEW;
        if (strchr("@~^", *p) != NULL)
            show_bytes(&b, (const uint8_t *)script, strlen(script));
        else
            (void)buf_add(&b, p, 1);
    }
    (void)buf_add(&b, "", 1);
    const char *text = capture_text(&cap);
    char *copy = strdup(text); /* show_bytes works in the same memory */
    EQ_S(copy, (const char *)b.p);
    free(copy);
    buf_free(&b);
}

static void begin(const char *target, const char *policy)
{
    capture_init(&cap);
    CHECK(target_parse(&cap.e.target, target));
    CHECK(target_existing(&cap.e.target, policy));
    flow_init(&flow, 0);
    flow_begin(&flow, 1, false, true, 1, 0, NULL);
}

static void end(void)
{
    flow_free(&flow);
    capture_free(&cap);
}

static void is(const char *target, const char *snapshot, const char *want)
{
    static const char *const policies[] = {"skip", "fail"};
    for (int i = 0; i < 2; i++) {
        struct buf b = hex("'REDIS0009'");
        add_hex(&b, snapshot);
        begin(target, policies[i]);
        feed(&b);
        check(want);
        end();
    }
}

#define EXPIRES "fc 80e54c7b9b010000 " /* 1767300195712 */

static void strings(void)
{
    is("7.0", "00 01 'k' 01 'v'", "1 pos=0 db=0 I string | SET k v NX\n");
    is("7.0", EXPIRES "00 01 'k' 01 'v'", "1 pos=0 db=0 I string | SET k v PXAT 1767300195712 NX\n");
    is("6.0", EXPIRES "00 01 'k' 01 'v'", "1 pos=0 db=0 I string key=3 | EVAL ~ 1 k v 1767300195712\n");
}

static void containers(void)
{
    static const char set[] = "02 01 'k' 01 01 'm'";
    is("portable", set,
       "1 pos=0 db=0 IF set key=3 | EVAL @ 1 k\n2 pos=0 db=0 I set | SADD k m\n3 pos=0 db=0 L position\n");
    begin("7.0", "skip");
    struct buf b = hex("'REDIS0009' 02 01 'k' 01 01 'm' "), first = {0};
    feed(&b);
    const char *text = capture_text(&cap);
    CHECK(strncmp(text, "1 pos=0 db=0 I set | RESTORE k 0 ", 33) == 0);
    CHECK(strstr(text, "REPLACE") == NULL && strstr(text, "MALFORMED") == NULL);
    end();
    begin("7.0", "skip");
    b = hex("'REDIS0009' " EXPIRES " 02 01 'k' 01 01 'm' ");
    feed(&b);
    text = capture_text(&cap);
    CHECK(strstr(text, " ABSTTL\n") != NULL && strstr(text, "REPLACE") == NULL);
    end();
    buf_free(&first);
    /* Redis 4.0 has no ABSTTL: the expiry comes behind it, or in one script. */
    begin("4.0", "overwrite");
    b = hex("'REDIS0009' " EXPIRES " 02 01 'k' 01 01 'm' ");
    feed(&b);
    text = capture_text(&cap);
    CHECK(strncmp(text, "1 pos=0 db=0 IF set | RESTORE k 0 ", 34) == 0);
    CHECK(strstr(text, " REPLACE\n2 pos=0 db=0 IL set | PEXPIREAT k 1767300195712\n") != NULL);
    end();
    is("4.0", EXPIRES "02 01 'k' 01 01 'm' ",
       "1 pos=0 db=0 I set key=3 | EVAL ^ 1 k \\x02\\x01\\x01m\\x06\\x00P\\x11\\xde\\xd7\\x15\\xd3\\x99# "
       "1767300195712\n");
    /* an empty container: nothing is to be made, and nothing removed */
    is("portable", "02 01 'k' 00", "");
}

static void json(void)
{
    struct buf b = hex("'REDIS0009' 1e 01 'k' 02 '{}'");
    begin("8.0", "fail");
    cap.e.target.has_json = true;
    feed(&b);
    check("1 pos=0 db=0 IF json key=3 | EVAL @ 1 k\n2 pos=0 db=0 I json | JSON.SET k $ {}\n"
          "3 pos=0 db=0 L position\n");
    end();
}

/* The first part must be answered before the others are sent; only it may find the key. */
static void large_string(void)
{
    size_t n = ((size_t)1 << 20) + 1;
    struct buf b = hex("'REDIS0009' 00 01 'k'");
    b.max = (size_t)4 << 20;
    uint8_t *v = calloc(1, n);
    add_pstr(&b, v, n);
    begin("7.0", "skip");
    feed(&b);
    const char *text = capture_text(&cap);
    CHECK(strncmp(text, "1 pos=0 db=0 IF string key=3 | EVAL ", 36) == 0);
    CHECK(strstr(text, "\n2 pos=0 db=0 I string | SET k <131072 bytes ") != NULL);
    CHECK(strstr(text, " NX") == NULL);
    CHECK(strstr(text, " L position\n") != NULL);
    end();
    free(v);
}

static void live(void)
{
    struct buf b = hex("'REDIS0009'"), j = {0};
    add_command(&j, 1, "SET k v");
    add_hex(&b, "d2 01");
    add_pstr(&b, j.p, j.len);
    begin("7.0", "skip");
    feed(&b);
    check("1 pos=0 db=0 IV string | SET k v\n");
    end();
    buf_free(&j);
}

int main(void)
{
    struct target t;
    strings();
    containers();
    json();
    large_string();
    live();
    CHECK(target_said(&t, "target kind=redis version=7.0.15 existing=skip"));
    EQ(t.existing, EXISTING_SKIP);
    CHECK(!target_said(&t, "target kind=redis version=7.0.15 existing=maybe"));
    return test_done();
}
