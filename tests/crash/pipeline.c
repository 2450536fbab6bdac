/* The stages, in one process each or with a reader and a parser a flow; as `df2redis replicate` starts them.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash.h"

static const char *const policy_name[] = {"fail", "flush", "overwrite"};

struct texts { /* words of the stages' command lines */
    char source[96], target[64], writer[PATH_ROOM + 40];
};

static void add_stage(struct pipeline *p, struct command *c, const char *name, const char *log)
{
    struct stage *s = &p->stage[p->stages++];
    *s = (struct stage){.status = -1};
    snprintf(s->name, sizeof s->name, "%s", name);
    c->group = p->group;
    c->log = log;
    s->pid = start(c);
    if (!p->group)
        p->group = s->pid;
    p->alive++;
}

static void set_cloexec(const int fd[2])
{
    for (unsigned i = 0; i < 2; i++)
        fcntl(fd[i], F_SETFD, FD_CLOEXEC);
}

static void make_pipe(int fd[2])
{
    if (pipe(fd) != 0)
        fail("pipe: %s", strerror(errno));
    set_cloexec(fd);
}

static void add_writer(struct pipeline *p, const struct texts *t, enum policy policy, bool expect_saved,
                       int in)
{
    char inputs[16];
    struct command c = {.in = in, .out = -1};
    arg(&c, "rediswriter");
    arg(&c, "-v");
    arg(&c, "--on-full-resync");
    arg(&c, policy_name[policy]);
    if (expect_saved)
        arg(&c, "--expect-saved");
    if (now.connections > 1) {
        arg(&c, "--connections");
        arg(&c, "3");
    }
    if (opt.cluster || now.connections > 1) {
        arg(&c, "--position-file");
        arg(&c, file("positions"));
        arg(&c, opt.exact || !opt.cluster ? "--exactly-once" : "--at-least-once");
        arg(&c, "--durable-target"); /* they run with appendfsync always */
    }
    if (!p->single) {
        snprintf(inputs, sizeof inputs, "%u", now.source.flows);
        arg(&c, "--listen");
        arg(&c, t->writer);
        arg(&c, "--inputs");
        arg(&c, inputs);
    }
    arg(&c, t->target);
    add_stage(p, &c, "rediswriter", file("run-%u-%u.writer", now.series, p->runs));
}

static void add_reader(struct pipeline *p, const struct texts *t, enum policy policy, const char *only,
                       int out)
{
    struct command c = {.in = -1, .out = out};
    arg(&c, "dfreader");
    arg(&c, "-v");
    arg(&c, "--resume");
    arg(&c, "--on-full-resync");
    arg(&c, policy_name[policy]);
    arg(&c, "--control");
    arg(&c, file("control"));
    if (opt.redis && one_in(2)) {
        arg(&c, "--acknowledge");
        arg(&c, "exact");
    }
    if (now.source.omits && one_in(2)) { /* so that faults hit the verification */
        arg(&c, "--verify-rate");
        arg(&c, one_in(2) ? "2000" : "10000");
    }
    if (only)
        arg(&c, only);
    arg(&c, t->source);
    add_stage(p, &c, "dfreader", file("run-%u-%u.reader", now.series, p->runs));
}

static void start_service(struct pipeline *p, const struct texts *t)
{
    struct command c = {.in = -1, .out = -1};
    service_command(&c, t->source, t->target);
    add_stage(p, &c, "df2redis", file("service.log"));
}

static void add_renames(struct command *c)
{
    for (size_t i = 0; opt.rename[i]; i++) {
        arg(c, "--rename-prefix");
        arg(c, opt.rename[i]);
    }
}

static void start_single(struct pipeline *p, const struct texts *t, enum policy policy, bool expect_saved)
{
    int raw[2], commands[2];
    make_pipe(raw);
    make_pipe(commands);
    add_reader(p, t, policy, NULL, raw[1]);
    struct command c = {.in = raw[0], .out = commands[1]};
    arg(&c, "dfparse");
    add_renames(&c);
    add_stage(p, &c, "dfparse", file("run-%u-%u.parser", now.series, p->runs));
    add_writer(p, t, policy, expect_saved, commands[0]);
    for (unsigned i = 0; i < 2; i++) {
        close(raw[i]);
        close(commands[i]);
    }
}

static void start_flow(struct pipeline *p, const struct texts *t, unsigned flow)
{
    int raw[2];
    char number[16], name[24];
    make_pipe(raw);
    snprintf(number, sizeof number, "%u", flow);
    struct command reader = {.in = -1, .out = raw[1]}, parser = {.in = raw[0], .out = -1};
    const char *const words[] = {"dfreader", "-v", "--flow", number, "--session", file("control"), t->source};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        arg(&reader, words[i]);
    arg(&parser, "dfparse");
    add_renames(&parser);
    arg(&parser, "-o");
    arg(&parser, t->writer);
    snprintf(name, sizeof name, "dfparse-%u", flow);
    add_stage(p, &parser, name, file("run-%u-%u.parser-%u", now.series, p->runs, flow));
    snprintf(name, sizeof name, "dfreader-%u", flow);
    add_stage(p, &reader, name, file("run-%u-%u.reader-%u", now.series, p->runs, flow));
    close(raw[0]);
    close(raw[1]);
}

/* Sockets of the run before are no sign that this one listens. */
static void wait_for_socket(const char *path)
{
    struct stat st;
    for (int64_t limit = now_us() + 10 * SECOND; stat(path, &st) != 0; sleep_us(2000))
        if (now_us() > limit)
            fail("no socket %s", path);
}

static void start_flows(struct pipeline *p, const struct texts *t, enum policy policy, bool expect_saved)
{
    add_reader(p, t, policy, "--session-only", -1);
    add_writer(p, t, policy, expect_saved, -1);
    wait_for_socket(file("control"));
    wait_for_socket(t->writer + strlen("unix:"));
    for (unsigned i = 0; i < now.source.flows; i++)
        start_flow(p, t, i);
}

static void name_source(char *to, size_t room)
{
    const struct proxy *p = now.source.proxy;
    if (now.source.cluster)
        snprintf(to, room, "redis-cluster://127.0.0.1:%u,127.0.0.1:%u", p[0].port, p[1].port);
    else
        snprintf(to, room, "%s://127.0.0.1:%u", opt.redis ? "redis" : "dragonfly", p[0].port);
}

void pipeline_start(struct pipeline *p, enum policy policy, bool expect_saved, enum cover cover)
{
    struct texts t;
    unsigned runs = p->runs + 1;
    *p = (struct pipeline){.runs = runs, .single = one_in(2), .goes_on = expect_saved};
    p->may_go_on = cover == COVER_UNKNOWN;
    p->covered = now.covered_now;
    name_source(t.source, sizeof t.source);
    snprintf(t.target, sizeof t.target, "redis://127.0.0.1:%u", now.target[0].far);
    snprintf(t.writer, sizeof t.writer, "unix:%s", file("writer"));
    unlink(file("control"));
    unlink(file("writer"));
    if (opt.verbose)
        say("  run %u: %s, --on-full-resync %s%s", runs, p->single ? "one process" : "one process per flow",
            policy_name[policy], expect_saved ? ", positions expected" : "");
    if (opt.service)
        start_service(p, &t);
    else if (p->single)
        start_single(p, &t, policy, expect_saved);
    else
        start_flows(p, &t, policy, expect_saved);
}

/* ---- how they end ---- */

/* Of any stage: what it ends with goes on to those behind it. */
static bool was_asked(const struct pipeline *p)
{
    for (unsigned i = 0; i < p->stages; i++)
        if (p->stage[i].asked)
            return true;
    return false;
}

static bool status_is_fine(const struct pipeline *p, const struct stage *s)
{
    if (s->hit)
        return true;
    if (!WIFEXITED(s->status))
        return s->asked && WTERMSIG(s->status) == SIGTERM; /* it came before the program could take it */
    int st = WEXITSTATUS(s->status);
    if (st == 3 && opt.cluster && !opt.exact && !strcmp(s->name, "rediswriter"))
        return true; /* it says that some may have counted twice, where that makes a difference */
    return st == 0 || st == 75 || (st == 5 && (!now.complete || was_asked(p)));
}

static void stage_ended(struct pipeline *p, struct stage *s, int status)
{
    s->pid = 0;
    s->status = status;
    p->alive--;
    if (!p->first_end)
        p->first_end = now_us();
    if (opt.verbose)
        say("  %s: %s %d%s", s->name, WIFEXITED(status) ? "status" : "signal",
            WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), s->hit ? " (hit)" : "");
    if (!status_is_fine(p, s))
        fail("%s ended with %s %d", s->name, WIFEXITED(status) ? "status" : "signal",
             WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
}

bool pipeline_reap(struct pipeline *p)
{
    for (unsigned i = 0; i < p->stages; i++) {
        int status;
        if (p->stage[i].pid && !p->stage[i].other &&
            waitpid(p->stage[i].pid, &status, WNOHANG) == p->stage[i].pid)
            stage_ended(p, &p->stage[i], status);
    }
    /* Until all have joined, a session waits for those that died before (50 s); df2redis ends the others
     * then. */
    if (p->alive && p->first_end && !p->single && !p->was_stable && !p->ending &&
        now_us() - p->first_end > 2 * SECOND) {
        p->ending = true;
        now.helped++;
        pipeline_signal_all(p, SIGKILL);
    }
    if (p->alive && p->first_end && now_us() - p->first_end > END_LIMIT) {
        for (unsigned i = 0; i < p->stages; i++)
            if (p->stage[i].pid)
                say("%s (pid %ld) still runs", p->stage[i].name, (long)p->stage[i].pid);
        fail("stages do not end when others have");
    }
    return p->alive == 0;
}

void pipeline_list(struct pipeline *p)
{
    if (opt.service)
        service_list(p);
}

void pipeline_signal(struct pipeline *p, unsigned stage, int sig)
{
    struct stage *s = &p->stage[stage % p->stages];
    if (!s->pid)
        return;
    s->hit |= sig == SIGKILL;
    kill(s->pid, sig);
}

void pipeline_signal_all(struct pipeline *p, int sig)
{
    for (unsigned i = 0; i < p->stages; i++) {
        p->stage[i].hit |= p->stage[i].pid && sig == SIGKILL;
        p->stage[i].asked |= sig == SIGTERM;
    }
    if (p->alive)
        kill(-p->group, sig);
}

void pipeline_kill(struct pipeline *p)
{
    if (!p->alive)
        return;
    pipeline_signal_all(p, SIGKILL);
    while (!pipeline_reap(p))
        sleep_us(1000);
    if (opt.service)
        service_end(p);
}

/* The line "session" of the status, "" when it does not answer. */
static char *session_line(void)
{
    static char text[16384];
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    struct timeval limit = {1, 0};
    const char *ask = "hello role=supervisor\nstatus\n";
    char *line = NULL;
    size_t n = 0;
    snprintf(a.sun_path, sizeof a.sun_path, "%s", opt.service ? file("run/control.sock") : file("control"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    text[0] = '\0';
    if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
        send(fd, ask, strlen(ask), MSG_NOSIGNAL) == (ssize_t)strlen(ask)) {
        ssize_t got;
        while (n + 1 < sizeof text && (!(line = strstr(text, "session phase=")) || !strchr(line, '\n')) &&
               (got = recv(fd, text + n, sizeof text - 1 - n, 0)) > 0) {
            n += (size_t)got;
            text[n] = '\0';
        }
    }
    close(fd);
    line = strstr(text, "session phase=");
    if (!line || !strchr(line, '\n'))
        return text + n; /* its end */
    *strchr(line, '\n') = '\0';
    return line;
}

const char *pipeline_phase(struct pipeline *p)
{
    char *phase = session_line();
    (void)p;
    if (!*phase)
        return "";
    phase += strlen("session phase=");
    phase[strcspn(phase, " \n")] = '\0';
    return phase;
}

bool pipeline_has_all_slots(struct pipeline *p)
{
    (void)p;
    return strstr(session_line(), " slots_open=0 ") != NULL;
}

bool pipeline_has_verified(struct pipeline *p)
{
    const char *line = session_line();
    (void)p;
    if (strstr(line, " verify=failed "))
        fail("keys that are missing could not be looked for");
    return *line && !strstr(line, " verify=needed ") && !strstr(line, " verify=runs ");
}

bool pipeline_is_stable(struct pipeline *p)
{
    if (opt.service)
        return p->alive && strcmp(pipeline_phase(p), "stable") == 0;
    if (!p->was_stable && strcmp(pipeline_phase(p), "stable") == 0) {
        p->was_stable = true;
        answers_count(p);
    }
    return p->was_stable && p->alive == p->stages;
}
