/* Which server: redis://host:port[?dbs=0,1] and redis-cluster://host:port. */
#include <bsd/stdlib.h>
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

enum { MAX_DB = UINT16_MAX };

bool is_url(const char *s)
{
    return strstr(s, "://") != NULL;
}

static int cmp_int(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

/* Ascending and without repeats, because records come out in the order of databases. */
void target_set_dbs(target *t, const char *list)
{
    char *copy = copy_text(list, strlen(list)), *rest = copy, *word;
    size_t cap = 0, kept = 0;
    const char *bad = NULL;

    t->ndbs = 0;
    free(t->dbs);
    t->dbs = NULL;
    while ((word = strsep(&rest, ",")) != NULL) {
        t->dbs = grow_array(t->dbs, &cap, t->ndbs + 1, sizeof(*t->dbs));
        t->dbs[t->ndbs++] = (int)strtonum(word, 0, MAX_DB, &bad);
        if (bad)
            die("database \"%s\" in \"%s\" is %s", word, list, bad);
    }
    if (t->ndbs) /* always, but the analyzers do not know strsep() */
        qsort(t->dbs, t->ndbs, sizeof(*t->dbs), cmp_int);
    for (size_t i = 0; i < t->ndbs; i++)
        if (!kept || t->dbs[kept - 1] != t->dbs[i])
            t->dbs[kept++] = t->dbs[i];
    t->ndbs = kept;
    free(copy);
}

static void set_query(target *t, const char *url, const char *query)
{
    if (strncmp(query, "dbs=", 4) != 0)
        die("%s: only ?dbs=N,N is known after the port", url);
    if (t->cluster)
        die("%s: a cluster has one database only", url);
    target_set_dbs(t, query + 4);
}

/* host:port, where the host may be an IPv6 address in brackets. */
static void set_address(target *t, const char *url, char *address)
{
    size_t n = strlen(address);
    const char *bad = NULL;
    char *colon;

    if (n && address[n - 1] == '/')
        address[n - 1] = 0;
    colon = strrchr(address, ':');
    if (!colon || colon == address)
        die("%s: expected host:port", url);
    *colon = 0;
    t->port = (int)strtonum(colon + 1, 1, 65535, &bad);
    if (bad)
        die("%s: port is %s", url, bad);
    n = (size_t)(colon - address);
    if (address[0] == '[' && address[n - 1] == ']')
        t->host = copy_text(address + 1, n - 2);
    else
        t->host = copy_text(address, n);
}

void target_from_url(target *t, const char *url)
{
    static const char plain[] = "redis://", cluster[] = "redis-cluster://";
    const char *address;
    char *copy, *query;

    *t = (target){0};
    t->cluster = strncmp(url, cluster, strlen(cluster)) == 0;
    if (!t->cluster && strncmp(url, plain, strlen(plain)) != 0)
        die("%s: expected redis://host:port or redis-cluster://host:port", url);
    address = url + strlen(t->cluster ? cluster : plain);
    copy = copy_text(address, strlen(address));
    query = strchr(copy, '?');
    if (query)
        *query++ = 0;
    set_address(t, url, copy);
    target_set_dbs(t, "0");
    if (query)
        set_query(t, url, query);
    free(copy);
}

void target_free(target *t)
{
    free(t->host);
    free(t->dbs);
    *t = (target){0};
}
