/* The page and what it needs, as parts of the program. */
#ifndef MONITOR_ASSETS_H
#define MONITOR_ASSETS_H

struct asset {
    const char *path, *type;
    const char *begin, *end;
};

/* NULL: there is none. */
const struct asset *asset_find(const char *path);

#endif
