/* CLUSTER NODES, and what the flows of a cluster hold: SLOTS records and what dfparse makes of them. */
#include "../../reader/redis/nodes.c"
#include "test.h"

static const char text[] =
    "81b6457b4d7e9c6b6dc0e376f6e5099c9be3518d 127.0.0.1:7000@17000 myself,master - 0 0 1 connected 0-5460 "
    "7000 "
    "[93->-c31f106a923fbb21484d20efa45e25bad60cdf31]\n"
    "c31f106a923fbb21484d20efa45e25bad60cdf31 ::1:7001@17001,host.example,shard-id=abc master - 0 17 2 "
    "connected "
    "5461-6999\r\n"
    "dfa2e054f3863a40798cfe7626b327d4824e5900 :0@0 master,noaddr - 1 1 3 disconnected 8000-8001\n"
    "aaa2e054f3863a40798cfe7626b327d4824e5900 10.0.0.1:7002@17002 slave,fail "
    "81b6457b4d7e9c6b6dc0e376f6e5099c9be3518d 0 0 1 connected\n"
    "bbb2e054f3863a40798cfe7626b327d4824e5900 10.0.0.1:7003@17003 master,fail? - 0 0 1 connected\n";

static void lines(void)
{
    struct node_line n;
    const char *p = text;
    CHECK(nodes_next(&p, &n));
    EQ_S(n.id, "81b6457b4d7e9c6b6dc0e376f6e5099c9be3518d");
    EQ_S(n.host, "127.0.0.1");
    EQ_S(n.port, "7000");
    CHECK(n.myself && n.master && !n.away);
    EQ(slotset_count(&n.slots), 5462);
    CHECK(slotset_has(&n.slots, 7000) && !slotset_has(&n.slots, 5461));
    CHECK(nodes_next(&p, &n));
    EQ_S(n.host, "::1");
    EQ_S(n.port, "7001");
    EQ(slotset_count(&n.slots), 1539);
    CHECK(!n.myself && n.master && !n.away);
    CHECK(nodes_next(&p, &n));
    EQ_S(n.host, "");
    CHECK(n.away);
    CHECK(nodes_next(&p, &n));
    CHECK(!n.master && n.away);
    CHECK(nodes_next(&p, &n));
    CHECK(n.master && !n.away); /* one node's suspicion */
    CHECK(!nodes_next(&p, &n));
    CHECK(p != NULL);
}

static void malformed(void)
{
    static const char *const bad[] = {
        "x",
        "id host:1 master - 0 0 1 connected 5-3",
        "id host:1 master - 0 0 1 connected 16384",
        "id host:1 master - 0 0 1",
        "id host master - 0 0 1 connected",
        "id host:12345678 master - 0 0 1 connected",
        "0123456789012345678901234567890123456789012345 h:1 master - 0 0 1 connected",
    };
    struct node_line n;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        char *copy = (char *)exact(bad[i], strlen(bad[i]) + 1);
        const char *p = copy;
        CHECK(!nodes_next(&p, &n));
        CHECK(p == NULL);
        free(copy);
    }
}

int main(void)
{
    lines();
    malformed();
    return test_done();
}
