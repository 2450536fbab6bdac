/* The positions that a writer reports to dfreader. */
#include "test.h"

#include "../../reader/resume.c"

static void test_resume(void)
{
    static const char id[] = "0123456789012345678901234567890123456789";
    char line[200];
    struct resume r = {.state = RESUME_UNKNOWN};
    CHECK(!resume_line(&r, "from flow=0 pos=7")); /* without a beginning */
    CHECK(resume_line(&r, "resume state=none"));
    EQ_I(r.state, RESUME_NONE);
    snprintf(line, sizeof line, "resume epoch=1 state=saved replid=%s lineage=%s flows=3", id, id);
    CHECK(!resume_line(&r, line));
    CHECK(!resume_line(&r, "from flow=2 pos=18446744073709551615"));
    CHECK(!resume_line(&r, "from flow=3 pos=1"));
    CHECK(!resume_line(&r, "from flow=0 pos=5"));
    CHECK(!resume_line(&r, "from flow=0 pos=6"));
    CHECK(!resume_line(&r, "from flow=1"));
    CHECK(resume_line(&r, "from flow=1 pos=1"));
    EQ_I(r.state, RESUME_SAVED);
    EQ_S(resume_vector(&r), "6-1-18446744073709551615");
    EQ_S(resume_vector(&r), "6-1-18446744073709551615");
    CHECK(!resume_line(&r, line)); /* said again: from the beginning */
    CHECK(resume_line(&r, "from flow=1 pos=0"));
    EQ_I(r.state, RESUME_INCOMPLETE);
    CHECK(resume_line(&r, "from flow=1 pos=9")); /* too late */
    EQ_I(r.state, RESUME_INCOMPLETE);
    static const char *const useless[] = {"resume", "resume state=saved", "resume state=maybe",
                                          "resume state=saved flows=0 replid="};
    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        CHECK(resume_line(&r, useless[i]));
        EQ_I(r.state, RESUME_INCOMPLETE);
    }
    resume_free(&r);
}

/* Where the session may go on as well. */
static void test_resume_quiet(void)
{
    static const struct {
        const char *line;
        uint64_t quiet;
    } cases[] = {
        {"from flow=0 pos=9 quiet=5", 5},  {"from flow=0 pos=9 quiet=8 slots=", 8},
        {"from flow=0 pos=9", 0},          {"from flow=0 pos=9 quiet=9", 0},
        {"from flow=0 pos=9 quiet=10", 0}, {"from flow=0 pos=9 quiet=-1", 0},
        {"from flow=0 pos=9 quiet=x", 0},  {"from flow=0 pos=9 quiet=0", 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct resume r = {.state = RESUME_UNKNOWN};
        CHECK(!resume_line(&r, "resume state=saved flows=1 replid=aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
        CHECK(resume_line(&r, cases[i].line));
        if (!CHECK(r.state == RESUME_SAVED && r.flow[0].pos == 9 && r.flow[0].quiet == cases[i].quiet))
            printf("  %s\n", cases[i].line);
        resume_free(&r);
    }
}

/* Another process is told the same, also that the full sync has to be verified. */
static void test_resume_said_on(void)
{
    struct buf b = {.max = 400};
    for (unsigned verify = 0; verify < 2; verify++) {
        char line[200];
        struct resume r = {.state = RESUME_UNKNOWN}, again = {.state = RESUME_UNKNOWN};
        snprintf(line, sizeof line, "resume state=saved flows=1 verify=%u replid=%040d", verify, 7);
        CHECK(!resume_line(&r, line));
        CHECK(resume_line(&r, "from flow=0 pos=9"));
        for (unsigned i = 0; i < 2; i++) {
            b.len = 0;
            if (i == 0)
                resume_say(&r, &b);
            else
                resume_say_flow(&r, 0, &b);
            (void)buf_add(&b, "", 1);
            EQ_I(resume_line(&again, (const char *)b.p), i);
        }
        EQ_I(again.state, RESUME_SAVED);
        EQ_I(again.verify, verify);
        EQ_I((long long)again.flow[0].pos, 9);
        EQ_S(again.flow[0].lineage.replid, r.flow[0].lineage.replid);
        resume_free(&r);
        resume_free(&again);
    }
    buf_free(&b);
}

/* Each flow has the lineage that was saved with it, or else that of the line "resume". */
static void test_resume_lineages(void)
{
    static const char a[] = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                      b[] = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    char line[300];
    struct resume r = {.state = RESUME_UNKNOWN};
    snprintf(line, sizeof line, "resume state=saved replid=%s lineage=%s flows=2", a, a);
    CHECK(!resume_line(&r, line));
    snprintf(line, sizeof line, "from flow=1 pos=7 replid=%s", b);
    CHECK(!resume_line(&r, line));
    CHECK(resume_line(&r, "from flow=0 pos=5"));
    EQ_I(r.state, RESUME_SAVED);
    EQ_S(r.flow[0].lineage.replid, a);
    EQ_S(r.flow[0].lineage.top, a);
    EQ_S(r.flow[1].lineage.replid, b);
    EQ_S(r.flow[1].lineage.top, "");
    /* Of no flow it may be unknown whose position it is. */
    CHECK(!resume_line(&r, "resume state=saved replid=- lineage=- flows=2"));
    snprintf(line, sizeof line, "from flow=1 pos=7 replid=%s lineage=-", b);
    CHECK(!resume_line(&r, line));
    CHECK(resume_line(&r, "from flow=0 pos=5"));
    EQ_I(r.state, RESUME_INCOMPLETE);
    static const char *const useless[] = {"from flow=1 pos=7",
                                          "from flow=1 pos=7 replid=", "from flow=1 pos=7 replid=a%20b"};
    for (size_t i = 0; i <= sizeof useless / sizeof *useless; i++) {
        /* One that is there, and is none, is not replaced by that of the others. */
        snprintf(line, sizeof line, "resume state=saved flows=2 replid=%s", i == 0 ? "x" : a);
        CHECK(!resume_line(&r, line));
        snprintf(line, sizeof line, "from flow=1 pos=7 replid=%s%s", a, b);
        CHECK(resume_line(&r, i < sizeof useless / sizeof *useless ? useless[i] : line));
        EQ_I(r.state, RESUME_INCOMPLETE);
    }
    resume_free(&r);
}

int main(void)
{
    test_resume();
    test_resume_quiet();
    test_resume_said_on();
    test_resume_lineages();
    return test_done();
}
