/* Did you mean: what is near enough, and which of several it is. */
#include "test.h"

#include "../../common/nearest.h"

static const char *find(const char *word)
{
    static const char *const names[] = {
        "replicate", "migrate",     "record",
        "list",      "top",         "on-existing",
        "no-verify", "verify-rate", "a-name-that-is-much-longer-than-anything-one-writes"};
    struct nearest n;
    nearest_begin(&n, word);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        nearest_offer(&n, names[i]);
    return n.best != NULL ? n.best : "";
}

static void near_words(void)
{
    EQ_S(find("replicate"), "replicate");
    EQ_S(find("replciate"), "replicate");
    EQ_S(find("migarte"), "migrate");
    EQ_S(find("on-exsiting"), "on-existing");
    EQ_S(find("lst"), "list");
    EQ_S(find("verify-rat"), "verify-rate");
}

static void far_words(void)
{
    EQ_S(find(""), "");
    EQ_S(find("x"), "");
    EQ_S(find("ls"), "");
    EQ_S(find("nonsense"), "");
    EQ_S(find("an-option-that-is-longer-than-forty-letters-are"), "");
}

static void first_of_equals(void)
{
    struct nearest n;
    nearest_begin(&n, "bat");
    nearest_offer(&n, "cat");
    nearest_offer(&n, "hat");
    EQ_S(n.best, "cat");
    EQ(n.changes, 1);
    nearest_offer(&n, "bat");
    EQ_S(n.best, "bat");
}

int main(void)
{
    near_words();
    far_words();
    first_of_equals();
    return test_done();
}
