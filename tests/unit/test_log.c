/* Warnings that repeat in a loop are counted, not written; text of others is harmless in the log. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "test.h"

#include "../../common/log.h"

static const char file[] = "/tmp/df2redis-log.XXXXXX";

static size_t lines(int fd, const char *what)
{
    static char text[1 << 20];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    size_t count = 0;
    text[n > 0 ? n : 0] = '\0';
    for (const char *p = text; (p = strstr(p, what)) != NULL; p++)
        count++;
    return count;
}

static void test_repeated(void)
{
    char name[sizeof file];
    memcpy(name, file, sizeof file);
    int fd = mkstemp(name), before = dup(STDERR_FILENO);
    CHECK(fd >= 0 && before >= 0);
    (void)unlink(name);
    (void)dup2(fd, STDERR_FILENO);
    log_init("test", LOG_WARN);
    for (int i = 0; i < 100000; i++)
        log_event(LOG_WARN, NO_FLOW, "event=again number=%d", i);
    log_event(LOG_WARN, NO_FLOW, "event=another");
    log_event(LOG_WARN, 3, "event=flow");
    for (int i = 0; i < 2 * LOG_BURST; i++)
        log_event(LOG_ERROR, NO_FLOW, "event=error");
    (void)dup2(before, STDERR_FILENO);
    EQ(lines(fd, "event=again "), LOG_BURST);
    EQ(lines(fd, "event=another"), 1);
    EQ(lines(fd, "event=flow"), 1);
    EQ(lines(fd, "event=error"), 2 * LOG_BURST); /* they end something: each counts */
    close(fd);
    close(before);
}

static void test_clean(void)
{
    char text[] = "a\"b\nc\x1b[31m\xff\x7f~";
    log_clean(text);
    EQ_S(text, "a'b?c?[31m??~");
}

int main(void)
{
    test_repeated();
    test_clean();
    return test_done();
}
