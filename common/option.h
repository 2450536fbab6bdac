/* The options of a program, written down once: the command line, the section of the configuration and --help
 * come from one table. A row says where its value goes in the program's own struct. */
#ifndef DF_OPTION_H
#define DF_OPTION_H

#include <stddef.h>
#include <stdint.h>

enum option_kind {
    OPTION_END,     /* behind the last row of a table */
    OPTION_ON,      /* bool: true */
    OPTION_OFF,     /* bool: false */
    OPTION_REPEAT,  /* int: how often it was given */
    OPTION_TEXT,    /* const char *: the argument itself, which stays where it is */
    OPTION_NUMBER,  /* int, unsigned or uint64_t, from least to most */
    OPTION_SIZE,    /* size_t or uint64_t, from least to most bytes; k, m and g are understood */
    OPTION_WORD,    /* an enum: which of words */
    OPTION_CALL,    /* call decides */
    OPTION_TABLE,   /* the rows of table, whose struct lies at that place */
    OPTION_CONFIG,  /* -c FILE, which conf_argv has replaced by what the file says */
    OPTION_HELP,    /* -h */
    OPTION_VERSION, /* --version */
};

/* options: the program's struct. Returns NULL, or what is wrong with arg ("--name ARG: fault"). */
typedef const char *option_fn(void *options, const char *arg);

struct option_row {
    const char *name;
    char letter; /* 0: it has none */
    uint8_t kind;
    const char *arg;  /* its argument's name in --help; NULL: it takes none */
    const char *help; /* lines, without an end of the last one */
    size_t at, width; /* of the value in the struct, see OPTION_AT */
    uint64_t least, most;
    const char *const *words; /* ends with NULL */
    option_fn *call;
    const struct option_row *table;
};

#define OPTION_AT(type, field) .at = offsetof(type, field), .width = sizeof(((type *)0)->field)

/* NOLINTBEGIN(bugprone-macro-parentheses): initialisers do not stand in parentheses */

/* Rows: without an argument, with one, with a letter as well. place: OPTION_AT or .call; then what the kind
 * needs. */
#define OPTION_FLAG(kind_, name_, place, help_)                                                              \
    {                                                                                                        \
        .name = name_, .kind = OPTION_##kind_, .help = help_, place                                          \
    }
#define OPTION_ARG(kind_, name_, arg_, help_, ...)                                                           \
    {                                                                                                        \
        .name = name_, .kind = OPTION_##kind_, .arg = arg_, .help = help_, __VA_ARGS__                       \
    }
#define OPTION_SHORT(letter_, kind_, name_, arg_, help_, ...)                                                \
    {                                                                                                        \
        .letter = letter_, .name = name_, .kind = OPTION_##kind_, .arg = arg_, .help = help_, __VA_ARGS__    \
    }

/* NOLINTEND(bugprone-macro-parentheses) */

/* The last rows of every table but nested ones. */
#define OPTION_LAST_ROWS(section)                                                                            \
    {.name = "config",                                                                                       \
     .letter = 'c',                                                                                          \
     .kind = OPTION_CONFIG,                                                                                  \
     .arg = "FILE",                                                                                          \
     .help = "options from section [" section "] of an INI file"},                                           \
        {.name = "help", .letter = 'h', .kind = OPTION_HELP, .help = "this text"},                           \
        {.name = "version", .kind = OPTION_VERSION, .help = "print the version"},                            \
    {                                                                                                        \
        .kind = OPTION_END                                                                                   \
    }

/* A library whose version --version shows. */
struct option_library {
    const char *name;
    const char *(*version)(void);
};

struct option_program {
    const char *name;    /* for --version */
    const char *section; /* of the configuration */
    const char *usage;   /* --help: what stands before the options */
    const char *closing; /* and behind them */
    const struct option_row *rows;
    const struct option_library *libraries; /* NULL, or a list that ends with an empty name */
};

/* Fill in *options, which holds the defaults. Returns the index of the first argument that is no option;
 * *argc and *argv change where a configuration was read. Ends the process on --help, --version, mistakes. */
int option_parse(const struct option_program *p, void *options, int *argc, char ***argv);

#endif
