#include "control.h"

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bsd/string.h>

#include "io.h"
#include "log.h"
#include "sock.h"

/* One parser and one process per flow, some writers and questions: more than that is a mistake. */
#define PEERS_MAX    4096

#define ACCEPT_RETRY ((uint64_t)1000000) /* µs */

const char *role_name(enum role role)
{
    static const char *const names[ROLE_COUNT] = {"none", "parser", "writer", "flow", "supervisor"};
    return names[role];
}

/* ---- path ---- */

/* A directory that only we can write to. */
static bool ours(const char *dir)
{
    struct stat st;
    return lstat(dir, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() && (st.st_mode & 0022) == 0;
}

static int default_path(char *to, size_t cap, char *why, size_t whylen)
{
    char dir[64];
    const char *run = getenv("XDG_RUNTIME_DIR");
    int n = -1;
    if (run != NULL && run[0] == '/' && ours(run))
        n = snprintf(to, cap, "%s/dfreader.%ld.sock", run, (long)getpid());
    if (n < 0 || (size_t)n >= cap) {
        snprintf(dir, sizeof dir, "/tmp/df2redis-%lu", (unsigned long)geteuid());
        if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
            snprintf(why, whylen, "cannot make %s: %s", dir, strerror(errno));
            return -1;
        }
        if (!ours(dir)) {
            snprintf(why, whylen, "%s is not a directory of our own: name a control socket with --control",
                     dir);
            return -1;
        }
        snprintf(to, cap, "%s/dfreader.%ld.sock", dir, (long)getpid());
    }
    return 0;
}

/* Peers may have another working directory: absolute, unless it would then be too long for a socket. */
static int absolute_path(char *to, size_t cap, const char *path, char *why, size_t whylen)
{
    char cwd[PATH_MAX];
    if (path[0] != '/' && getcwd(cwd, sizeof cwd) != NULL) {
        int n = snprintf(to, cap, "%s/%s", cwd, path);
        if (n >= 0 && (size_t)n < cap)
            return 0;
    }
    if (strlcpy(to, path, cap) < cap)
        return 0;
    snprintf(why, whylen, "the path of the control socket is too long (at most %zu bytes): %s", cap - 1,
             path);
    return -1;
}

/* ---- peers ---- */

static void drop(struct peer *p)
{
    p->gone = true;
    loop_del(p->control->loop, &p->w);
}

/* Drop the peer once what was sent to it has left. */
static void finish(struct peer *p)
{
    p->closing = true;
    if (!p->gone && ctl_idle(&p->ctl))
        drop(p);
}

static void refuse(struct peer *p, const char *reason)
{
    log_event(LOG_WARN, NO_FLOW, "event=peer_refused error=%s", reason);
    control_send(p, "refused reason=%s", reason);
    finish(p);
}

static enum role role_of(const char *name)
{
    for (int r = ROLE_PARSER; r < ROLE_COUNT; r++)
        if (strcmp(name, role_name((enum role)r)) == 0)
            return (enum role)r;
    return ROLE_NONE;
}

static void take_hello(struct peer *p, const char *line)
{
    struct control *c = p->control;
    char value[40];
    const char *refusal = "protocol";
    if (!ctl_is(line, "hello") || ctl_get(line, "role", value, sizeof value) <= 0) {
        refuse(p, refusal);
        return;
    }
    enum role role = role_of(value);
    if (role == ROLE_NONE) {
        refuse(p, "role");
        return;
    }
    if ((role == ROLE_PARSER || role == ROLE_WRITER) &&
        (ctl_get(line, "nonce", value, sizeof value) < 0 || strcmp(value, c->nonce) != 0)) {
        refuse(p, "nonce");
        return;
    }
    p->role = role; /* so that hello may answer as to a member */
    if (!c->events->hello(c->ctx, p, line, &refusal)) {
        p->role = ROLE_NONE;
        refuse(p, refusal);
        return;
    }
    c->count[role]++;
    c->ever[role]++;
    log_event(role == ROLE_SUPERVISOR ? LOG_DEBUG : LOG_INFO, role == ROLE_FLOW ? (int)p->flow : NO_FLOW,
              "event=peer_joined role=%s", role_name(role));
}

static void take_lines(struct peer *p)
{
    char *line;
    while (!p->gone && !p->closing && (line = ctl_line(&p->ctl)) != NULL) {
        if (p->role == ROLE_NONE)
            take_hello(p, line);
        else
            p->control->events->line(p->control->ctx, p, line);
    }
}

static void on_peer(struct watch *w, uint32_t events)
{
    struct peer *p = w->ctx;
    if ((events & EPOLLOUT) != 0 && ctl_flush(&p->ctl) < 0) {
        drop(p);
        return;
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) {
        int rc;
        while (!p->gone && (rc = ctl_fill(&p->ctl)) != 0) {
            if (rc < 0)
                drop(p);
            else
                take_lines(p);
        }
    }
    if (!p->gone && p->closing && ctl_idle(&p->ctl))
        drop(p);
    else if (!p->gone && p->role != ROLE_NONE && (events & EPOLLOUT) != 0)
        p->control->events->room(p->control->ctx, p);
}

/* Out of descriptors or memory: those that wait are left waiting, and the rest of the process goes on. Said
 * once, until somebody could be accepted. */
static void pause_listening(struct control *c, int error)
{
    if (!c->no_room)
        log_event(LOG_WARN, NO_FLOW, "event=accept_failed error=%s note=\"tried again every second\"",
                  log_quote(strerror(error), strlen(strerror(error))));
    c->no_room = true;
    c->paused_until = mono_us() + ACCEPT_RETRY;
    (void)loop_mod(c->loop, &c->w, 0);
}

static void on_listen(struct watch *w, uint32_t events)
{
    struct control *c = w->ctx;
    (void)events;
    int fd = accept4(w->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            pause_listening(c, errno);
        return;
    }
    c->no_room = false;
    if (c->total >= PEERS_MAX) {
        close(fd);
        return;
    }
    struct peer *p = xcalloc(1, sizeof *p);
    p->control = c;
    p->number = 2 + c->numbers++;
    p->status_next = -1;
    p->w = (struct watch){.fd = -1, .ready = on_peer, .ctx = p};
    ctl_init(&p->ctl, fd);
    TAILQ_INSERT_TAIL(&c->peers, p, link);
    c->total++;
    if (loop_add(c->loop, &p->w, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET) != 0)
        p->gone = true;
}

int control_open(struct control *c, struct loop *loop, const char *path, const struct control_events *events,
                 void *ctx, char *why, size_t cap)
{
    memset(c, 0, sizeof *c);
    TAILQ_INIT(&c->peers);
    c->loop = loop;
    c->events = events;
    c->ctx = ctx;
    random_hex(c->nonce);
    c->w = (struct watch){.fd = -1, .ready = on_listen, .ctx = c};
    int rc = path != NULL ? absolute_path(c->path, sizeof c->path, path, why, cap)
                          : default_path(c->path, sizeof c->path, why, cap);
    if (rc < 0)
        return -1;
    int fd = sock_unix_listen(c->path);
    if (fd >= 0 && loop_add(loop, &c->w, fd, EPOLLIN) == 0)
        return 0;
    if (fd < 0 && errno == EADDRINUSE)
        snprintf(why, cap, "%s: in use by another process, or not a stale socket", c->path);
    else
        snprintf(why, cap, "cannot listen on %s: %s", c->path, strerror(errno));
    if (fd >= 0) {
        (void)unlink(c->path);
        close(fd);
    }
    return -1;
}

static void free_peer(struct peer *p)
{
    struct control *c = p->control;
    TAILQ_REMOVE(&c->peers, p, link);
    c->total--;
    loop_del(c->loop, &p->w);
    ctl_close(&p->ctl);
    free(p->applied);
    free(p->probed);
    free(p->counters);
    free(p);
}

void control_close(struct control *c)
{
    struct peer *p;
    while ((p = TAILQ_FIRST(&c->peers)) != NULL)
        free_peer(p); /* NOLINT(clang-analyzer-unix.Malloc): it is off the list then */
    if (c->w.fd < 0)
        return;
    int fd = c->w.fd;
    loop_del(c->loop, &c->w);
    (void)unlink(c->path); /* before the close: a new session's socket of that name must not be hit */
    close(fd);
}

void control_send(struct peer *p, const char *fmt, ...)
{
    char line[CTL_LINE_MAX];
    if (p->gone)
        return;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    if (n < 0 || (size_t)n >= sizeof line || ctl_send(&p->ctl, "%s", line) < 0)
        drop(p);
}

void control_send_role(struct control *c, enum role role, const char *text)
{
    struct peer *p;
    TAILQ_FOREACH(p, &c->peers, link)
    {
        if (p->role == role && !p->closing)
            control_send(p, "%s", text);
    }
}

void control_reap(struct control *c)
{
    struct peer *next;
    if (c->paused_until != 0 && mono_us() >= c->paused_until && loop_mod(c->loop, &c->w, EPOLLIN) == 0)
        c->paused_until = 0;
    for (struct peer *p = TAILQ_FIRST(&c->peers); p != NULL; p = next) {
        next = TAILQ_NEXT(p, link);
        if (!p->gone)
            continue;
        if (p->role != ROLE_NONE) {
            c->count[p->role]--;
            log_event(p->role == ROLE_SUPERVISOR ? LOG_DEBUG : LOG_INFO, NO_FLOW, "event=peer_gone role=%s",
                      role_name(p->role));
            c->events->gone(c->ctx, p);
        }
        free_peer(p);
    }
}

struct target_health control_target_health(const struct control *c)
{
    struct target_health sum = {.target = ""};
    const struct peer *p;
    TAILQ_FOREACH(p, &c->peers, link)
    {
        if (p->role == ROLE_WRITER && !p->gone)
            target_health_join(&sum, &p->health);
    }
    return sum;
}
