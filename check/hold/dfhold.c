/* dfhold: holds the writes of a source for df2redis cutover, and says how far its masters are. It takes lines
 * on its standard input, and answers each of them with lines of name=value, the last of which is "end":
 *
 *   look      node address=… role=… replid=… [replid2=…] at=N[,N…] [changes=N saved=N] clients=N memory=N
 *             max_memory=N            one for each master
 *   pause MS  the same, once their writes are held; from then on that is renewed
 *   size      size keys=N
 *   keep MS   hold them for so long, and let go no longer
 *   resume    let the clients write
 *
 * and for the way back (reverse.h):
 *
 *   backlog   backlog bytes=N         the server keeps its stream of changes
 *   mark KEY  mark replid=… offset=N  how far it is
 *   save TASK REPLID OFFSET           the position key of such a task
 *   kick                              close the connections of all clients
 *
 * "end lapsed=1": for a moment writes may have been let through although they should not. What begins an
 * answer to "look" and "pause" is "server kind=… version=… pause=write|all masters=N". Where standard input
 * ends, or anything else goes wrong, the clients may write at once; where this process is killed, after the
 * span of the pause. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <bsd/stdlib.h>

#include "../end.h"
#include "exits.h"
#include "fatal.h"
#include "hold.h"
#include "io.h"
#include "log.h"
#include "option.h"
#include "reverse.h"

#define SPAN_MIN 200
#define SPAN_MAX (1000LL * 86400 * 30)

struct options {
    struct end source, target;
    bool of_target;
    int verbose;
};

static const struct option_row rows[] = {
    OPTION_FLAG(ON, "target", OPTION_AT(struct options, of_target), "the URL is that of the target"),
    END_ROWS(struct options, source, "source"),
    END_ROWS(struct options, target, "target"),
    OPTION_SHORT('v', REPEAT, "verbose", NULL, "log more", OPTION_AT(struct options, verbose)),
    OPTION_LAST_ROWS("check"),
};

static const struct option_program program = {
    .name = "dfhold",
    .section = "check",
    .usage = "usage: dfhold [options] SOURCE    hold the writes of a source (for df2redis cutover)\n",
    .rows = rows};

/* ---- requests on standard input ---- */

struct input {
    struct watch w;
    char text[256];
    size_t n;
    bool ended;
};

static void readable(struct watch *w, uint32_t events)
{
    struct input *in = w->ctx;
    (void)events;
    if (in->n == sizeof in->text)
        return; /* whoever writes waits for answers: only what is no request is so long */
    ssize_t n = read(w->fd, in->text + in->n, sizeof in->text - in->n);
    if (n > 0)
        in->n += (size_t)n;
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        in->ended = true;
}

/* The next line into line. False: there is none yet. */
static bool next_line(struct input *in, char *line, size_t cap)
{
    char *end = memchr(in->text, '\n', in->n);
    if (end == NULL) {
        if (in->n == sizeof in->text)
            fatal(EXIT_USAGE, "a line of standard input is too long");
        return false;
    }
    size_t n = (size_t)(end - in->text);
    if (n >= cap)
        fatal(EXIT_USAGE, "a line of standard input is too long");
    memcpy(line, in->text, n);
    line[n] = '\0';
    in->n -= n + 1;
    memmove(in->text, end + 1, in->n);
    return true;
}

/* ---- answers ---- */

static void say_node(const struct hold_look *l)
{
    printf("node address=%s role=%s replid=%s ", l->address, l->role, l->replid[0]);
    if (l->replid[1][0] != '\0')
        printf("replid2=%s ", l->replid[1]);
    printf("at=");
    for (unsigned i = 0; i < l->n; i++)
        printf("%s%llu", i > 0 ? "," : "", (unsigned long long)l->at[i]);
    if (l->knows_changes)
        printf(" changes=%llu saved=%llu", (unsigned long long)l->changes, (unsigned long long)l->saved);
    printf(" clients=%llu memory=%llu max_memory=%llu\n", (unsigned long long)l->clients,
           (unsigned long long)l->used_memory, (unsigned long long)l->max_memory);
}

/* What a server says of itself ends no line and no word. */
static bool is_word(const char *s)
{
    return s[strcspn(s, " \t\r\n=")] == '\0';
}

static void say_looks(const struct hold *h)
{
    const struct side *s = h->side;
    printf("server kind=%s version=%s pause=%s masters=%u\n", server_kind_name(s->kind),
           is_word(s->version) ? s->version : "unknown", h->all ? "all" : "write", s->nodes);
    for (unsigned i = 0; i < s->nodes; i++) {
        const struct hold_look *l = &h->look[i];
        if (!is_word(l->role) || !is_word(l->replid[0]) || !is_word(l->replid[1]))
            fatal(EXIT_CANNOT, "%s: INFO: not understood", l->address);
        say_node(l);
    }
}

static void say_size(struct side *s)
{
    uint64_t keys = 0;
    side_list_dbs(s);
    for (unsigned i = 0; i < s->dbs; i++)
        keys += s->db[i].keys;
    printf("size keys=%llu\n", (unsigned long long)keys);
}

static unsigned span(const char *text)
{
    const char *fault;
    long long ms = strtonum(text, SPAN_MIN, SPAN_MAX, &fault);
    if (fault != NULL)
        fatal(EXIT_USAGE, "a pause of %s ms: %s", text, fault);
    return (unsigned)ms;
}

/* A request that concerns the way back. False: it is none. */
static bool answer_reverse(struct side *s, const char *line)
{
    struct reverse_mark m;
    char text[128];
    unsigned long long offset;
    if (strcmp(line, "backlog") == 0) {
        printf("backlog bytes=%llu\n", (unsigned long long)reverse_backlog(s));
    } else if (sscanf(line, "mark %127s", text) == 1) {
        reverse_mark(s, text, &m);
        if (!is_word(m.replid))
            fatal(EXIT_CANNOT, "INFO: not understood");
        printf("mark replid=%s offset=%llu\n", m.replid, (unsigned long long)m.offset);
    } else if (sscanf(line, "save %127s %71s %llu", text, m.replid, &offset) == 3) {
        m.offset = offset;
        reverse_save(s, text, &m);
    } else if (strcmp(line, "kick") == 0) {
        reverse_kick(s);
    } else {
        return false;
    }
    return true;
}

static void answer(struct hold *h, const char *line)
{
    if (answer_reverse(h->side, line)) {
        ; /* said */
    } else if (strcmp(line, "look") == 0) {
        hold_look(h);
        say_looks(h);
    } else if (strcmp(line, "size") == 0) {
        say_size(h->side);
    } else if (strncmp(line, "pause ", 6) == 0) {
        hold_begin(h, span(line + 6));
        say_looks(h);
    } else if (strncmp(line, "keep ", 5) == 0) {
        h->span = (uint64_t)span(line + 5) * 1000;
        hold_renew(h);
        h->held = false;
    } else if (strcmp(line, "resume") == 0) {
        hold_end(h);
    } else {
        fatal(EXIT_USAGE, "%s: no request", line);
    }
    printf("end lapsed=%d\n", (int)h->lapsed);
    if (fflush(stdout) != 0)
        fatal_errno(EXIT_CANNOT, "standard output");
}

static void serve(struct hold *h, struct loop *loop)
{
    char line[256];
    struct input in = {.w = {.fd = STDIN_FILENO, .ready = readable, .ctx = &in}};
    if (loop_add(loop, &in.w, STDIN_FILENO, EPOLLIN) != 0)
        fatal_errno(EXIT_USAGE, "standard input is to be a pipe");
    while (signals_seen() == 0) {
        while (next_line(&in, line, sizeof line))
            answer(h, line);
        if (in.ended)
            break;
        uint64_t now = mono_us();
        if (h->held && now >= h->renew_at)
            hold_renew(h);
        loop_wait(loop, h->held ? LOOP_TICK / 2 : LOOP_TICK);
    }
    hold_end(h);
}

static void at_end(int status, void *hold)
{
    (void)status;
    hold_drop(hold);
}

int main(int argc, char **argv)
{
    struct options o = {.source = END_DEFAULTS, .target = END_DEFAULTS};
    char **given = argv;
    int ngiven = argc;
    int first = option_parse(&program, &o, &argc, &argv);
    log_init("dfhold", o.verbose == 0 ? LOG_WARN : LOG_INFO);
    if (argc - first != 1)
        fatal(EXIT_USAGE, "one server is needed, see dfhold --help");
    struct end *e = o.of_target ? &o.target : &o.source;
    end_take(e, o.of_target ? "target" : "source", argv[first]);
    for (int i = 1; given != argv && i < ngiven; i++)
        url_hide_argument(given[i]);
    e->side.connections = 1;
    raise_limits();
    signals_init();

    /* Not on the stack: they are needed when main has returned (at_end). */
    static struct loop loop;
    static struct side side;
    static struct hold hold;
    loop_init(&loop);
    side_open(&side, &loop, &e->side, o.of_target ? "target" : "source");
    hold_init(&hold, &side);
    if (on_exit(at_end, &hold) != 0)
        fatal(EXIT_CANNOT, "out of memory");
    serve(&hold, &loop);
    return signals_seen() > 0 ? EXIT_PARTIAL : EXIT_DONE;
}
