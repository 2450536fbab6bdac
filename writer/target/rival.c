#include "rival.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bsd/string.h>

/* A process id that was given to another program since is none of a writer. */
static bool writer_runs(long pid)
{
    char path[48], name[32] = "";
    if (kill((pid_t)pid, 0) < 0 && errno != EPERM)
        return false;
    snprintf(path, sizeof path, "/proc/%ld/comm", pid);
    FILE *f = fopen(path, "re");
    if (f == NULL)
        return true;
    bool read = fgets(name, sizeof name, f) != NULL;
    fclose(f);
    return !read || strncmp(name, "rediswriter", 11) == 0;
}

void rival_self(struct rival_self *s, const char *task)
{
    struct stat st;
    strlcpy(s->task, task, sizeof s->task);
    strlcpy(s->host, "?", sizeof s->host);
    (void)gethostname(s->host, sizeof s->host - 1);
    for (char *p = s->host; *p != '\0'; p++)
        if (*p <= ' ' || *p > '~')
            *p = '?';
    s->pid = (long)getpid();
    s->ns = stat("/proc/self/ns/pid", &st) == 0 ? (unsigned long)st.st_ino : 0;
    s->runs = writer_runs;
}

void rival_name(const struct rival_self *s, char out[RIVAL_NAME])
{
    snprintf(out, RIVAL_NAME, "df2redis:%s:%s.%ld.%lu", s->task, s->host, s->pid, s->ns);
}

/* HOST.PID.NS, or HOST.PID of older versions (ns 0). The host may have dots. False: none of our names. */
static bool split(char *name, long *pid, unsigned long *ns)
{
    char *end, *dot = strrchr(name, '.');
    unsigned long last;
    if (dot == NULL || dot[1] < '0' || dot[1] > '9')
        return false;
    last = strtoul(dot + 1, &end, 10);
    if (*end != '\0')
        return false;
    *dot = '\0';
    *ns = 0;
    *pid = (long)last;
    dot = strrchr(name, '.');
    if (dot == NULL || dot[1] < '0' || dot[1] > '9')
        return true;
    last = strtoul(dot + 1, &end, 10);
    if (*end != '\0')
        return true; /* part of the host */
    *dot = '\0';
    *ns = (unsigned long)*pid;
    *pid = (long)last;
    return true;
}

/* "id=N " at the beginning. 0: it is none. */
static long long id_of(const char *line, size_t n)
{
    long long id = 0;
    if (n < 4 || memcmp(line, "id=", 3) != 0)
        return 0;
    for (size_t i = 3; i < n && i < 20 && line[i] >= '0' && line[i] <= '9'; i++)
        id = id * 10 + (line[i] - '0');
    return id;
}

enum rival rival_of(const struct rival_self *s, const char *line, size_t n, long long *id,
                    char who[RIVAL_NAME])
{
    char prefix[160], name[RIVAL_NAME];
    long pid;
    unsigned long ns;
    size_t len = (size_t)snprintf(prefix, sizeof prefix, " name=df2redis:%s:", s->task);
    const char *at = len < sizeof prefix ? memmem(line, n, prefix, len) : NULL;
    *id = id_of(line, n);
    if (at == NULL || *id <= 0)
        return RIVAL_NONE;
    const char *from = at + len, *end = memchr(from, ' ', n - (size_t)(from - line));
    size_t size = end != NULL ? (size_t)(end - from) : n - (size_t)(from - line);
    snprintf(who, RIVAL_NAME, "%.*s", (int)(size < RIVAL_NAME ? size : RIVAL_NAME - 1), from);
    strlcpy(name, who, sizeof name);
    if (!split(name, &pid, &ns))
        return RIVAL_ALIVE; /* who it is cannot be told */
    if (strcmp(name, s->host) != 0)
        return RIVAL_ALIVE;
    if (pid == s->pid && (ns == s->ns || ns == 0))
        return RIVAL_GONE; /* this process, or one before it of the same number */
    if (ns != 0 && s->ns != 0 && ns != s->ns)
        return RIVAL_ALIVE; /* in another container of this machine */
    return s->runs(pid) ? RIVAL_ALIVE : RIVAL_GONE;
}
