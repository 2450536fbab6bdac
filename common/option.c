#include "option.h"

#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "conf.h"
#include "exits.h"
#include "fatal.h"
#include "size.h"
#include "version.h"

#define ROWS_MAX  96
#define COLUMN    28 /* of the explanations in --help */
#define FIRST_VAL 256

/* The rows of a program, nested ones included, and the struct that each belongs to. */
struct rows {
    const struct option_row *row[ROWS_MAX];
    uint8_t *base[ROWS_MAX];
    struct option known[ROWS_MAX + 1];
    char letters[2 * ROWS_MAX + 2];
    unsigned n;
};

static void collect(struct rows *all, const struct option_row *rows, uint8_t *base)
{
    for (; rows->kind != OPTION_END; rows++) {
        if (rows->kind == OPTION_TABLE) {
            collect(all, rows->table, base + rows->at);
            continue;
        }
        if (all->n == ROWS_MAX)
            abort();
        bool takes = rows->arg != NULL;
        all->row[all->n] = rows;
        all->base[all->n] = base;
        all->known[all->n] = (struct option){.name = rows->name,
                                             .has_arg = takes ? required_argument : no_argument,
                                             .val = FIRST_VAL + (int)all->n};
        if (rows->letter != 0) {
            const char text[3] = {rows->letter, takes ? ':' : '\0', '\0'};
            strlcat(all->letters, text, sizeof all->letters);
        }
        all->n++;
    }
}

static unsigned index_of(const struct rows *all, int c)
{
    if (c >= FIRST_VAL)
        return (unsigned)(c - FIRST_VAL);
    unsigned i = 0;
    while (i < all->n && all->row[i]->letter != c)
        i++;
    return i;
}

/* ---- --help and --version ---- */

static void put_row(const struct option_row *row)
{
    char left[80] = "  ";
    if (row->letter != 0) {
        const char letter[5] = {'-', row->letter, ',', ' ', '\0'};
        strlcat(left, letter, sizeof left);
    } else {
        strlcat(left, "    ", sizeof left);
    }
    strlcat(left, "--", sizeof left);
    strlcat(left, row->name, sizeof left);
    if (row->arg != NULL) {
        strlcat(left, " ", sizeof left);
        strlcat(left, row->arg, sizeof left);
    }
    int column = (int)strlen(left);
    (void)fputs(left, stdout);
    if (column + 1 > COLUMN) {
        putchar('\n');
        column = 0;
    }
    for (const char *line = row->help;; line += strcspn(line, "\n") + 1, column = 0) {
        int n = (int)strcspn(line, "\n");
        printf("%*s%.*s\n", COLUMN - column, "", n, line);
        if (line[n] == '\0')
            break;
    }
}

static void put_version(const struct option_program *p)
{
    printf("%s (df2redis) %s\n", p->name, DF2REDIS_VERSION);
    for (const struct option_library *l = p->libraries; l != NULL && l->name != NULL; l++)
        printf("%s%s %s%s", l == p->libraries ? "with " : "", l->name, l->version(),
               l[1].name != NULL ? ", " : "\n");
}

static void finish(void)
{
    exit(fflush(stdout) == 0 ? EXIT_DONE : EXIT_CANNOT);
}

static void put_help(const struct option_program *p, const struct rows *all)
{
    printf("%s\n", p->usage);
    for (unsigned i = 0; i < all->n; i++)
        put_row(all->row[i]);
    if (p->closing != NULL)
        printf("\n%s", p->closing);
    finish();
}

/* ---- values ---- */

/* A number into a field of 4 or 8 bytes. */
static void store(uint8_t *at, size_t width, uint64_t v)
{
    uint32_t small = (uint32_t)v;
    if (width == sizeof small)
        memcpy(at, &small, sizeof small);
    else if (width == sizeof v)
        memcpy(at, &v, sizeof v);
    else
        abort();
}

static void take_number(const struct option_row *row, uint8_t *at, const char *arg)
{
    const char *fault;
    long long n = strtonum(arg, (long long)row->least, (long long)row->most, &fault);
    if (fault != NULL)
        fatal(EXIT_USAGE, "--%s %s: %s (%llu to %llu)", row->name, arg, fault, (unsigned long long)row->least,
              (unsigned long long)row->most);
    store(at, row->width, (uint64_t)n);
}

static void take_size(const struct option_row *row, uint8_t *at, const char *arg)
{
    uint64_t n;
    if (!size_parse(arg, &n) || n < row->least || n > row->most)
        fatal(EXIT_USAGE, "--%s %s: not a size of %llu to %llu bytes (a number with k, m or g)", row->name,
              arg, (unsigned long long)row->least, (unsigned long long)row->most);
    store(at, row->width, n);
}

static void take_word(const struct option_row *row, uint8_t *at, const char *arg)
{
    char list[128] = "";
    for (uint64_t i = 0; row->words[i] != NULL; i++)
        if (strcmp(row->words[i], arg) == 0) {
            store(at, row->width, i);
            return;
        }
    for (unsigned i = 0; row->words[i] != NULL; i++) {
        if (i > 0)
            strlcat(list, row->words[i + 1] != NULL ? ", " : " or ", sizeof list);
        strlcat(list, row->words[i], sizeof list);
    }
    fatal(EXIT_USAGE, "--%s %s: must be %s", row->name, arg, list);
}

static void take_call(const struct option_row *row, uint8_t *base, const char *arg)
{
    const char *fault = row->call(base, arg);
    if (fault != NULL)
        fatal(EXIT_USAGE, "--%s%s%s: %s", row->name, arg != NULL ? " " : "", arg != NULL ? arg : "", fault);
}

static void take(const struct option_program *p, const struct rows *all, unsigned i, const char *arg)
{
    const struct option_row *row = all->row[i];
    uint8_t *at = all->base[i] + row->at;
    bool value = row->kind == OPTION_ON;
    int times;
    switch ((enum option_kind)row->kind) {
    case OPTION_ON:
    case OPTION_OFF: memcpy(at, &value, sizeof value); break;
    case OPTION_REPEAT:
        memcpy(&times, at, sizeof times);
        times++;
        memcpy(at, &times, sizeof times);
        break;
    case OPTION_TEXT: memcpy(at, &arg, sizeof arg); break;
    case OPTION_NUMBER: take_number(row, at, arg); break;
    case OPTION_SIZE: take_size(row, at, arg); break;
    case OPTION_WORD: take_word(row, at, arg); break;
    case OPTION_CALL: take_call(row, all->base[i], arg); break;
    case OPTION_CONFIG: fatal(EXIT_USAGE, "--%s has to be written out", row->name);
    case OPTION_HELP: put_help(p, all); break;
    case OPTION_VERSION:
        put_version(p);
        finish();
        break;
    case OPTION_TABLE:
    case OPTION_END: abort();
    }
}

int option_parse(const struct option_program *p, void *options, int *argc, char ***argv)
{
    struct rows all = {.letters = ":"};
    collect(&all, p->rows, options);
    *argv = conf_argv(p->section, all.known, argc, *argv);
    opterr = 0;
    for (int c; (c = getopt_long(*argc, *argv, all.letters, all.known, NULL)) != -1;) {
        unsigned i = index_of(&all, c);
        if (i >= all.n)
            fatal_option(c, *argv, all.known);
        take(p, &all, i, optarg);
    }
    return optind;
}
