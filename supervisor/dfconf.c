/* What the supervisor leaves to the parsers that the stages use.
 *
 * dfconf FILE SECTION: print the entries of a section of an INI file as "name<TAB>value" lines. Names and
 * values that hold a tab are refused. See df2redis.conf(5).
 *
 * dfconf --nearest WORD: of the names on standard input, one per line, print the one that WORD may have
 * meant.
 *
 * dfconf --url: check the URL that is standard input (not an argument: it may hold a password), and print it
 * without its password, NUL, and where it has one the password, NUL. */
#include <err.h>
#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "conf.h"
#include "exits.h"
#include "nearest.h"
#include "url.h"
#include "version.h"

#define URL_BYTES 4096

static void on_entry(void *user, const char *section, const char *name, const char *value)
{
    const char *wanted = user;
    if (strcmp(section, wanted) != 0)
        return;
    if (strchr(name, '\t') != NULL || strchr(value, '\t') != NULL)
        errx(EXIT_USAGE, "a tab in section [%s]", section);
    (void)printf("%s\t%s\n", name, value);
}

static void split_url(void)
{
    char text[URL_BYTES + 1], bare[URL_BYTES + 1];
    struct url u;
    size_t n = fread(text, 1, sizeof text, stdin);
    if (n == sizeof text || memchr(text, '\0', n) != NULL)
        errx(EXIT_USAGE, "the URL is too long");
    text[n] = '\0';
    const char *fault = url_parse(&u, text);
    if (fault == NULL && !url_without_password(text, bare, sizeof bare))
        fault = "the URL is too long";
    if (fault != NULL)
        errx(EXIT_USAGE, "%s", fault);
    (void)printf("%s%c", bare, '\0');
    if (u.password[0] != '\0')
        (void)printf("%s%c", u.password, '\0');
}

static void print_nearest(const char *word)
{
    static char names[256][64];
    struct nearest n;
    char line[256];
    nearest_begin(&n, word);
    for (size_t i = 0; i < sizeof names / sizeof names[0] && fgets(line, sizeof line, stdin) != NULL; i++) {
        line[strcspn(line, "\n")] = '\0';
        if (strlcpy(names[i], line, sizeof names[i]) < sizeof names[i])
            nearest_offer(&n, names[i]);
    }
    if (n.best != NULL)
        (void)puts(n.best);
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("dfconf (df2redis) " DF2REDIS_VERSION);
        return EXIT_DONE;
    }
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        puts("usage: dfconf FILE SECTION\n       dfconf --url <URL\n       dfconf --nearest WORD <NAMES\n"
             "Prints the entries of a section of an INI file, a name and a value a line; or a URL and its "
             "password; or the\nname that a misspelt word may have meant.");
        return EXIT_DONE;
    }
    if (argc == 2 && strcmp(argv[1], "--url") == 0)
        split_url();
    else if (argc == 3 && strcmp(argv[1], "--nearest") == 0)
        print_nearest(argv[2]);
    else if (argc == 3)
        conf_read(argv[1], on_entry, argv[2]);
    else
        errx(EXIT_USAGE, "usage: dfconf FILE SECTION | dfconf --url | dfconf --nearest WORD");
    return fflush(stdout) == 0 ? EXIT_DONE : EXIT_CANNOT;
}
