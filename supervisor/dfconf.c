/* dfconf FILE SECTION: print the entries of a section of an INI file as "name<TAB>value" lines, for shell
 * scripts. Names and values that hold a tab or newline are refused. See df2redis.conf(5). */
#include <err.h>
#include <ini.h>
#include <stdio.h>
#include <string.h>

#include "exits.h"
#include "version.h"

static const char *wanted;

static int on_entry(void *user, const char *section, const char *name, const char *value)
{
    (void)user;
    if (strcmp(section, wanted) != 0)
        return 1;
    if (strpbrk(name, "\t\n") != NULL || strpbrk(value, "\t\n") != NULL)
        return 0;
    return printf("%s\t%s\n", name, value) > 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("dfconf (df2redis) " DF2REDIS_VERSION);
        return 0;
    }
    if (argc == 2 && strcmp(argv[1], "--help") == 0) {
        puts("usage: dfconf FILE SECTION\nPrints the entries of a section of an INI file, a name and a value "
             "a line.");
        return 0;
    }
    if (argc != 3)
        errx(EXIT_USAGE, "usage: dfconf FILE SECTION");
    wanted = argv[2];
    int rc = ini_parse(argv[1], on_entry, NULL);
    if (rc == -1)
        err(EXIT_CANNOT, "%s", argv[1]);
    if (rc != 0)
        errx(EXIT_USAGE, "%s: error in line %d", argv[1], rc);
    return 0;
}
