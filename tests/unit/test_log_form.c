/* Log lines as words and as JSON; and progress in words. */
#include "test.h"

#include "../../common/log_form.h"
#include "../../reader/progress.c"

static const char *as(enum log_form form, const char *line)
{
    static char text[4096];
    struct buf b = {.max = sizeof text - 1};
    char *copy = (char *)exact(line, strlen(line)); /* so that a read behind the line is seen */
    log_form_line(form, copy, strlen(line), &b);
    snprintf(text, sizeof text, "%.*s", (int)b.len, b.len > 0 ? (const char *)b.p : "");
    free(copy);
    buf_free(&b);
    return text;
}

static void test_human(void)
{
    EQ_S(as(LOG_FORM_HUMAN, "level=warn stage=dfreader flow=3 event=flow_silent seconds=12 bytes=33"),
         "warning: dfreader, flow 3: flow silent (seconds 12, bytes 33)");
    EQ_S(as(LOG_FORM_HUMAN,
            "level=error stage=rediswriter event=failed error=\"it's \\\"gone\\\"\" note=\"x=1 y\""),
         "error: rediswriter: failed: it's \"gone\"; x=1 y");
    EQ_S(as(LOG_FORM_HUMAN, "level=info stage=dfreader event=peer_joined role=parser"),
         "dfreader: peer joined (role parser)");
    EQ_S(as(LOG_FORM_HUMAN, "time=2026-01-02T03:04:05.678Z level=info stage=a event=b"),
         "2026-01-02T03:04:05.678Z a: b");
    /* Nothing that a terminal obeys. */
    EQ_S(as(LOG_FORM_HUMAN, "level=warn stage=a event=b key=\"\\x1b[2J\\x00\""), "warning: a: b (key ?[2J?)");
    EQ_S(as(LOG_FORM_HUMAN, "dfparse: unknown option"), "dfparse: unknown option");
    EQ_S(as(LOG_FORM_HUMAN, ""), "");
}

static void test_json(void)
{
    EQ_S(as(LOG_FORM_JSON,
            "level=warn stage=dfreader flow=3 event=flow_silent seconds=12 why=\"a \\\"b\\\"\""),
         "{\"level\":\"warn\",\"stage\":\"dfreader\",\"flow\":3,\"event\":\"flow_silent\",\"seconds\":12,"
         "\"why\":\"a \\\"b\\\"\"}");
    EQ_S(as(LOG_FORM_JSON, "stage=rediswriter summary n=007 big=12345678901234567 f=1.5"),
         "{\"stage\":\"rediswriter\",\"text\":\"summary\",\"n\":\"007\",\"big\":\"12345678901234567\","
         "\"f\":\"1.5\"}");
    EQ_S(as(LOG_FORM_JSON, "level=info stage=a event=b key=\"\\xff\\x0a\""),
         "{\"level\":\"info\",\"stage\":\"a\",\"event\":\"b\",\"key\":\"\\u00ff\\u000a\"}");
    EQ_S(as(LOG_FORM_JSON, "dfparse: \"x\""), "{\"message\":\"dfparse: \\\"x\\\"\"}");
    EQ_S(as(LOG_FORM_JSON, ""), "{\"message\":\"\"}");
}

/* Cut anywhere: no crash, and what is there stays. */
static void test_cut(void)
{
    static const char line[] = "level=warn stage=a event=b error=\"x\\x41\\\"y\" n=\"\\x4\" z=";
    for (size_t n = 0; n < sizeof line; n++) {
        char part[sizeof line];
        memcpy(part, line, n);
        part[n] = '\0';
        const char *json = as(LOG_FORM_JSON, part);
        CHECK(json[0] == '{' && json[strlen(json) - 1] == '}');
        EQ_S(as(LOG_FORM_LOGFMT, part), part);
        (void)as(LOG_FORM_HUMAN, part);
    }
    EQ_S(as(LOG_FORM_HUMAN, "level=warn stage=a event=b error=\"x\\x41\\\"y\" n=\"\\x4\" z="),
         "warning: a: b: xA\"y (n x4, z )");
}

/* More fields than a line may have are left out, whole. */
static void test_many(void)
{
    struct buf b = {.max = 65536}, out = {.max = 65536};
    (void)buf_addstr(&b, "level=info stage=a event=b");
    for (unsigned i = 0; i < 500; i++)
        (void)buf_addf(&b, " n%u=%u", i, i);
    log_form_line(LOG_FORM_JSON, (const char *)b.p, b.len, &out);
    CHECK(out.p[out.len - 1] == '}' && out.len < 1000);
    buf_free(&b);
    buf_free(&out);
}

static const char *words(struct progress p)
{
    static char text[400];
    struct buf b = {.max = sizeof text - 1};
    progress_text(&p, &b);
    snprintf(text, sizeof text, "%.*s", (int)b.len, (const char *)b.p);
    buf_free(&b);
    return text;
}

static void test_progress(void)
{
    struct progress p = {
        .phase = "fullsync", .flows = 2, .up = 2, .bytes = 5000000, .rate = 1e6, .us = 5000000};
    EQ_S(words(p), "fullsync  flows 2/2  synced 0  5.0 MB  1.0 MB/s");
    p.size = 20000000;
    EQ_S(words(p), "fullsync  flows 2/2  synced 0  5.0 MB  1.0 MB/s  25 % of 20.0 MB  15 s left");
    p.size = 0;
    p.keys = 10;
    p.all = 10000;
    EQ_S(words(p),
         "fullsync  flows 2/2  synced 0  10 keys  5.0 MB  1.0 MB/s  0 % of 10000 keys  83 min left");
    p.keys = 20000; /* more came since the source was asked */
    p.lag_known = true;
    p.lag = 7;
    EQ_S(words(p), "fullsync  flows 2/2  synced 0  20000 keys  5.0 MB  1.0 MB/s  behind by 7");
    EQ_I(progress_left(0, 10, 5), -1);
    EQ_I(progress_left(10, 0, 5), -1);
    EQ_I(progress_left(10, 10, 5000000), 0);
}

int main(void)
{
    test_human();
    test_json();
    test_cut();
    test_many();
    test_progress();
    return test_done();
}
