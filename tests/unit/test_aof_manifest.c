/* Manifests of append-only files: which entries, or what is wrong and in which line. */
#include "test.h"

#include "../../reader/file/aof_manifest.c"

static struct aof_manifest m;

static const char *parse(const char *text)
{
    aof_manifest_free(&m);
    return aof_manifest_parse(&m, (const uint8_t *)text, strlen(text));
}

static void test_taken(void)
{
    CHECK(parse("file a.base.rdb seq 1 type b\nfile a.incr seq 1 type i\nfile b.incr seq 2 type i\n") ==
          NULL);
    EQ_I(m.n, 3);
    CHECK(strcmp(m.v[0].name, "a.base.rdb") == 0 && m.v[0].type == 'b' && m.v[0].line == 1);
    CHECK(strcmp(m.v[2].name, "b.incr") == 0 && m.v[2].type == 'i' && m.v[2].line == 3);
    /* Another order, other pairs, blanks, capitals, carriage returns, comments. */
    CHECK(parse("# x\n  SEQ 7 TYPE incr  startoffset 9\tFILE a \r\nfile b seq -1 type b\n#") == NULL);
    EQ_I(m.n, 2);
    CHECK(m.v[0].type == 'i' && m.v[1].type == 'b');
    CHECK(parse("file x seq 9 type h\nfile y seq 1 type h\n") == NULL);
    CHECK(parse("# only a comment\n") == NULL);
    EQ_I(m.n, 0);
}

static void test_quotes(void)
{
    CHECK(parse("file \"a \\\"b\\\" \\x41\\n\\\\z\" seq 1 type b\n") != NULL); /* a backslash is no name */
    CHECK(parse("file \"a \\\"b\\\" \\x41\\n\\z\" seq 1 type b\n") == NULL);
    CHECK(strcmp(m.v[0].name, "a \"b\" A\nz") == 0);
    CHECK(parse("file 'it\\'s \"' seq 1 type b\n") == NULL);
    CHECK(strcmp(m.v[0].name, "it's \"") == 0);
    CHECK(parse("file a\"b c\" seq 1 type b\n") == NULL);
    CHECK(strcmp(m.v[0].name, "ab c") == 0);
    CHECK(parse("file \"a seq 1 type b\n") != NULL);
    CHECK(parse("file \"a\"b seq 1 type b\n") != NULL);
    CHECK(parse("file 'a seq 1 type b\n") != NULL);
    CHECK(parse("file \"a\\\n") != NULL);
}

static void test_refused(void)
{
    static const char *const wrong[] = {
        "",
        "\n",
        "file a seq 1 type b",
        "file a seq 1\n",
        "file a seq 1 type b x\n",
        "file a seq 0 type b\n",
        "file a seq x type b\n",
        "file a seq 1 type x\n",
        "file a/b seq 1 type b\n",
        "file \"\" seq 1 type b\n",
        "file a seq 1 type b\nfile b seq 2 type b\n",
        "file a seq 2 type i\nfile b seq 2 type i\n",
        "file a seq -1 type i\n",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        CHECK(parse(wrong[i]) != NULL);
    CHECK(parse("file a seq 1 type b\n# x\n\n") != NULL);
    EQ_I(m.line, 3);
    EQ_I(m.at, 24);
    aof_manifest_free(&m);
    CHECK(aof_manifest_parse(&m, (const uint8_t *)"file a seq 1 type b\0\n", 21) != NULL);
}

static void test_bounds(void)
{
    static char text[AOF_LINE_MAX * 3];
    /* As many words as a line can have, and as long a word. */
    for (size_t i = 0; i < AOF_LINE_MAX - 2; i++)
        text[i] = i % 2 == 0 ? 'a' : ' ';
    memcpy(text + AOF_LINE_MAX - 2, "\n", 2);
    CHECK(parse(text) != NULL);
    memset(text, 'a', sizeof text - 1);
    memcpy(text, "file ", 5);
    memcpy(text + AOF_LINE_MAX - 15, " seq 1 type b\n", 15);
    CHECK(parse(text) == NULL);
    EQ_I(strlen(m.v[0].name), AOF_LINE_MAX - 20);
    memset(text, 'a', sizeof text - 2);
    memcpy(text + sizeof text - 2, "\n", 2);
    CHECK(parse(text) != NULL);
    /* Many entries. */
    struct buf b = {0};
    for (unsigned i = 1; i <= 1000; i++)
        (void)buf_addf(&b, "file f%u seq %u type i\n", i, i);
    aof_manifest_free(&m);
    CHECK(aof_manifest_parse(&m, b.p, b.len) == NULL);
    EQ_I(m.n, 1000);
    CHECK(strcmp(m.v[999].name, "f1000") == 0);
    buf_free(&b);
}

int main(void)
{
    test_taken();
    test_quotes();
    test_refused();
    test_bounds();
    aof_manifest_free(&m);
    return test_done();
}
