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
    static const char *const useless[] = {"resume", "resume state=saved",
                                          "resume state=saved flows=3 replid=x", "resume state=maybe",
                                          "resume state=saved flows=0 replid="};
    for (size_t i = 0; i < sizeof useless / sizeof *useless; i++) {
        CHECK(resume_line(&r, useless[i]));
        EQ_I(r.state, RESUME_INCOMPLETE);
    }
    resume_free(&r);
}

int main(void)
{
    test_resume();
    return test_done();
}
