#include <err.h>
#include <getopt.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "crash.h"
#include "traffic.h"

struct options opt = {.crashes = 25, .every = 1, .series = 25, .rate = 1200, .move = 60};
struct run now;

static const char help[] =
    "dfcrash - crash tests of df2redis\n"
    "\n"
    "usage: dfcrash [options]\n"
    "\n"
    "  --crashes N       how many faults, 25\n"
    "  --seed N          of everything that is random, but the moments\n"
    "  --every N         pause, drain and compare after so many faults, 1\n"
    "  --series N        after so many faults all begins anew with a full sync, 25\n"
    "  --rate N          writes a second, 1200\n"
    "  --seconds N       end (with status 0) when so much time has passed\n"
    "  --cluster         the target is a cluster of three masters, at least once (writes that may be applied "
    "twice)\n"
    "  --exactly-once    a cluster, exactly once (all writes)\n"
    "  --service         the pipeline is df2redis --restart, of which any process may be hit, and which has "
    "to come back\n"
    "                    by itself (killed itself, it is started again as a service manager would); its "
    "pauses grow, so\n"
    "                    use short series\n"
    "  --distance MS     round trip to the master and to the target\n"
    "  --redis           the master is a redis-server (PSYNC), what REDIS_SOURCE names: also restart-source "
    "and "
    "kill-replicas\n"
    "  --source-cluster  with --redis: the master is a cluster of three, one with a replica; slots move to "
    "and "
    "fro while\n"
    "                    faults happen: also move-slots and fail-over\n"
    "  --move N          so many slots, in which half of the keys are, 60\n"
    "  --atomic          as a whole (Redis from 8.4, Valkey from 9) instead of key by key\n"
    "  --rename A=B      dfparse --rename-prefix A=B; up to 3 of them\n"
    "  --lag MS          the streams of the masters are held back in turns, each time at most so long\n"
    "  --dragonfly PATH  the master is this Dragonfly instead of the stand-in\n"
    "  --only NAME,...   only faults of these kinds: kill-stage, stop-stage, kill-all, end-all, cut-flow,\n"
    "                    cut-control, stall-source, cut-target, kill-target, stop-target, kill-everything\n"
    "  --omit            every full sync leaves out keys that are made meanwhile, not only one in three\n"
    "  --overwrite       what begins anew does so by overwriting, too, not only by flushing\n"
    "  --keep DIR        work in this folder, and leave it\n"
    "  --verbose         say how stages end\n"
    "\n"
    "dfreader, dfparse, rediswriter, standin, dfstate are looked for beside dfcrash, redis-server (for the "
    "target what\n"
    "REDIS_SERVER names) and redis-cli in PATH. Exit status: 0 all equal, 1 a failure, 2 usage.\n";

/* ---- the pipeline is kept going ---- */

static enum policy next_policy(void)
{
    if (now.complete || !now.begun)
        return POLICY_FAIL;
    return opt.overwrite && one_in(2) ? POLICY_OVERWRITE : POLICY_FLUSH;
}

/* From now on only a partial sync will do. */
static void note_complete(void)
{
    uint64_t pos[MAX_FLOWS];
    if (now.complete || !check_positions(pos))
        return;
    now.complete = true;
}

/* What follows the target's position may have left the backlog: then only a full sync will do. */
static enum cover covered(void)
{
    uint64_t pos[MAX_FLOWS];
    now.covered_now = now.complete && opt.source_cluster ? sources_covered(&now.source) : 0;
    if (!now.complete || !opt.redis || opt.source_cluster || !check_positions(pos))
        return COVER_ALL;
    enum cover cover = source_covers(&now.source, pos[0]);
    now.complete = cover == COVER_ALL;
    return cover;
}

static void start_again(void)
{
    bool stopped = false;
    for (unsigned i = 0; i < now.targets; i++) {
        if (!now.target[i].pid)
            return; /* it would not find the target: a supervisor tries again, we wait */
        stopped |= now.target[i].stopped;
    }
    if (stopped && (!now.complete || opt.cluster))
        return; /* we cannot say yet what to expect */
    for (unsigned i = 0; i < now.targets && !stopped; i++)
        server_wait(&now.target[i]);
    if (now.targets > 1)
        cluster_wait(now.target, now.targets);
    if (!stopped)
        note_complete();
    enum cover cover = stopped ? COVER_ALL : covered();
    if (now.pipeline.runs > 0)
        answers_check(&now.pipeline);
    now.restarts += now.pipeline.runs > 0;
    pipeline_start(&now.pipeline, next_policy(), now.complete, cover);
    now.begun = true;
}

void attend(int64_t us)
{
    int64_t end = now_us() + us;
    do {
        if (pipeline_reap(&now.pipeline))
            start_again();
        int64_t left = end - now_us();
        sleep_us(left < 5000 ? left > 0 ? left : 0 : 5000);
    } while (now_us() < end);
}

void recover(void)
{
    for (int64_t limit = now_us() + DRAIN_LIMIT; !pipeline_is_stable(&now.pipeline); attend(10000))
        if (now_us() > limit)
            fail("the pipeline does not get to the stable sync (phase %s)", pipeline_phase(&now.pipeline));
}

/* ---- a series: one full sync and its faults ---- */

static void targets_start(void)
{
    static const char *const names[NODES] = {"target", "target-1", "target-2"};
    now.targets = opt.cluster ? NODES : 1;
    for (unsigned i = 0; i < now.targets; i++) {
        remove_tree(file("%s", names[i]));
        now.target[i] = (struct server){
            .name = names[i], .persists = true, .cluster = opt.cluster, .port = now.target[i].port};
        server_start(&now.target[i]);
    }
    if (opt.cluster)
        cluster_make(now.target, now.targets);
}

static void series_start(void)
{
    now.series++;
    now.rng = opt.seed + ((uint64_t)(now.series - 1) << 32); /* whatever time the ones before took */
    uint64_t seed = below(UINT64_MAX / 2);
    now.complete = now.begun = false;
    unlink(file("positions"));
    targets_start();
    now.connections = !opt.service && one_in(4) ? 3 : 1;
    source_start(&now.source, seed);
    say("series %u: %u flows, %u databases, seed %llu%s%s", now.series, now.source.flows, now.source.dbs,
        (unsigned long long)seed, now.source.omits ? ", keys left out" : "",
        now.connections > 1 ? ", several connections" : "");
    source_go(&now.source);
    start_again();
}

static void series_end(void)
{
    pipeline_kill(&now.pipeline);
    now.omitted += now.source.omitted;
    source_stop(&now.source);
    for (unsigned i = 0; i < now.targets; i++)
        server_end(&now.target[i]);
    for (unsigned i = 1; i <= now.pipeline.runs && !opt.keep; i++) {
        static const char *const kinds[] = {"reader", "parser", "writer"};
        for (unsigned k = 0; k < 3; k++) {
            unlink(file("run-%u-%u.%s", now.series, i, kinds[k]));
            for (unsigned f = 0; f < MAX_FLOWS; f++)
                unlink(file("run-%u-%u.%s-%u", now.series, i, kinds[k], f));
        }
    }
    now.pipeline = (struct pipeline){0};
}

static void run_series(unsigned *fault, int64_t end)
{
    unsigned since = 0;
    series_start();
    for (unsigned i = 0; i < opt.series && *fault < opt.crashes && now_us() < end; i++) {
        attend((int64_t)below(i ? 500000 : 1500000)); /* the first ones hit the full sync */
        now.fault = ++*fault;
        if (!(opt.only && strstr(opt.only, "move-slots")) && one_in(2)) /* that one begins its own */
            moves_begin();
        while (one_in(now.complete ? 5 : 2)) { /* one more, not counted, that hits what recovers from it */
            fault_run(true);
            attend((int64_t)below(400000));
        }
        fault_run(false);
        attend((int64_t)below(one_in(3) ? 1000000 : 100000)); /* the next may hit what is on its way up */
        if (++since < opt.every && *fault < opt.crashes && i + 1 < opt.series)
            continue;
        check_equal();
        since = 0;
    }
    series_end();
}

/* ---- beginning and end ---- */

static uint64_t number(const char *text)
{
    char *end;
    unsigned long long n = strtoull(text, &end, 10);
    if (!*text || *end)
        errx(2, "%s: not a number", text);
    return n;
}

static void add_rename(const char *rule)
{
    unsigned i = 0;
    while (i < sizeof opt.rename / sizeof *opt.rename && opt.rename[i])
        i++;
    if (i + 1 >= sizeof opt.rename / sizeof *opt.rename)
        errx(2, "--rename: at most 3");
    opt.rename[i] = rule;
}

static void take_options(int argc, char **argv)
{
    static const struct option longs[] = {
        {"crashes", 1, NULL, 'n'},        {"seed", 1, NULL, 's'},      {"every", 1, NULL, 'e'},
        {"series", 1, NULL, 'r'},         {"rate", 1, NULL, 'w'},      {"seconds", 1, NULL, 't'},
        {"distance", 1, NULL, 'D'},       {"cluster", 0, NULL, 'c'},   {"dragonfly", 1, NULL, 'd'},
        {"exactly-once", 0, NULL, 'x'},   {"only", 1, NULL, 'o'},      {"keep", 1, NULL, 'k'},
        {"verbose", 0, NULL, 'v'},        {"overwrite", 0, NULL, 'O'}, {"omit", 0, NULL, 'm'},
        {"service", 0, NULL, 'S'},        {"help", 0, NULL, 'h'},      {"redis", 0, NULL, 'R'},
        {"source-cluster", 0, NULL, 'C'}, {"move", 1, NULL, 'M'},      {"lag", 1, NULL, 'L'},
        {"atomic", 0, NULL, 'a'},         {"rename", 1, NULL, 'N'},    {0},
    };
    int c;
    while ((c = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (c) {
        case 'n': opt.crashes = number(optarg); break;
        case 's': opt.seed = number(optarg); break;
        case 'e': opt.every = number(optarg); break;
        case 'r': opt.series = number(optarg); break;
        case 'w': opt.rate = number(optarg); break;
        case 't': opt.seconds = number(optarg); break;
        case 'D': opt.distance = number(optarg); break;
        case 'c': opt.cluster = true; break;
        case 'x': opt.cluster = opt.exact = true; break;
        case 'd': opt.dragonfly = optarg; break;
        case 'o': opt.only = optarg; break;
        case 'k': opt.keep = optarg; break;
        case 'm': opt.omit = true; break;
        case 'O': opt.overwrite = true; break;
        case 'R': opt.redis = true; break;
        case 'C': opt.source_cluster = true; break;
        case 'M': opt.move = number(optarg); break;
        case 'L': opt.lag = number(optarg); break;
        case 'a': opt.atomic = true; break;
        case 'N': add_rename(optarg); break;
        case 'S': opt.service = true; break;
        case 'v': opt.verbose = true; break;
        case 'h': fputs(help, stdout); exit(0);
        default: exit(2);
        }
    }
    if (optind < argc || (opt.redis && (opt.dragonfly || opt.omit)) || (opt.service && opt.cluster) ||
        (opt.rename[0] && opt.service) || (opt.source_cluster && (!opt.redis || opt.service || !opt.move)) ||
        ((opt.atomic || opt.lag) && !opt.source_cluster) || !opt.crashes || !opt.every || !opt.series ||
        !opt.rate)
        errx(2, "see dfcrash --help");
    if (!opt.seed)
        opt.seed = (uint64_t)time(NULL) % 1000000;
}

/* What df2redis has started does not die with us. */
static void on_term(int sig)
{
    (void)sig;
    if (opt.service && now.pipeline.group > 0)
        kill(-now.pipeline.group, SIGKILL);
    _exit(1);
}

/* The programs beside us come first. */
static void set_path(void)
{
    char self[PATH_ROOM], path[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n <= 0)
        errx(1, "/proc/self/exe");
    self[n] = '\0';
    *strrchr(self, '/') = '\0';
    snprintf(path, sizeof path, "%s:%s", self, getenv("PATH"));
    setenv("PATH", path, 1);
}

static void make_folder(void)
{
    const char *tmp = getenv("TMPDIR");
    if (opt.keep) {
        snprintf(now.dir, sizeof now.dir, "%s", opt.keep);
        make_dir(now.dir);
        return;
    }
    snprintf(now.dir, sizeof now.dir, "%s/dfcrash.XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(now.dir))
        err(1, "%s", now.dir);
}

int main(int argc, char **argv)
{
    unsigned fault = 0;
    take_options(argc, argv);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGTERM, on_term);
    signal(SIGINT, on_term);
    prctl(PR_SET_PDEATHSIG, SIGTERM); /* what started us, make or bats, and we end together */
    set_path();
    now.rng = opt.seed;
    make_folder();
    int64_t end = opt.seconds ? now_us() + (int64_t)opt.seconds * SECOND : INT64_MAX;
    say("seed %llu, %llu faults, in %s", (unsigned long long)opt.seed, (unsigned long long)opt.crashes,
        now.dir);
    while (fault < opt.crashes && now_us() < end)
        run_series(&fault, end);
    say("seed %llu: %u faults, %u comparisons, all equal; %u full syncs, %u partial, %u restarts (%u "
        "helped), %llu keys left out",
        (unsigned long long)opt.seed, fault, now.compared, now.fulls, now.partials, now.restarts, now.helped,
        now.omitted);
    if (opt.redis)
        say("the master had what followed in %u new starts%s, and answered %u of them with a partial sync",
            now.covered, opt.source_cluster ? " of flows" : "", now.went_on);
    if (opt.source_cluster)
        say("slots were moved to another master and back %u times", now.moves);
    if (!opt.keep)
        remove_tree(now.dir);
    return 0;
}
