#include "certificate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "buf.h"
#include "io.h"

#define FILE_MAX ((size_t)65536)

char *certificate_load(const char *file, char *why, size_t cap)
{
    char *text = xcalloc(1, FILE_MAX + 1);
    size_t n = 0;
    ssize_t got = -1;
    int fd = io_open_own(file, O_RDONLY | O_CLOEXEC, 0);
    while (fd >= 0 && n < FILE_MAX && (got = read(fd, text + n, FILE_MAX - n)) > 0)
        n += (size_t)got;
    if (fd < 0 || got < 0)
        snprintf(why, cap, "%s: %s", file, strerror(errno));
    else if (n == FILE_MAX || strstr(text, "-----BEGIN ") == NULL)
        snprintf(why, cap, "%s is no PEM file of at most 64 KiB", file);
    else
        why[0] = '\0';
    if (fd >= 0)
        close(fd);
    if (why[0] == '\0')
        return text;
    certificate_free(text);
    return NULL;
}

void certificate_free(char *text)
{
    if (text == NULL)
        return;
    explicit_bzero(text, FILE_MAX);
    free(text);
}
