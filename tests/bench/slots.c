/* slots FILE FIRST-LAST FILE FIRST-LAST ...: requests from standard input, each to the file of the range that
 * the hash slot of its first argument lies in. For benchmarks that feed the masters of a cluster one by one.
 */
#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "slot.h"

struct range {
    unsigned first, last;
    FILE *f;
};

static char *line; /* of the request being read */
static size_t cap;

/* The rest of a line that begins with type: a number. False: end of input. */
static int number(char type, long *n, char *head, size_t room)
{
    if (getline(&line, &cap, stdin) < 0)
        return 0;
    if (line[0] != type)
        errx(1, "no request: %.20s", line);
    *n = strtol(line + 1, NULL, 10);
    if (strlen(line) >= room)
        errx(1, "no request");
    memcpy(head, line, strlen(line) + 1);
    return 1;
}

int main(int argc, char **argv)
{
    struct range r[64];
    int n = 0;
    static char text[1 << 20], head[64];
    for (int i = 1; i + 1 < argc && n < 64; i += 2, n++) {
        r[n].f = fopen(argv[i], "we");
        if (r[n].f == NULL || sscanf(argv[i + 1], "%u-%u", &r[n].first, &r[n].last) != 2)
            err(1, "%s %s", argv[i], argv[i + 1]);
    }
    long args, len;
    while (number('*', &args, head, sizeof head)) {
        size_t at = strlen(head);
        memcpy(text, head, at);
        unsigned slot = 0;
        for (long a = 0; a < args; a++) {
            if (!number('$', &len, head, sizeof head) || at + strlen(head) + (size_t)len + 2 > sizeof text)
                errx(1, "cut, or too long");
            memcpy(text + at, head, strlen(head));
            at += strlen(head);
            if (fread(text + at, 1, (size_t)len + 2, stdin) != (size_t)len + 2)
                errx(1, "cut");
            if (a == 1)
                slot = key_slot(text + at, (size_t)len);
            at += (size_t)len + 2;
        }
        for (int i = 0; i < n; i++)
            if (slot >= r[i].first && slot <= r[i].last && fwrite(text, 1, at, r[i].f) != at)
                err(1, "writing");
    }
    for (int i = 0; i < n; i++)
        if (fclose(r[i].f) != 0)
            err(1, "writing");
    return 0;
}
