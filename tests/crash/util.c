#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "crash.h"
#include "traffic.h"

int64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * SECOND + t.tv_nsec / 1000;
}

void sleep_us(int64_t us)
{
    struct timespec t = {us / SECOND, us % SECOND * 1000};
    nanosleep(&t, NULL);
}

static void print(const char *format, va_list args) __attribute__((format(printf, 1, 0)));
static void print(const char *format, va_list args)
{
    static int64_t begun;
    int64_t t = now_us();
    if (!begun)
        begun = t;
    printf("%7.2f ", (double)(t - begun) / (double)SECOND);
    vprintf(format, args);
    putchar('\n');
    fflush(stdout);
}

void say(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    print(format, args);
    va_end(args);
}

void fail(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("FAILED  ", stdout);
    print(format, args);
    va_end(args);
    printf("fault %u of series %u (%s), run %u of its pipeline\n", now.fault, now.series, now.last_fault,
           now.pipeline.runs);
    printf("logs: %s\n", now.dir);
    printf("again: make crash SEED=%llu CRASHES=%llu CRASH_ARGS='--every %llu --series %llu --rate "
           "%llu --distance %llu%s%s%s%s%s%s%s%s%s%s%s --move %llu --lag %llu'\n",
           (unsigned long long)opt.seed, (unsigned long long)opt.crashes, (unsigned long long)opt.every,
           (unsigned long long)opt.series, (unsigned long long)opt.rate, (unsigned long long)opt.distance,
           opt.exact     ? " --exactly-once"
           : opt.cluster ? " --cluster"
                         : "",
           opt.overwrite ? " --overwrite" : "", opt.omit ? " --omit" : "", opt.service ? " --service" : "",
           opt.only ? " --only " : "", opt.only ? opt.only : "", opt.dragonfly ? " --dragonfly " : "",
           opt.dragonfly ? opt.dragonfly : "", opt.redis ? " --redis" : "",
           opt.source_cluster ? " --source-cluster" : "", opt.atomic ? " --atomic" : "",
           (unsigned long long)opt.move, (unsigned long long)opt.lag);
    fflush(stdout);
    if (opt.service)
        service_end(&now.pipeline);
    exit(1); /* children die with us */
}

uint64_t below(uint64_t n)
{
    return traffic_below(&now.rng, n);
}

bool one_in(uint64_t n)
{
    return below(n) == 0;
}

unsigned free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof a;
    /* Below the range that outgoing connections are given, and so that a cluster's bus finds its port, too.
     */
    for (unsigned i = 0; i < 200; i++) {
        /* Ports beside one that is in use may be the same test's. */
        unsigned port = 10000 + (unsigned)((uint64_t)getpid() * 31 + (uint64_t)now_us() / 7 + 61 * i) % 12000;
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        a.sin_port = htons((uint16_t)port);
        bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, len) == 0;
        if (fd >= 0)
            close(fd);
        if (ok)
            return port;
    }
    fail("no free port");
}

const char *file(const char *format, ...)
{
    static char path[8][2 * PATH_ROOM];
    static unsigned next;
    char *to = path[next++ % 8];
    va_list args;
    int n = snprintf(to, sizeof path[0], "%s/", now.dir);
    va_start(args, format);
    vsnprintf(to + n, sizeof path[0] - (size_t)n, format, args);
    va_end(args);
    return to;
}

void make_dir(const char *path)
{
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        fail("%s: %s", path, strerror(errno));
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *f)
{
    (void)st, (void)kind, (void)f;
    return remove(path);
}

void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- children ---- */

void arg(struct command *c, const char *word)
{
    if (c->argc + 1 >= MAX_ARGV)
        fail("too many arguments");
    c->argv[c->argc++] = word;
    c->argv[c->argc] = NULL;
}

static void move_to(int from, const char *path, int flags, int to)
{
    int fd = from >= 0 ? from : open(path, flags, 0600);
    if (fd < 0 || dup2(fd, to) < 0)
        _exit(127);
}

pid_t start(const struct command *c)
{
    char *argv[MAX_ARGV];
    memcpy(argv, c->argv, sizeof argv);
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, &before); /* our handlers are none of the child's */
    pid_t parent = getpid(), pid = fork();
    if (pid != 0)
        sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0)
        fail("fork: %s", strerror(errno));
    if (pid > 0) {
        if (c->group >= 0)
            setpgid(pid, c->group ? c->group : pid); /* in both, so that it is done when either goes on */
        return pid;
    }
    if (c->group >= 0)
        setpgid(0, c->group);
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(127);
    const char *log = c->log ? c->log : "/dev/null";
    move_to(c->in, "/dev/null", O_RDONLY, 0);
    move_to(c->out, log, O_WRONLY | O_CREAT | O_APPEND, 1);
    move_to(-1, log, O_WRONLY | O_CREAT | O_APPEND, 2);
    execvp(argv[0], argv);
    fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
    _exit(127);
}

int run(struct command *c)
{
    int status;
    pid_t pid = start(c);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void end_child(pid_t *pid)
{
    int status;
    if (*pid <= 0)
        return;
    kill(*pid, SIGKILL);
    while (waitpid(*pid, &status, 0) < 0 && errno == EINTR)
        continue;
    *pid = 0;
}
