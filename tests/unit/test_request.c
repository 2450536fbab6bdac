/* Requests in RESP: cut anywhere, moved between the pieces, damaged. */
#include "test.h"

#include "../../parser/command/request.h"

/* The arguments, each in brackets, of all requests in the text; or what was expected where it is damaged. */
static void taken(struct buf *out, struct requests *r, struct cur *c, enum got *g)
{
    const struct slice *argv;
    size_t argc;
    while ((*g = c->p < c->end ? request_take(r, c, &argv, &argc) : NEED) == GOT) {
        for (size_t i = 0; i < argc; i++) {
            (void)buf_addstr(out, "[");
            show_bytes(out, argv[i].p, argv[i].n);
            (void)buf_addstr(out, "]");
        }
        (void)buf_addstr(out, ";");
    }
}

/* The text whole, and cut at each of its bytes: the rest lies elsewhere then. */
static void is(const char *text, const char *want)
{
    struct buf all = hex(text);
    for (size_t cut = 0; cut <= all.len; cut++) {
        struct requests r = {0};
        struct buf out = {0};
        enum got g;
        uint8_t *first = exact(all.p, cut);
        struct cur c = {first, first + cut, 0, NULL};
        taken(&out, &r, &c, &g);
        size_t used = (size_t)(c.p - first);
        if (g == NEED && cut < all.len) {
            CHECK(used == cut || c.want >= 1);
            uint8_t *rest = exact(all.p + used, all.len - used);
            free(first);
            first = rest;
            c = (struct cur){rest, rest + (all.len - used), 0, NULL};
            taken(&out, &r, &c, &g);
        }
        if (g == BAD)
            (void)buf_addf(&out, "expected %s", c.why);
        (void)buf_add(&out, "", 1);
        if (!EQ_S((char *)out.p, want))
            printf("  cut at %zu: %s\n", cut, text);
        buf_free(&out);
        requests_free(&r);
        free(first);
    }
    buf_free(&all);
}

/* Byte by byte: how often the parser is called with the same beginning must not matter. */
static void in_single_bytes(void)
{
    struct buf all = {0}, so_far = {0};
    struct requests r = {0};
    const struct slice *argv;
    size_t argc = 0, done = 0;
    for (unsigned i = 0; i < 3; i++)
        (void)buf_addstr(&all, "*3\r\n$3\r\nSET\r\n$12\r\nkey-00000001\r\n$0\r\n\r\n");
    for (size_t i = 0; i < all.len; i++) {
        (void)buf_add(&so_far, all.p + i, 1);
        uint8_t *copy = exact(so_far.p, so_far.len);
        struct cur c = {copy, copy + so_far.len, 0, NULL};
        enum got g = request_take(&r, &c, &argv, &argc);
        if (g == GOT) {
            done++;
            EQ(argc, 3);
            EQ_B(argv[1].p, argv[1].n, "key-00000001", 12);
            EQ(argv[2].n, 0);
            buf_shift(&so_far, (size_t)(c.p - copy));
        } else {
            EQ_I(g, NEED);
        }
        free(copy);
    }
    EQ(done, 3);
    buf_free(&all);
    buf_free(&so_far);
    requests_free(&r);
}

/* How many bytes are needed is said as far as it is known. */
static void wants(const char *text, uint64_t want)
{
    struct buf all = hex(text);
    struct requests r = {0};
    struct cur c = {all.p, all.p + all.len, 0, NULL};
    const struct slice *argv;
    size_t argc;
    EQ_I(request_take(&r, &c, &argv, &argc), NEED);
    EQ(c.want, want);
    requests_free(&r);
    buf_free(&all);
}

int main(void)
{
#define LENGTHS "expected a request: an array of bulk strings (*n, then $n and n bytes each)"
    is("'*1' 0d0a '$4' 0d0a 'PING' 0d0a", "[PING];");
    is("'*2' 0d0a '$0' 0d0a 0d0a '$2' 0d0a 0d0a 0d0a '*1' 0d0a '$1' 0d0a 'x' 0d0a",
       "[\"\"][\\x0d\\x0a];[x];");
    is("'*2' 0d0a '$10' 0d0a '0123456789' 0d0a '$03' 0d0a 'abc' 0d0a", "[0123456789][abc];");
    is("'+OK' 0d0a", LENGTHS);
    is("0a '*1' 0d0a", LENGTHS);
    is("'*1' 0a", LENGTHS);
    is("'*' 0d0a", LENGTHS);
    is("'*-1' 0d0a", LENGTHS);
    is("'*1x'", LENGTHS);
    is("'*1' 0d0a '$-1' 0d0a '*'", LENGTHS);
    is("'*1' 0d0a ':1' 0d0a 0d0a", LENGTHS);
    is("'*12345678901' 0d0a", LENGTHS);
    is("'*0' 0d0a", "expected a request of 1 to 4194304 arguments");
    is("'*4194305' 0d0a", "expected a request of 1 to 4194304 arguments");
    is("'*1' 0d0a '$4294967297' 0d0a", "expected a request of at most 4 GiB");
    is("'*1' 0d0a '$3' 0d0a 'PING' 0d0a", "expected the end of an argument: its length is another one");
    is("'*1' 0d0a '$4' 0d0a 'PIN' 0d0a0a", "expected the end of an argument: its length is another one");
    wants("'*1' 0d0a '$1000' 0d0a 'x'", 1001);
    wants("'*1000' 0d0a", 6000);
    wants("'*2' 0d0a '$1' 0d0a 'x' 0d0a '$50' 0d0a 'abc'", 47 + 2);
    wants("'*3' 0d0a '$9' 0d0a 'xxxxxxxxx' 0d0a '$5' 0d0a 'abc'", 2 + 2 + 6);
    wants("'*4194304' 0d0a", 6 * 4194304);
    in_single_bytes();
    return test_done();
}
