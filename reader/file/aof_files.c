#include "aof_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "aof_manifest.h"
#include "buf.h"
#include "exits.h"
#include "io.h"
#include "why.h"

#define PATH_ROOM 4096

static bool ends_with(const char *name, const char *tail)
{
    size_t n = strlen(name), k = strlen(tail);
    return n > k && strcmp(name + n - k, tail) == 0;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- a manifest ---- */

/* Its bytes; *status and why where it cannot be read. */
static bool read_text(const char *path, struct buf *b, int *status, const struct why *w)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    b->max = AOF_TEXT_MAX + 1;
    if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        *status = wrong(w, EXIT_CANNOT, "%.300s: %s", path, fd < 0 ? strerror(errno) : "is no regular file");
    } else if ((uint64_t)st.st_size > AOF_TEXT_MAX) {
        *status = wrong(w, EXIT_DAMAGED, "%.300s: a manifest of more than 1 MiB", path);
    } else {
        b->len = (size_t)st.st_size;
        if (b->len > 0 && (buf_room(b, b->len) == NULL || io_read_at(fd, b->p, b->len, 0) != 0))
            *status = wrong(w, EXIT_CANNOT, "%.300s: %s", path, strerror(errno));
    }
    if (fd >= 0)
        close(fd);
    return *status == EXIT_DONE;
}

/* All the files to be loaded are there. */
static int add_files(struct fileset *s, const struct aof_manifest *m, const char *manifest,
                     const struct why *w)
{
    const char *slash = strrchr(manifest, '/');
    size_t folder = slash != NULL ? (size_t)(slash - manifest) + 1 : 0;
    char path[PATH_ROOM];
    static const char order[] = "bi";
    for (const char *type = order; *type != '\0'; type++)
        for (size_t i = 0; i < m->n; i++) {
            const struct aof_entry *e = &m->v[i];
            if (e->type != *type)
                continue;
            s->base |= e->type == 'b';
            if (folder + strlen(e->name) >= sizeof path)
                return wrong(w, EXIT_CANNOT, "%.300s: %s", manifest, strerror(ENAMETOOLONG));
            snprintf(path, sizeof path, "%.*s%s", (int)folder, manifest, e->name);
            if (fileset_add(s, path, w->text, w->cap) != EXIT_DONE || is_folder(path))
                return wrong(w, EXIT_CANNOT, "%.200s: %s (line %u of %.200s)", path,
                             is_folder(path) ? "is a folder" : strerror(errno), e->line, manifest);
        }
    if (s->n == 0)
        return wrong(w, EXIT_DAMAGED, "%.300s: names no file that is to be loaded", manifest);
    return EXIT_DONE;
}

static int from_manifest(struct fileset *s, const char *path, const struct why *w)
{
    struct buf text = {0};
    struct aof_manifest m = {0};
    int status = EXIT_DONE;
    s->aof = true;
    if (read_text(path, &text, &status, w)) {
        const char *fault = aof_manifest_parse(&m, text.p, text.len);
        status = fault == NULL   ? add_files(s, &m, path, w)
                 : text.len == 0 ? wrong(w, EXIT_DAMAGED, "%.300s: %s", path, fault)
                                 : wrong(w, EXIT_DAMAGED, "%.300s: damaged in line %u, at byte %zu: %s", path,
                                         m.line, m.at, fault);
    }
    aof_manifest_free(&m);
    buf_free(&text);
    return status;
}

/* ---- where it lies ---- */

/* What a folder holds. */
struct seen {
    char manifest[PATH_ROOM]; /* the first one */
    unsigned manifests;
    bool parts; /* files that a manifest would name */
};

static void look(const char *folder, struct seen *s)
{
    *s = (struct seen){.manifests = 0};
    DIR *d = opendir(folder);
    if (d == NULL)
        return;
    for (const struct dirent *e; (e = readdir(d)) != NULL;) {
        s->parts |= ends_with(e->d_name, ".incr.aof") || ends_with(e->d_name, ".base.aof") ||
                    ends_with(e->d_name, ".base.rdb");
        if (!ends_with(e->d_name, ".manifest"))
            continue;
        if (s->manifests++ == 0 &&
            snprintf(s->manifest, sizeof s->manifest, "%s/%s", folder, e->d_name) >= (int)sizeof s->manifest)
            s->manifests = 0;
    }
    closedir(d);
}

/* The folders in a folder, which may be that of a server: what they hold taken together. */
static void look_below(const char *folder, struct seen *all)
{
    char path[PATH_ROOM];
    struct seen one;
    DIR *d = opendir(folder);
    *all = (struct seen){.manifests = 0};
    for (const struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        if (e->d_name[0] == '.' ||
            snprintf(path, sizeof path, "%s/%s", folder, e->d_name) >= (int)sizeof path)
            continue;
        if (e->d_type == DT_REG || !is_folder(path))
            continue;
        look(path, &one);
        if (all->manifests == 0)
            memcpy(all->manifest, one.manifest, sizeof all->manifest);
        all->manifests += one.manifests;
    }
    if (d != NULL)
        closedir(d);
}

static bool from_folder(struct fileset *s, const char *folder, int *status, const struct why *w)
{
    struct seen here;
    look(folder, &here);
    bool parts = here.parts;
    if (here.manifests == 0 && !parts)
        look_below(folder, &here);
    if (here.manifests == 0 && !parts)
        return false;
    if (here.manifests == 0)
        *status =
            wrong(w, EXIT_CANNOT,
                  "%.300s holds files of an append-only file (AOF), and no manifest that names them", folder);
    else if (here.manifests > 1)
        *status =
            wrong(w, EXIT_USAGE,
                  "%.300s holds more than one append-only file (AOF): name the manifest of the one", folder);
    else if (fileset_holds_set(folder))
        *status = wrong(w, EXIT_USAGE,
                        "%.300s holds an append-only file (AOF) and a set of .dfs files: name a file "
                        "of the one",
                        folder);
    else
        *status = from_manifest(s, here.manifest, w);
    return true;
}

/* "file NAME seq …" */
static bool is_manifest(const char *path)
{
    char begin[5];
    if (ends_with(path, ".manifest"))
        return true;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    bool is = fd >= 0 && io_read_at(fd, begin, sizeof begin, 0) == 0 && strncasecmp(begin, "file ", 5) == 0;
    if (fd >= 0)
        close(fd);
    return is;
}

/* A manifest in the same folder names the file. */
static bool beside_manifest(const char *path, struct seen *folder)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    char dir[PATH_ROOM], nowhere[8];
    struct buf text = {0};
    struct aof_manifest m = {0};
    int status = EXIT_DONE;
    bool named = false;
    snprintf(dir, sizeof dir, "%.*s",
             slash == NULL   ? 1
             : slash == path ? 1
                             : (int)(slash - path),
             slash == NULL ? "." : path);
    look(dir, folder);
    if (folder->manifests == 1 &&
        read_text(folder->manifest, &text, &status, &(struct why){nowhere, sizeof nowhere}) &&
        aof_manifest_parse(&m, text.p, text.len) == NULL)
        for (size_t i = 0; i < m.n && !named; i++)
            named = m.v[i].type != 'h' && strcmp(m.v[i].name, name) == 0;
    aof_manifest_free(&m);
    buf_free(&text);
    return named;
}

bool aof_find(struct fileset *s, const char *path, bool alone, int *status, char *why, size_t cap)
{
    const struct why w = {why, cap};
    struct seen folder;
    struct stat st;
    *s = (struct fileset){.path = NULL};
    *status = EXIT_DONE;
    if (strcmp(path, "-") == 0 || stat(path, &st) != 0)
        return false;
    if (S_ISDIR(st.st_mode))
        return from_folder(s, path, status, &w);
    if (!S_ISREG(st.st_mode))
        return false;
    if (is_manifest(path)) {
        *status = from_manifest(s, path, &w);
        return true;
    }
    if (alone || !beside_manifest(path, &folder))
        return false;
    *status = from_manifest(s, folder.manifest, &w);
    return true;
}

/* ---- times ---- */

/* "#TS:" anywhere; what it is worth, dfparse finds out. */
static bool holds_time(const char *path)
{
    enum { STEP = 1 << 16, KEEP = 3 };
    uint8_t b[STEP + KEEP];
    size_t kept = 0;
    bool found = false;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    for (ssize_t n; fd >= 0 && !found && (n = read(fd, b + kept, STEP)) > 0;) {
        size_t all = kept + (size_t)n;
        found = memmem(b, all, "#TS:", 4) != NULL;
        kept = all < KEEP ? all : KEEP;
        memmove(b, b + all - kept, kept);
    }
    if (fd >= 0)
        close(fd);
    return found;
}

bool aof_undated(const struct fileset *s)
{
    struct stat st;
    for (unsigned i = 0; i < s->n; i++)
        if (stat(s->path[i], &st) != 0 || !S_ISREG(st.st_mode) || holds_time(s->path[i]))
            return false; /* of a pipe nobody knows */
    return true;
}
