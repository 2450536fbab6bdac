#include "fileset.h"
#include "why.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
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

static int wrong_errno(const struct why *w, const char *path)
{
    return wrong(w, EXIT_CANNOT, "%.300s: %s", path, strerror(errno));
}

static int add(struct fileset *s, const char *path, const struct why *w)
{
    struct stat st = {.st_mode = 0};
    if (strcmp(path, "-") != 0 && stat(path, &st) != 0)
        return wrong_errno(w, path);
    if (S_ISSOCK(st.st_mode))
        return wrong(w, EXIT_USAGE, "%.300s is a socket, no snapshot (a server's is dragonfly+unix://PATH)",
                     path);
    uint64_t size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    s->path = xrealloc(s->path, (s->n + 1) * sizeof *s->path);
    s->size = xrealloc(s->size, (s->n + 1) * sizeof *s->size);
    s->size[s->n] = size;
    s->path[s->n++] = xstrdup(path);
    s->bytes += size;
    return EXIT_DONE;
}

int fileset_add(struct fileset *s, const char *path, char *why, size_t cap)
{
    const struct why w = {why, cap};
    return add(s, path, &w);
}

/* All shards from 0000 on, then the summary. prefix: folder and base. */
static int add_set(struct fileset *s, const char *prefix, const struct why *w)
{
    char path[4096];
    int rc = EXIT_DONE;
    unsigned shards = 0;
    for (; rc == EXIT_DONE; shards++) {
        snprintf(path, sizeof path, "%.4000s-%04u.dfs", prefix, shards);
        if (shards >= REC_FLOWS_MAX - 1 || access(path, F_OK) != 0)
            break;
        rc = add(s, path, w);
    }
    if (rc == EXIT_DONE && shards == 0)
        return wrong(w, EXIT_CANNOT, "%.300s is missing: a set begins with shard 0000", path);
    snprintf(path, sizeof path, "%.4000s%s", prefix, SUMMARY);
    return rc == EXIT_DONE && access(path, F_OK) == 0 ? add(s, path, w) : rc;
}

/* The greatest shard number of a base in a folder, so that a gap is noticed. -1: none. */
static long greatest(DIR *d, const char *base, size_t n)
{
    long most = -1;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        const char *name = e->d_name;
        if (base_of(name) == n && strncmp(name, base, n) == 0 && isdigit((unsigned char)name[n + 1])) {
            long k = strtol(name + n + 1, NULL, 10);
            most = k > most ? k : most;
        }
    }
    return most;
}

static int add_checked(struct fileset *s, const char *folder, const char *base, size_t n, const struct why *w)
{
    char prefix[4096];
    snprintf(prefix, sizeof prefix, "%.3000s/%.*s", folder, (int)(n < 1000 ? n : 1000), base);
    int rc = add_set(s, prefix, w);
    if (rc != EXIT_DONE)
        return rc;
    DIR *d = opendir(folder);
    if (d == NULL)
        return wrong_errno(w, folder);
    long most = greatest(d, base, n);
    closedir(d);
    const char *last = s->path[s->n - 1];
    size_t len = strlen(last);
    unsigned shards = s->n - (len > 12 && strcmp(last + len - 12, SUMMARY) == 0 ? 1 : 0);
    if (most >= 0 && (unsigned)most + 1 != shards)
        return wrong(w, EXIT_CANNOT, "%.300s-%04u.dfs is missing, but there is a shard %04ld", prefix, shards,
                     most);
    return EXIT_DONE;
}

/* The only set in a folder: its base. */
static int base_in(DIR *d, const char *folder, char *base, size_t cap, const struct why *w)
{
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        size_t n = base_of(e->d_name);
        if (n == 0 || n >= cap)
            continue;
        if (base[0] != '\0' && (strlen(base) != n || strncmp(base, e->d_name, n) != 0))
            return wrong(w, EXIT_USAGE,
                         "%.300s holds more than one set of .dfs files: name a file of the one", folder);
        memcpy(base, e->d_name, n);
        base[n] = '\0';
    }
    if (base[0] == '\0')
        return wrong(w, EXIT_CANNOT,
                     "%.300s is a folder and holds no set of .dfs files and no append-only file (AOF) with a "
                     "manifest",
                     folder);
    return EXIT_DONE;
}

bool fileset_holds_set(const char *folder)
{
    DIR *d = opendir(folder);
    bool any = false;
    for (const struct dirent *e; d != NULL && !any && (e = readdir(d)) != NULL;)
        any = base_of(e->d_name) > 0;
    if (d != NULL)
        closedir(d);
    return any;
}

static int from_folder(struct fileset *s, const char *folder, const struct why *w)
{
    char base[1024] = "";
    DIR *d = opendir(folder);
    if (d == NULL)
        return wrong_errno(w, folder);
    int rc = base_in(d, folder, base, sizeof base, w);
    closedir(d);
    return rc == EXIT_DONE ? add_checked(s, folder, base, strlen(base), w) : rc;
}

int fileset_find(struct fileset *s, const char *path, int alone, char *why, size_t cap)
{
    struct stat st;
    const struct why w = {why, cap};
    *s = (struct fileset){.path = NULL};
    if (strcmp(path, "-") == 0)
        return add(s, path, &w);
    if (stat(path, &st) != 0)
        return wrong_errno(&w, path);
    if (S_ISDIR(st.st_mode))
        return from_folder(s, path, &w);
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    size_t n = base_of(name);
    if (alone || n == 0 || !S_ISREG(st.st_mode))
        return add(s, path, &w);
    char folder[4096] = ".";
    if (slash != NULL)
        snprintf(folder, sizeof folder, "%.*s", slash == path ? 1 : (int)(slash - path), path);
    return add_checked(s, folder, name, n, &w);
}

void fileset_free(struct fileset *s)
{
    for (unsigned i = 0; i < s->n; i++)
        free(s->path[i]);
    free(s->path);
    free(s->size);
    *s = (struct fileset){.path = NULL};
}
