/* The supervisor with --restart: its processes are found by their group, as they come and go. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"

void service_command(struct command *c, const char *source, const char *target)
{
    const char *const words[] = {"df2redis",         "-v",   "--restart", "--run-dir", file("run"),
                                 "--on-full-resync", "flush"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        arg(c, words[i]);
    if (now.pipeline.single)
        arg(c, "--single");
    arg(c, "replicate");
    arg(c, source);
    arg(c, target);
}

/* "pid (name) state parent group ..." */
static bool in_group(const char *entry, pid_t group, char *name, size_t room)
{
    char path[64], text[512];
    int of = 0;
    snprintf(path, sizeof path, "/proc/%.20s/stat", entry);
    FILE *f = fopen(path, "r");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    if (f)
        fclose(f);
    text[n] = '\0';
    char *open = strchr(text, '('), *end = strrchr(text, ')'), state = 'X';
    if (!open || !end || sscanf(end + 1, " %c %*d %d", &state, &of) != 2 || of != group || state == 'Z')
        return false;
    *end = '\0';
    snprintf(name, room, "%s", open + 1);
    return true;
}

/* While a task starts, the supervisor runs helpers (flock, subshells): killing one of these is a start that
 * failed, no stage that died. */
static void drop_helpers(struct pipeline *p)
{
    unsigned kept = 1;
    for (unsigned i = 1; i < (unsigned)p->stages; i++)
        if (strcmp(p->stage[i].name, "rediswriter") == 0)
            return;
    for (unsigned i = 1; i < (unsigned)p->stages; i++)
        if (strcmp(p->stage[i].name, "dfreader") == 0 || strcmp(p->stage[i].name, "dfparse") == 0)
            p->stage[kept++] = p->stage[i];
    p->stages = kept;
}

void service_list(struct pipeline *p)
{
    DIR *d = opendir("/proc");
    char name[24];
    p->stages = 1;
    for (struct dirent *e; d && (e = readdir(d)) && p->stages < MAX_STAGES;) {
        pid_t pid = (pid_t)atoi(e->d_name);
        if (!isdigit((unsigned char)*e->d_name) || pid == p->stage[0].pid ||
            !in_group(e->d_name, p->group, name, sizeof name))
            continue;
        struct stage *s = &p->stage[p->stages++];
        *s = (struct stage){.pid = pid, .other = true};
        snprintf(s->name, sizeof s->name, "%s", name);
    }
    if (d)
        closedir(d);
    drop_helpers(p);
}

/* How many flows were answered with a full sync so far. */
static unsigned full_answers(void)
{
    char line[1024];
    unsigned n = 0;
    FILE *f = fopen(file("service.log"), "r");
    while (f && fgets(line, sizeof line, f))
        n += strstr(line, "event=flow_up mode=FULL") != NULL;
    if (f)
        fclose(f);
    return n;
}

void service_check(void)
{
    static unsigned before, series;
    unsigned full = full_answers();
    if (series == now.series && full != before)
        fail("a full sync where the target had everything (service.log)");
    series = now.series;
    before = full;
}

void service_end(struct pipeline *p)
{
    if (p->group <= 0)
        return;
    kill(-p->group, SIGKILL);
    for (int64_t limit = now_us() + SECOND; kill(-p->group, 0) == 0 && now_us() < limit;)
        sleep_us(1000);
}
