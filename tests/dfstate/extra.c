/* What the values of a dump do not show: expiry times of hash fields, and the elements of vector sets.
 * A server that knows neither has nothing to show. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dfstate.h"

static redisReply *ask(node *n, const bytes *argv, size_t argc)
{
    wire_put(n, argv, argc);
    return wire_reply(n);
}

static bytes name_of(const keyref *k)
{
    return (bytes){k->key, k->len};
}

static int cmp_element(const void *a, const void *b)
{
    const redisReply *x = *(redisReply *const *)a, *y = *(redisReply *const *)b;

    return bytes_cmp((bytes){x->str, x->len}, (bytes){y->str, y->len});
}

static void begin(buf *out, const keyref *k, bool with_field_ttl)
{
    buf_text(out, "{\"db\": ");
    buf_int(out, k->db);
    buf_text(out, with_field_ttl ? ", \"field_ttl\": {" : ", \"key\": ");
    if (!with_field_ttl)
        buf_json(out, name_of(k));
}

/* HPEXPIRETIME key FIELDS n field ...; the reply has a number for each. */
static redisReply *expiry_of(node *n, const keyref *k, const redisReply *fields)
{
    bytes *argv = xcalloc(fields->elements + 4, sizeof(*argv));
    buf count = {0};
    redisReply *r;

    buf_int(&count, (long long)fields->elements);
    argv[0] = lit("HPEXPIRETIME");
    argv[1] = name_of(k);
    argv[2] = lit("FIELDS");
    argv[3] = (bytes){count.p, count.len};
    for (size_t i = 0; i < fields->elements; i++)
        argv[4 + i] = (bytes){fields->element[i]->str, fields->element[i]->len};
    r = ask(n, argv, fields->elements + 4);
    free(argv);
    buf_free(&count);
    return r;
}

static bool add_fields(buf *out, const keyref *k, const redisReply *fields, const redisReply *expiry)
{
    bool any = false;

    if (expiry->type != REDIS_REPLY_ARRAY || expiry->elements != fields->elements)
        return false;
    begin(out, k, true);
    for (size_t i = 0; i < fields->elements; i++) {
        if (expiry->element[i]->type != REDIS_REPLY_INTEGER || expiry->element[i]->integer <= 0)
            continue;
        if (any)
            buf_text(out, ", ");
        any = true;
        buf_json(out, (bytes){fields->element[i]->str, fields->element[i]->len});
        buf_text(out, ": ");
        buf_int(out, expiry->element[i]->integer);
    }
    buf_text(out, "}, \"key\": ");
    buf_json(out, name_of(k));
    buf_text(out, "}");
    return any;
}

static bool read_hash(node *n, const keyref *k, buf *out)
{
    redisReply *fields = ask(n, (bytes[]){lit("HKEYS"), name_of(k)}, 2), *expiry;
    bool any = false;

    if (fields->type == REDIS_REPLY_ARRAY && fields->elements) {
        qsort(fields->element, fields->elements, sizeof(redisReply *), cmp_element);
        expiry = expiry_of(n, k, fields);
        any = add_fields(out, k, fields, expiry);
        freeReplyObject(expiry);
    }
    freeReplyObject(fields);
    return any;
}

/* [name, [components], attributes] */
static void add_vector(node *n, const keyref *k, bytes element, buf *out)
{
    redisReply *vector = ask(n, (bytes[]){lit("VEMB"), name_of(k), element}, 3);
    redisReply *attributes = ask(n, (bytes[]){lit("VGETATTR"), name_of(k), element}, 3);

    buf_text(out, "[");
    buf_json(out, element);
    buf_text(out, ", [");
    for (size_t i = 0; vector->type == REDIS_REPLY_ARRAY && i < vector->elements; i++) {
        if (i)
            buf_text(out, ", ");
        buf_json(out, (bytes){vector->element[i]->str, vector->element[i]->len});
    }
    buf_text(out, "], ");
    buf_json(out, attributes->str ? (bytes){attributes->str, attributes->len} : lit(""));
    buf_text(out, "]");
    freeReplyObject(vector);
    freeReplyObject(attributes);
}

static bool read_vectors(node *n, const keyref *k, buf *out)
{
    redisReply *names = ask(n, (bytes[]){lit("VRANDMEMBER"), name_of(k), lit("1000000")}, 3);
    bool any = names->type == REDIS_REPLY_ARRAY && names->elements;

    begin(out, k, false);
    buf_text(out, ", \"vectorset\": [");
    if (any)
        qsort(names->element, names->elements, sizeof(redisReply *), cmp_element);
    for (size_t i = 0; any && i < names->elements; i++) {
        if (i)
            buf_text(out, ", ");
        add_vector(n, k, (bytes){names->element[i]->str, names->element[i]->len}, out);
    }
    buf_text(out, "]}");
    freeReplyObject(names);
    return any;
}

void extra_run(const target *t)
{
    keylist keys = {0};
    buf line = {0};
    server s;

    server_open(&s, t);
    keylist_scan(&keys, &s, t);
    keylist_sort(&keys, false);
    for (size_t i = 0; i < keys.n; i++) {
        node *n = &s.nodes[keys.refs[i].node];
        redisReply *type;
        bool any;

        node_select(n, keys.refs[i].db);
        type = ask(n, (bytes[]){lit("TYPE"), name_of(&keys.refs[i])}, 2);
        line.len = 0;
        any = type->str && strcmp(type->str, "hash") == 0        ? read_hash(n, &keys.refs[i], &line)
              : type->str && strcmp(type->str, "vectorset") == 0 ? read_vectors(n, &keys.refs[i], &line)
                                                                 : false;
        freeReplyObject(type);
        if (any)
            printf("%.*s\n", (int)line.len, line.p);
    }
    buf_free(&line);
    keylist_free(&keys);
    server_close(&s);
}
