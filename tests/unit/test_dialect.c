/* A source whose commands do what they say, as Redis: they go as they are where Dragonfly's need more. */
#include "journaled.h"

static void plain(const char *line, const char *want)
{
    struct buf b = {0};
    begin("7.0", (struct source){0});
    flow.to.dialect = (struct dialect){.early = false};
    add_command(&b, 7, line);
    feed(&b);
    if (!EQ_S(capture_text(&cap), want))
        printf("  for a plain source: %s\n", line);
    end();
    buf_free(&b);
}

int main(void)
{
    plain("INCRBYFLOAT k 1.5", ONE "V | INCRBYFLOAT k 1.5\n");
    plain("HINCRBYFLOAT k f 1.5", ONE "V | HINCRBYFLOAT k f 1.5\n");
    plain("RENAME a b", ONE "VK | RENAME a b\n");
    plain("SORT k", ONE "V | SORT k\n");
    plain("SORT k STORE d", ONE "VK | SORT k STORE d\n");
    plain("XADD s 1-1 f v", ONE "V | XADD s 1-1 f v\n");
    plain("XSETID s 5-0", ONE "IV | XSETID s 5-0\n");
    plain("XCLAIM s g c 0 1-1", ONE "V | XCLAIM s g c 0 1-1\n");
    is("7.0", "SORT k", "LOST kind=command-needs-source key=k\n" SKIPPED);
    return test_done();
}
