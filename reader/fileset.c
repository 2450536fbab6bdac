#include "fileset.h"

#include <ctype.h>
#include <dirent.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buf.h"
#include "exits.h"
#include "record.h"

#define SUMMARY "-summary.dfs"

/* Length of BASE if name is BASE-NNNN.dfs or BASE-summary.dfs, else 0. */
static size_t base_of(const char *name)
{
    size_t n = strlen(name);
    size_t tail = strlen(SUMMARY);
    if (n > tail && strcmp(name + n - tail, SUMMARY) == 0)
        return n - tail;
    if (n <= 9 || strcmp(name + n - 4, ".dfs") != 0 || name[n - 9] != '-')
        return 0;
    for (size_t i = n - 8; i < n - 4; i++)
        if (!isdigit((unsigned char)name[i]))
            return 0;
    return n - 9;
}

static void add(struct fileset *s, const char *path)
{
    struct stat st;
    if (strcmp(path, "-") != 0) {
        if (stat(path, &st) != 0)
            err(EXIT_CANNOT, "%s", path);
        s->bytes += S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    }
    s->path = xrealloc(s->path, (s->n + 1) * sizeof *s->path);
    s->path[s->n++] = xstrdup(path);
}

/* All shards from 0000 on, then the summary. prefix: folder and base. */
static void add_set(struct fileset *s, const char *prefix)
{
    char path[4096];
    unsigned shards = 0;
    for (;; shards++) {
        snprintf(path, sizeof path, "%.4000s-%04u.dfs", prefix, shards);
        if (shards >= REC_FLOWS_MAX - 1 || access(path, F_OK) != 0)
            break;
        add(s, path);
    }
    if (shards == 0)
        errx(EXIT_CANNOT, "%s is missing: a set begins with shard 0000", path);
    snprintf(path, sizeof path, "%.4000s%s", prefix, SUMMARY);
    if (access(path, F_OK) == 0)
        add(s, path);
}

/* The greatest shard number of a base in a folder, so that a gap is noticed. -1: none. */
static long greatest(const char *folder, const char *base, size_t n)
{
    long most = -1;
    DIR *d = opendir(folder);
    if (d == NULL)
        err(EXIT_CANNOT, "%s", folder);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        const char *name = e->d_name;
        if (base_of(name) == n && strncmp(name, base, n) == 0 && isdigit((unsigned char)name[n + 1])) {
            long k = strtol(name + n + 1, NULL, 10);
            most = k > most ? k : most;
        }
    }
    closedir(d);
    return most;
}

static void add_checked(struct fileset *s, const char *folder, const char *base, size_t n)
{
    char prefix[4096];
    snprintf(prefix, sizeof prefix, "%.3000s/%.*s", folder, (int)(n < 1000 ? n : 1000), base);
    add_set(s, prefix);
    long most = greatest(folder, base, n);
    const char *last = s->path[s->n - 1];
    size_t len = strlen(last);
    unsigned shards = s->n - (len > 12 && strcmp(last + len - 12, SUMMARY) == 0 ? 1 : 0);
    if (most >= 0 && (unsigned)most + 1 != shards)
        errx(EXIT_CANNOT, "%s-%04u.dfs is missing, but there is a shard %04ld", prefix, shards, most);
}

/* The only set in a folder. */
static void from_folder(struct fileset *s, const char *folder)
{
    char base[1024] = "";
    DIR *d = opendir(folder);
    if (d == NULL)
        err(EXIT_CANNOT, "%s", folder);
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t n = base_of(e->d_name);
        if (n == 0 || n >= sizeof base)
            continue;
        if (base[0] != '\0' && (strlen(base) != n || strncmp(base, e->d_name, n) != 0))
            errx(EXIT_USAGE, "%s holds more than one set of .dfs files: name a file of the one", folder);
        memcpy(base, e->d_name, n);
        base[n] = '\0';
    }
    closedir(d);
    if (base[0] == '\0')
        errx(EXIT_CANNOT, "%s holds no set of .dfs files", folder);
    add_checked(s, folder, base, strlen(base));
}

void fileset_find(struct fileset *s, const char *path, int alone)
{
    struct stat st;
    *s = (struct fileset){.path = NULL};
    if (strcmp(path, "-") == 0) {
        add(s, path);
        return;
    }
    if (stat(path, &st) != 0)
        err(EXIT_CANNOT, "%s", path);
    if (S_ISDIR(st.st_mode)) {
        from_folder(s, path);
        return;
    }
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t n = base_of(name);
    if (alone || n == 0 || !S_ISREG(st.st_mode)) {
        add(s, path);
        return;
    }
    char folder[4096] = ".";
    if (slash != NULL)
        snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    add_checked(s, folder, name, n);
}

void fileset_free(struct fileset *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->path[i]);
    free(s->path);
    *s = (struct fileset){.path = NULL};
}
