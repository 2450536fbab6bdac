#include "conf.h"

#include <ini.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "buf.h"
#include "exits.h"
#include "fatal.h"
#include "log.h"
#include "nearest.h"
#include "url.h"

struct args {
    const char *section;
    const struct option *known;
    char **v;
    int n;
};

static void add(struct args *a, const char *s)
{
    a->v = xrealloc(a->v, (size_t)(a->n + 2) * sizeof *a->v);
    a->v[a->n++] = xstrdup(s);
    a->v[a->n] = NULL;
}

/* ---- the file ---- */

struct source {
    FILE *f;
    const char *name;
    unsigned line;
    conf_entry *entry;
    void *user;
    char **seen; /* "section name" */
    size_t nseen;
};

static bool listed(const char *const *names, const char *name)
{
    while (*names != NULL && strcmp(*names, name) != 0)
        names++;
    return *names != NULL;
}

static void check_section(const struct source *s, const char *section)
{
    static const char *const sections[] = {"df2redis", "reader",  "parser", "writer",
                                           "check",    "monitor", NULL};
    if (section[0] == '\0')
        fatal(EXIT_USAGE, "%s: line %u stands before any section", s->name, s->line);
    if (listed(sections, section))
        return;
    struct nearest n;
    nearest_begin(&n, section);
    for (const char *const *name = sections; *name != NULL; name++)
        nearest_offer(&n, *name);
    if (n.best != NULL)
        fatal(EXIT_USAGE, "%s: line %u: unknown section %s (did you mean [%s]?)", s->name, s->line,
              log_quote(section, strlen(section)), n.best);
    fatal(EXIT_USAGE,
          "%s: line %u: unknown section %s (there are [df2redis], [reader], [parser], [writer], [check], "
          "[monitor])",
          s->name, s->line, log_quote(section, strlen(section)));
}

/* A section may be continued further down: its names are remembered. */
static void check_twice(struct source *s, const char *section, const char *name)
{
    static const char *const repeated[] = {"include", "exclude", "rename-prefix", "db-map", NULL};
    char key[256];
    if (listed(repeated, name))
        return;
    snprintf(key, sizeof key, "%s %s", section, name);
    for (size_t i = 0; i < s->nseen; i++)
        if (strcmp(s->seen[i], key) == 0)
            fatal(EXIT_USAGE, "%s: line %u: %s is given twice in section [%s]", s->name, s->line,
                  log_quote(name, strlen(name)), section);
    s->seen = xrealloc(s->seen, (s->nseen + 1) * sizeof *s->seen);
    s->seen[s->nseen++] = xstrdup(key);
}

static int on_line(void *user, const char *section, const char *name, const char *value)
{
    struct source *s = user;
    check_section(s, section);
    check_twice(s, section, name);
    s->entry(s->user, section, name, value);
    return 1;
}

/* inih takes a line that does not fit its buffer for two, and says nothing of a section without entries. */
static char *read_line(char *to, int cap, void *stream)
{
    struct source *s = stream;
    char *got = fgets(to, cap, s->f);
    s->line++;
    if (got == NULL)
        return NULL;
    if (strlen(got) == (size_t)cap - 1 && got[cap - 2] != '\n')
        fatal(EXIT_USAGE, "%s: line %u is longer than %d bytes", s->name, s->line, cap - 2);
    size_t n = strcspn(got, "]");
    if (got[0] == '[' && got[n] == ']') {
        char section[256];
        snprintf(section, sizeof section, "%.*s", (int)n - 1, got + 1);
        check_section(s, section);
    }
    return got;
}

void conf_read(const char *file, conf_entry *entry, void *user)
{
    struct source s = {.f = fopen(file, "re"), .name = file, .entry = entry, .user = user};
    if (s.f == NULL)
        fatal_errno(EXIT_CANNOT, "%s", file);
    int rc = ini_parse_stream(read_line, &s, on_line, &s);
    if (ferror(s.f) != 0)
        fatal_errno(EXIT_CANNOT, "%s", file);
    fclose(s.f);
    if (rc != 0)
        fatal(EXIT_USAGE, "%s: error in line %d", file, rc);
    for (size_t i = 0; i < s.nseen; i++)
        free(s.seen[i]);
    free(s.seen);
}

/* ---- its section as arguments ---- */

/* The option that an entry stands for. Those that only make sense on a command line are none. */
static const struct option *option_of(const struct args *a, const char *name)
{
    static const char *const never[] = {"config", "help", "version", "check-options", NULL};
    struct nearest n;
    nearest_begin(&n, name);
    for (const struct option *o = a->known; o->name != NULL; o++) {
        if (listed(never, o->name))
            continue;
        if (strcmp(o->name, name) == 0)
            return o;
        nearest_offer(&n, o->name);
    }
    if (n.best != NULL)
        fatal(EXIT_USAGE, "unknown name %s in section [%s] of the configuration (did you mean %s?)",
              log_quote(name, strlen(name)), a->section, n.best);
    fatal(EXIT_USAGE, "unknown name %s in section [%s] of the configuration", log_quote(name, strlen(name)),
          a->section);
}

static void on_entry(void *user, const char *section, const char *name, const char *value)
{
    struct args *a = user;
    if (strcmp(section, a->section) != 0)
        return;
    char option[1024];
    bool valued = option_of(a, name)->has_arg == required_argument;
    bool yes = strcmp(value, "yes") == 0;
    if (!valued && !yes && strcmp(value, "no") != 0)
        fatal(EXIT_USAGE, "%s in section [%s] of the configuration is yes or no", name, section);
    if (!valued && !yes)
        return;
    int n = valued ? snprintf(option, sizeof option, "--%s=%s", name, value)
                   : snprintf(option, sizeof option, "--%s", name);
    if (n < 0 || (size_t)n >= sizeof option)
        fatal(EXIT_USAGE, "%s in section [%s] of the configuration is too long", name, section);
    add(a, option);
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
        fatal(EXIT_USAGE, "%s needs a file", argv[i]);
    *used = 2;
    return argv[i + 1];
}

char **conf_argv(const char *section, const struct option *known, int *argc, char **argv)
{
    struct args a = {.section = section, .known = known};
    struct args rest = {.section = section};
    add(&a, argv[0]);
    bool options = true;
    for (int i = 1; i < *argc; i++) {
        int used = 1;
        const char *file = options ? config_at(argv, *argc, i, &used) : NULL;
        if (strcmp(argv[i], "--") == 0)
            options = false;
        if (file != NULL)
            conf_read(file, on_entry, &a);
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
