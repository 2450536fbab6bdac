#include "heading.h"

#include <string.h>
#include <strings.h>
#include <bsd/stdlib.h>

struct count {
    const char *name;
    unsigned n;
};

static enum MHD_Result count_header(void *to, enum MHD_ValueKind kind, const char *name, const char *text)
{
    struct count *count = to;
    (void)kind;
    (void)text;
    count->n += strcasecmp(name, count->name) == 0;
    return MHD_YES;
}

/* A header that may be there once; NULL: it is not there, or several times. */
static const char *header_of(struct MHD_Connection *c, const char *name)
{
    struct count count = {.name = name};
    (void)MHD_get_connection_values(c, MHD_HEADER_KIND, count_header, &count);
    return count.n == 1 ? MHD_lookup_connection_value(c, MHD_HEADER_KIND, name) : NULL;
}

static bool has_header(struct MHD_Connection *c, const char *name)
{
    return MHD_lookup_connection_value(c, MHD_HEADER_KIND, name) != NULL;
}

/* Browsers say that nothing comes. */
static bool has_body(struct MHD_Connection *c)
{
    const char *length = header_of(c, "Content-Length");
    return has_header(c, "Transfer-Encoding") || (has_header(c, "Content-Length") && length == NULL) ||
           (length != NULL && strcmp(length, "0") != 0);
}

/* One that is empty is no origin, but was said. */
static const char *origin_of(struct MHD_Connection *c)
{
    const char *origin = header_of(c, "Origin");
    return origin == NULL && has_header(c, "Origin") ? "" : origin;
}

void heading_read(struct MHD_Connection *c, struct headers *h)
{
    *h = (struct headers){.host = header_of(c, "Host"),
                          .origin = origin_of(c),
                          .type = header_of(c, "Content-Type"),
                          .authorization = header_of(c, "Authorization"),
                          .body = has_body(c)};
}

bool heading_longer(struct MHD_Connection *c, size_t most)
{
    const char *fault, *text = header_of(c, "Content-Length");
    if (text == NULL)
        return false;
    (void)strtonum(text, 0, (long long)most, &fault);
    return fault != NULL;
}

int64_t heading_since(struct MHD_Connection *c)
{
    const char *fault, *text = MHD_lookup_connection_value(c, MHD_GET_ARGUMENT_KIND, "since");
    int64_t since = text != NULL ? strtonum(text, 0, INT64_MAX / 2, &fault) : 0;
    return since;
}

const struct sockaddr *heading_address(struct MHD_Connection *c)
{
    const union MHD_ConnectionInfo *i = MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    return i != NULL ? i->client_addr : NULL;
}
