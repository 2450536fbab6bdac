/* Connections of the same task in CLIENT LIST: whose they are, and whether that writer may be alive. */
#include "test.h"

#include "../../writer/target/rival.h"

#include "../../writer/target/rival.c"

static bool only_77(long pid)
{
    return pid == 77;
}

static struct rival_self self = {.task = "t", .host = "h.local", .pid = 50, .ns = 9, .runs = only_77};

static void is(const char *line, enum rival want, long long id)
{
    char who[RIVAL_NAME] = "";
    long long got = 0;
    char *copy = malloc(strlen(line)); /* no byte behind it may be read */
    memcpy(copy, line, strlen(line));
    EQ(rival_of(&self, copy, strlen(line), &got, who), want);
    if (want != RIVAL_NONE)
        EQ(got, id);
    free(copy);
}

int main(void)
{
    char name[RIVAL_NAME];
    rival_name(&self, name);
    EQ_S(name, "df2redis:t:h.local.50.9");
    is("id=3 addr=1.2.3.4:5 name=df2redis:t:h.local.50.9 age=1", RIVAL_GONE, 3); /* ours */
    is("id=4 name=df2redis:t:h.local.51.9 age=1", RIVAL_GONE, 4);                /* killed */
    is("id=5 name=df2redis:t:h.local.77.9 age=1", RIVAL_ALIVE, 5);
    is("id=5 name=df2redis:t:h.local.77.9", RIVAL_ALIVE, 5);
    is("id=6 name=df2redis:t:h.local.51.8 age=1", RIVAL_ALIVE, 6); /* another container */
    is("id=7 name=df2redis:t:other.51.9 age=1", RIVAL_ALIVE, 7);
    is("id=8 name=df2redis:t:h.local.51 age=1", RIVAL_GONE, 8); /* an older version */
    is("id=8 name=df2redis:t:h.local.77 age=1", RIVAL_ALIVE, 8);
    is("id=9 name=df2redis:t:h.local.50 age=1", RIVAL_GONE, 9);
    is("id=10 name=df2redis:t:strange age=1", RIVAL_ALIVE, 10);
    is("id=10 name=df2redis:t: age=1", RIVAL_ALIVE, 10);
    is("id=11 name=df2redis:tt:h.local.77.9 age=1", RIVAL_NONE, 0);
    is("id=11 name=df2redis:t2:h.local.77.9 age=1", RIVAL_NONE, 0);
    is("id=12 name= age=1", RIVAL_NONE, 0);
    is("", RIVAL_NONE, 0);
    is("id=3", RIVAL_NONE, 0);
    is("id=", RIVAL_NONE, 0);
    is("id=99999999999999999999999 name=df2redis:t:h.local.77.9", RIVAL_ALIVE, 99999999999999999);
    is("name=df2redis:t:h.local.77.9", RIVAL_NONE, 0);
    struct rival_self me;
    rival_self(&me, "t");
    CHECK(me.pid > 0 && me.host[0] != '\0' && me.ns > 0);
    CHECK(!me.runs(1L << 22));
    return test_done();
}
