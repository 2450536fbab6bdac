/* Names of the target turned back into those of the source, and the databases they may be from. */
#include "../../parser/reread/slot_names.h"
#include "test.h"

static struct slice text(const char *s)
{
    return (struct slice){(const uint8_t *)s, strlen(s)};
}

/* "db:name ..." of all that the target's key may have been made from. */
static const char *back(struct slot_names *s, uint32_t db, const char *key)
{
    static char out[400];
    struct slice name, k = text(key);
    uint32_t from;
    size_t n = 0;
    out[0] = '\0';
    for (uint32_t at = 0; slot_names_back(s, db, &k, &at, &from, &name);)
        n += (size_t)snprintf(out + n, sizeof out - n, "%s%u:%.*s", n > 0 ? " " : "", from, (int)name.n,
                              (const char *)name.p);
    return out;
}

static bool taken(struct slot_names *s, const char *key)
{
    struct slice k = text(key);
    return slot_names_taken(s, 0, &k);
}

static void same_names(void)
{
    struct slot_names s = {.filter = NULL};
    EQ_S(back(&s, 0, "k"), "0:k");
    EQ_S(back(&s, 3, "k"), "3:k");
    CHECK(!taken(&s, "k") && !slot_names_shared(&s, 0));
}

static void one_rule(void)
{
    static struct filter f;
    struct slot_names s = {.filter = &f};
    CHECK(filter_add_rename(&f, "a:=b:") == NULL);
    EQ_S(back(&s, 0, "b:1"), "0:a:1"); /* not b:1, which is left out */
    EQ_S(back(&s, 0, "c"), "0:c");
    EQ_S(back(&s, 0, "a:1"), ""); /* it would have another name */
    CHECK(taken(&s, "b:1") && !taken(&s, "a:1") && !taken(&s, "c"));
    CHECK(filter_add_rule(&f, "prefix:a:", true) == NULL);
    EQ_S(back(&s, 0, "b:1"), "0:b:1"); /* the other one is not selected */
    CHECK(!taken(&s, "b:1"));
    slot_names_free(&s);
    filter_clear(&f);
}

static void several_rules(void)
{
    static struct filter f;
    struct slot_names s = {.filter = &f};
    CHECK(filter_add_rename(&f, "a:=b:") == NULL && filter_add_rename(&f, "b:=a:") == NULL);
    CHECK(filter_add_rename(&f, "=x:") == NULL); /* all others */
    EQ_S(back(&s, 0, "b:1"), "0:a:1");
    EQ_S(back(&s, 0, "a:1"), "0:b:1");
    EQ_S(back(&s, 0, "x:c"), "0:c");
    EQ_S(back(&s, 0, "x:a:1"), "");
    EQ_S(back(&s, 0, "c"), "");
    CHECK(!taken(&s, "a:1") && !taken(&s, "b:1") && !taken(&s, "c") && !taken(&s, "x:c"));
    slot_names_free(&s);
    filter_clear(&f);
}

/* Two rules with one result: the first one counts. */
static void rules_that_meet(void)
{
    static struct filter f;
    struct slot_names s = {.filter = &f};
    CHECK(filter_add_rename(&f, "a:=c:") == NULL && filter_add_rename(&f, "b:=c:") == NULL);
    EQ_S(back(&s, 0, "c:1"), "0:a:1");
    CHECK(!taken(&s, "a:1") && taken(&s, "b:1") && taken(&s, "c:1") && !taken(&s, "d"));
    slot_names_free(&s);
    filter_clear(&f);
}

static void databases(void)
{
    static struct filter f;
    struct slot_names s = {.filter = &f};
    CHECK(filter_add_dbs(&f, "1=7,*=0") == NULL);
    EQ_S(back(&s, 7, "k"), "1:k");
    EQ_S(back(&s, 0, "k"), "0:k"); /* of none: from any */
    EQ_S(back(&s, 5, "k"), "");
    slot_names_see(&s, 4);
    EQ_S(back(&s, 0, "k"), "4:k");
    CHECK(!slot_names_shared(&s, 4) && slot_names_shared(&s, 0));
    slot_names_see(&s, 2);
    EQ_S(back(&s, 0, "k"), "2:k 4:k");
    CHECK(slot_names_shared(&s, 4) && slot_names_shared(&s, 2) && !slot_names_shared(&s, 1));
    slot_names_see(&s, 1000);
    CHECK(slot_names_shared(&s, 9) && !slot_names_shared(&s, 1));
    slot_names_free(&s);
    filter_clear(&f);
}

int main(void)
{
    same_names();
    one_rule();
    several_rules();
    rules_that_meet();
    databases();
    return test_done();
}
