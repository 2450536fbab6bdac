#include "conf.h"

#include <err.h>
#include <errno.h>
#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "exits.h"
#include "url.h"

struct args {
    const char *section;
    char **v;
    int n;
};

static void add(struct args *a, const char *s)
{
    a->v = xrealloc(a->v, (size_t)(a->n + 2) * sizeof *a->v);
    a->v[a->n++] = xstrdup(s);
    a->v[a->n] = NULL;
}

static int on_entry(void *user, const char *section, const char *name, const char *value)
{
    struct args *a = user;
    if (strcmp(section, a->section) != 0)
        return 1;
    char option[1024];
    if (strcmp(value, "no") == 0)
        return 1;
    bool flag = strcmp(value, "yes") == 0;
    int n = flag ? snprintf(option, sizeof option, "--%s", name)
                 : snprintf(option, sizeof option, "--%s=%s", name, value);
    if (n < 0 || (size_t)n >= sizeof option)
        return 0;
    add(a, option);
    return 1;
}

/* The file named by -c FILE, -cFILE, --config FILE or --config=FILE at argv[i]; *used: arguments it takes. */
static const char *config_at(char **argv, int argc, int i, int *used)
{
    *used = 1;
    if (strncmp(argv[i], "--config=", 9) == 0)
        return argv[i] + 9;
    if (strncmp(argv[i], "-c", 2) == 0 && argv[i][2] != '\0')
        return argv[i] + 2;
    if (strcmp(argv[i], "-c") != 0 && strcmp(argv[i], "--config") != 0)
        return NULL;
    if (i + 1 >= argc)
        errx(EXIT_USAGE, "%s needs a file", argv[i]);
    *used = 2;
    return argv[i + 1];
}

struct source {
    FILE *f;
    const char *name;
    unsigned line;
};

/* inih takes a line that does not fit its buffer for two. */
static char *read_line(char *to, int cap, void *stream)
{
    struct source *s = stream;
    char *got = fgets(to, cap, s->f);
    s->line++;
    if (got != NULL && strlen(got) == (size_t)cap - 1 && got[cap - 2] != '\n')
        errx(EXIT_USAGE, "%s: line %u is longer than %d bytes", s->name, s->line, cap - 2);
    return got;
}

static void read_file(struct args *a, const char *file)
{
    struct source s = {fopen(file, "re"), file, 0};
    if (s.f == NULL)
        err(EXIT_CANNOT, "%s", file);
    int rc = ini_parse_stream(read_line, &s, on_entry, a);
    if (ferror(s.f) != 0)
        err(EXIT_CANNOT, "%s", file);
    fclose(s.f);
    if (rc != 0)
        errx(EXIT_USAGE, "%s: error in line %d", file, rc);
}

char **conf_argv(const char *section, int *argc, char **argv)
{
    struct args a = {.section = section};
    struct args rest = {.section = section};
    add(&a, argv[0]);
    bool options = true;
    for (int i = 1; i < *argc; i++) {
        int used = 1;
        const char *file = options ? config_at(argv, *argc, i, &used) : NULL;
        if (strcmp(argv[i], "--") == 0)
            options = false;
        if (file != NULL)
            read_file(&a, file);
        else
            add(&rest, argv[i]);
        i += used - 1;
    }
    if (a.n == 1 && rest.n == *argc - 1) { /* no file: keep argv, so that secrets in it can be overwritten */
        for (int i = 0; i < rest.n; i++)
            free(rest.v[i]);
        free(rest.v);
        free(a.v[0]);
        free(a.v);
        return argv;
    }
    for (int i = 0; i < rest.n; i++) {
        add(&a, rest.v[i]);
        free(rest.v[i]);
    }
    free(rest.v);
    for (int i = 1; i < *argc; i++)
        url_hide_argument(argv[i]); /* the copies are used, the originals are in every process list */
    *argc = a.n;
    static char **volatile kept; /* options point into it as long as the process lives */
    kept = a.v;
    return kept;
}
