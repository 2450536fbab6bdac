#include "server.h"

#include <stdlib.h>
#include <string.h>

static const char *const kinds[] = {"portable", "redis", "valkey", "dragonfly"};

const char *server_kind_name(enum server_kind kind)
{
    return kinds[kind];
}

bool server_kind_parse(const char *s, size_t n, enum server_kind *kind)
{
    for (unsigned i = SERVER_REDIS; i <= SERVER_DRAGONFLY; i++)
        if (strlen(kinds[i]) == n && strncmp(kinds[i], s, n) == 0) {
            *kind = (enum server_kind)i;
            return true;
        }
    return false;
}

bool server_version_parse(const char *s, unsigned *version)
{
    unsigned part[3] = {0, 0, 0};
    for (int i = 0;; i++) {
        char *end;
        unsigned long v = strtoul(s, &end, 10);
        if (*s < '0' || *s > '9' || v > 255)
            return false;
        part[i] = (unsigned)v;
        s = end;
        if (*s == '\0')
            break;
        if (i == 2 || *s++ != '.')
            return false;
    }
    *version = part[0] << 16 | part[1] << 8 | part[2];
    return *version != 0;
}

bool server_parse(const char *s, enum server_kind *kind, unsigned *version)
{
    const char *colon = strchr(s, ':');
    char numbers[24];
    size_t n = colon != NULL ? strspn(colon + 1, "0123456789.") : 0;
    if (n == 0 || n >= sizeof numbers || !server_kind_parse(s, (size_t)(colon - s), kind))
        return false;
    memcpy(numbers, colon + 1, n);
    numbers[n] = '\0';
    return server_version_parse(numbers, version);
}

unsigned server_rdb(enum server_kind kind, unsigned version)
{
    static const struct {
        enum server_kind kind;
        unsigned version, rdb;
    } list[] = {
        {SERVER_REDIS, VERSION(8, 10), 15},    {SERVER_REDIS, VERSION(8, 8), 14},
        {SERVER_REDIS, VERSION(8, 6), 13},     {SERVER_REDIS, VERSION(7, 4), 12},
        {SERVER_REDIS, VERSION(7, 2), 11},     {SERVER_REDIS, VERSION(7, 0), 10},
        {SERVER_REDIS, VERSION(5, 0), 9},      {SERVER_REDIS, VERSION(4, 0), 8},
        {SERVER_VALKEY, VERSION(9, 0), 80},    {SERVER_VALKEY, VERSION(7, 2), 11},
        {SERVER_DRAGONFLY, VERSION(1, 0), 12},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
        if (list[i].kind == kind && version >= list[i].version)
            return list[i].rdb;
    return 0;
}
