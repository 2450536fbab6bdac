#include "out.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "crc64.h"
#include "io.h"

/* What stands in the way is replaced if it is a file. */
static bool replaceable(const char *path)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT;
    if (S_ISREG(st.st_mode))
        return true;
    errno = EEXIST;
    return false;
}

/* A name beside the file that nobody else uses. */
static char *name_beside(const char *path)
{
    char hex[33];
    size_t n = strlen(path) + sizeof hex + 8;
    char *name = xmalloc(n);
    random_hex(hex);
    hex[12] = '\0';
    snprintf(name, n, "%s.%s.part", path, hex);
    return name;
}

static int open_nameless(struct out *o)
{
    o->fd = open(o->dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (o->fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
        return o->fd;
    o->temp = name_beside(o->path);
    o->fd = io_open_new(o->temp);
    if (o->fd < 0) {
        free(o->temp);
        o->temp = NULL;
    }
    return o->fd;
}

int out_open(struct out *o, const char *path)
{
    *o = (struct out){.fd = -1, .path = path, .b = {.max = OUT_LIMIT + 2 * OUT_ROOM}};
    if (strcmp(path, "-") == 0) {
        o->fd = STDOUT_FILENO;
        return 0;
    }
    if (!replaceable(path))
        return -1;
    char *copy = xstrdup(path);
    o->dir = xstrdup(dirname(copy));
    free(copy);
    return open_nameless(o) < 0 ? -1 : 0;
}

static void put(struct out *o, const void *p, size_t n)
{
    if (o->fault != 0)
        return;
    o->crc = crc64(o->crc, p, n);
    if (io_write_all(o->fd, p, n) < 0)
        o->fault = errno;
}

void out_flush(struct out *o)
{
    put(o, o->b.p, o->b.len);
    o->b.len = 0;
}

void out_add(struct out *o, const void *p, size_t n)
{
    if (n > OUT_LIMIT) {
        out_flush(o);
        put(o, p, n);
        return;
    }
    uint8_t *to = out_room(o, n);
    if (n > 0)
        memcpy(to, p, n);
    o->b.len += n;
}

/* rename(2) is what puts a file in another's place; it needs a name for it first. */
static int give_name(struct out *o)
{
    char link[64];
    if (o->temp == NULL) {
        o->temp = name_beside(o->path);
        snprintf(link, sizeof link, "/proc/self/fd/%d", o->fd);
        if (linkat(AT_FDCWD, link, AT_FDCWD, o->temp, AT_SYMLINK_FOLLOW) != 0) {
            free(o->temp);
            o->temp = NULL;
            return -1;
        }
    }
    if (!replaceable(o->path) || rename(o->temp, o->path) != 0)
        return -1;
    free(o->temp);
    o->temp = NULL;
    int dir = open(o->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir >= 0) {
        (void)fsync(dir); /* the file itself is safe */
        close(dir);
    }
    return 0;
}

bool out_finish(struct out *o)
{
    out_flush(o);
    uint64_t crc = o->crc;
    out_add(o, &crc, sizeof crc);
    out_flush(o);
    if (o->fault == 0 && o->dir != NULL && (fsync(o->fd) != 0 || give_name(o) != 0))
        o->fault = errno;
    return o->fault == 0;
}

void out_free(struct out *o)
{
    if (o->temp != NULL)
        (void)unlink(o->temp);
    if (o->dir != NULL && o->fd >= 0)
        close(o->fd);
    free(o->temp);
    free(o->dir);
    buf_free(&o->b);
    o->fd = -1;
    o->dir = o->temp = NULL;
}
