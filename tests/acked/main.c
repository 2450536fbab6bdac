/* A client that counts: acked [--rate N] [--keys N] --file FILE SOURCE[,SOURCE…] TARGET
 *
 * Writes to the servers at these ports of 127.0.0.1 (the masters of a cluster, each what it has), so many
 * commands per second: RPUSH of numbers that it uses once. On SIGUSR1 it moves: what was not answered by then
 * is in doubt, and everything else goes to TARGET. On SIGUSR2 it stops writing, and reads from TARGET what is
 * there. Of that it writes a line to FILE:
 *
 *   acknowledged=N doubtful=N lost=N doubled=N longest_ms=N
 *
 * lost: acknowledged and not there; longest_ms: between two replies. Status 1 if anything is lost or doubled.
 * A line "ready" stands there as soon as every server has answered. */
#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <hiredis/hiredis.h>

#define SERVERS 16u
#define BATCHES 500u /* per second */
#define IDS     (64u << 20)

enum { SENT = 1, ACKED = 2, SEEN = 4 };

struct writer {
    pthread_t thread;
    unsigned number;
    int port;
    unsigned *key; /* that it writes */
    unsigned keys, at;
    unsigned batch;
    redisContext *c;
    atomic_uint answered; /* batches */
    uint64_t longest;     /* ns between two replies */
};

static uint8_t *state; /* of each id; one writer has those of its own number */
static unsigned all_keys = 200, writers;
static int target;
static atomic_int moving, stopping;

static uint64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what, const char *why)
{
    fprintf(stderr, "acked: %s: %s\n", what, why);
    exit(2);
}

static redisContext *reach(int port)
{
    redisContext *c = redisConnect("127.0.0.1", port);
    if (c == NULL || c->err != 0)
        die("connect", c != NULL ? c->errstr : "no memory");
    return c;
}

/* Of all keys those that the server has: in a cluster others are MOVED. */
static void choose_keys(struct writer *w)
{
    w->key = calloc(all_keys, sizeof *w->key);
    for (unsigned i = 0; i < all_keys; i++) {
        redisReply *r = redisCommand(w->c, "LLEN acked:%u", i);
        if (r == NULL)
            die("LLEN", w->c->errstr);
        if (r->type == REDIS_REPLY_INTEGER)
            w->key[w->keys++] = i;
        else if (strncmp(r->str, "MOVED", 5) != 0)
            die("LLEN", r->str);
        freeReplyObject(r);
    }
    if (w->keys == 0)
        die("keys", "a server has none");
}

/* One batch; false: the connection has gone. */
static bool write_batch(struct writer *w, unsigned *next, uint64_t *heard)
{
    unsigned first = *next;
    for (unsigned i = 0; i < w->batch; i++, *next += writers) {
        if (*next >= IDS)
            die("ids", "too many");
        state[*next] |= SENT;
        redisAppendCommand(w->c, "RPUSH acked:%u %u", w->key[w->at++ % w->keys], *next);
    }
    for (unsigned i = 0; i < w->batch; i++, first += writers) {
        redisReply *r;
        if (redisGetReply(w->c, (void **)&r) != REDIS_OK)
            return false;
        if (r->type == REDIS_REPLY_ERROR)
            die("RPUSH", r->str);
        state[first] |= ACKED;
        freeReplyObject(r);
        uint64_t now = now_ns();
        if (now - *heard > w->longest)
            w->longest = now - *heard;
        *heard = now;
    }
    atomic_fetch_add(&w->answered, 1);
    return true;
}

/* Its connection was shut down by main, which says why a moment later. */
static bool is_moving(void)
{
    for (unsigned i = 0; i < 1000 && !moving; i++)
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    return moving;
}

static void *write_on(void *ctx)
{
    struct writer *w = ctx;
    unsigned next = w->number;
    bool moved = false;
    uint64_t due = now_ns(), heard = due;
    while (!stopping) {
        if (moving && !moved) {
            redisFree(w->c);
            w->c = reach(target);
            moved = true;
        }
        if (!write_batch(w, &next, &heard) && (moved || !is_moving()))
            die("connection", w->c->errstr);
        due += 1000000000 / BATCHES;
        uint64_t now = now_ns();
        if (due > now)
            nanosleep(&(struct timespec){.tv_nsec = (long)(due - now)}, NULL);
        else
            due = now; /* what a pause has kept back is not caught up with */
    }
    return NULL;
}

static bool all_answered(struct writer *w)
{
    for (unsigned i = 0; i < writers; i++)
        if (w[i].answered == 0)
            return false;
    return true;
}

static unsigned read_back(void)
{
    unsigned doubled = 0;
    redisContext *c = reach(target);
    for (unsigned i = 0; i < all_keys; i++) {
        redisReply *r = redisCommand(c, "LRANGE acked:%u 0 -1", i);
        if (r == NULL || r->type != REDIS_REPLY_ARRAY)
            die("LRANGE", r != NULL ? r->str : c->errstr);
        for (size_t k = 0; k < r->elements; k++) {
            unsigned long id = strtoul(r->element[k]->str, NULL, 10);
            if (id >= IDS || (state[id] & SENT) == 0 || (state[id] & SEEN) != 0)
                doubled++;
            else
                state[id] |= SEEN;
        }
        freeReplyObject(r);
    }
    redisFree(c);
    return doubled;
}

static int report(const char *file, const struct writer *w)
{
    unsigned acknowledged = 0, doubtful = 0, lost = 0, doubled = read_back();
    uint64_t longest = 0;
    for (unsigned i = 0; i < writers; i++)
        if (w[i].longest > longest)
            longest = w[i].longest;
    for (unsigned i = 0; i < IDS; i++) {
        acknowledged += (state[i] & ACKED) != 0;
        doubtful += (state[i] & (SENT | ACKED)) == SENT;
        lost += (state[i] & (ACKED | SEEN)) == ACKED;
    }
    FILE *f = fopen(file, "a");
    if (f == NULL)
        die(file, "cannot be written");
    fprintf(f, "acknowledged=%u doubtful=%u lost=%u doubled=%u longest_ms=%llu\n", acknowledged, doubtful,
            lost, doubled, (unsigned long long)(longest / 1000000));
    fclose(f);
    return lost + doubled > 0;
}

static void say_ready(const char *file)
{
    FILE *f = fopen(file, "w");
    if (f == NULL)
        die(file, "cannot be written");
    fputs("ready\n", f);
    fclose(f);
}

static unsigned take_ports(char *text, struct writer *w)
{
    unsigned n = 0;
    for (char *p = strtok(text, ","); p != NULL && n < SERVERS; p = strtok(NULL, ","))
        w[n++].port = atoi(p);
    return n;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"rate", required_argument, NULL, 'r'},
                                            {"keys", required_argument, NULL, 'k'},
                                            {"file", required_argument, NULL, 'f'},
                                            {NULL, 0, NULL, 0}};
    static struct writer w[SERVERS];
    unsigned rate = 1000;
    const char *file = NULL;
    for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (c) {
        case 'r': rate = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'k': all_keys = (unsigned)strtoul(optarg, NULL, 10); break;
        case 'f': file = optarg; break;
        default: return 2;
        }
    }
    if (argc - optind != 2 || file == NULL || (writers = take_ports(argv[optind], w)) == 0)
        die("usage", "acked [--rate N] [--keys N] --file FILE PORT[,PORT...] PORT");
    target = atoi(argv[optind + 1]);
    state = calloc(IDS, 1);
    if (state == NULL)
        die("ids", "no memory");

    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    sigaddset(&set, SIGUSR2);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    signal(SIGPIPE, SIG_IGN);
    for (unsigned i = 0; i < writers; i++) {
        w[i].number = i;
        w[i].batch = rate / BATCHES / writers > 0 ? rate / BATCHES / writers : 1;
        w[i].c = reach(w[i].port);
        choose_keys(&w[i]);
        if (pthread_create(&w[i].thread, NULL, write_on, &w[i]) != 0)
            die("thread", "none");
    }
    while (!all_answered(w))
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    say_ready(file);
    for (int sig = 0; sig != SIGUSR2;) {
        sigwait(&set, &sig);
        if (sig != SIGUSR1 || moving)
            continue;
        for (unsigned i = 0; i < writers; i++)
            shutdown(w[i].c->fd, SHUT_RDWR); /* who waits for a paused server waits no longer */
        moving = 1;                          /* from here on the connections are the threads' own */
    }
    stopping = 1;
    for (unsigned i = 0; i < writers; i++)
        pthread_join(w[i].thread, NULL);
    return report(file, w);
}
