#include "stage.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <bsd/string.h>

#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "told.h"

#define ARGS_MOST 512

struct command {
    const char *argv[ARGS_MOST];
    unsigned argc;
    char text[16][24]; /* numbers and names among them */
    unsigned texts;
};

static void add(struct command *c, const char *arg)
{
    if (c->argc + 1 == ARGS_MOST)
        fatal(EXIT_CANNOT, "too many arguments for dfreader");
    c->argv[c->argc++] = arg;
    c->argv[c->argc] = NULL;
}

static void add_text(struct command *c, const char *option, const char *value)
{
    if (value == NULL)
        return;
    add(c, option);
    add(c, value);
}

static void add_number(struct command *c, const char *option, uint64_t n)
{
    char *text = c->text[c->texts++];
    snprintf(text, sizeof c->text[0], "%llu", (unsigned long long)n);
    add_text(c, option, text);
}

static void add_tls(struct command *c, const struct tls_options *t)
{
    add_text(c, "--tls-ca", t->ca);
    add_text(c, "--tls-cert", t->cert);
    add_text(c, "--tls-key", t->key);
    add_text(c, "--tls-key-password-file", t->key_password);
    add_text(c, "--tls-server-name", t->server_name);
    if (t->insecure)
        add(c, "--tls-insecure");
}

static void reader_command(struct command *c, const struct side_options *o, char *keys)
{
    add(c, "dfreader");
    add(c, "--no-progress");
    if (o->file != NULL) {
        add(c, "--");
        add(c, o->file);
        return;
    }
    add(c, "--scan");
    add_number(c, "--connect-timeout", (uint64_t)o->connect_timeout);
    add_text(c, "--scan-keys", keys);
    if (o->max_ops > 0)
        add_number(c, "--scan-rate", o->max_ops);
    add_text(c, "--sentinel-user", o->sentinel_user);
    add_tls(c, o->tls);
    add(c, o->bare);
}

static void parser_command(struct command *c)
{
    add(c, "dfparse");
    add_text(c, "--target-version", TOLD_TARGET);
    add_text(c, "--target-modules", TOLD_MODULES);
    add_text(c, "--restore-limit", "0");
}

/* For a target that rediswriter announces; names and databases become those of the target. */
static void renaming_command(struct command *c, const struct filter *f, struct buf *text)
{
    add(c, "dfparse");
    text->max = (size_t)1 << 20;
    for (unsigned i = 0; i < f->renames.n; i++)
        (void)buf_addf(text, "--rename-prefix=%s=%s%c", f->renames.rule[i].from, f->renames.rule[i].to, 0);
    for (unsigned i = 0; i < f->ndbs; i++)
        (void)buf_addf(text, "--db-map=%u=%u%c", f->db[i].from, f->db[i].to, 0);
    if (f->all_dbs)
        (void)buf_addf(text, "--db-map=*=%u%c", f->rest_db, 0);
    for (size_t at = 0; at < text->len; at += strlen((const char *)text->p + at) + 1)
        add(c, (const char *)text->p + at);
}

/* A task of its own, of which nothing is kept. */
static void writer_command(struct command *c, const struct side_options *o)
{
    add(c, "rediswriter");
    add(c, "--quiet");
    add(c, "--at-least-once");
    add_text(c, "--task", "df2redis-check");
    add_number(c, "--connect-timeout", (uint64_t)o->connect_timeout);
    if (o->max_ops > 0)
        add_number(c, "--max-ops", o->max_ops);
    add_text(c, "--sentinel-user", o->sentinel_user);
    add_tls(c, o->tls);
    add(c, o->bare);
}

/* The programs lie beside this one; otherwise where the shell would find them. */
static void execute(const struct command *c)
{
    char path[4096];
    char *argv[ARGS_MOST];
    memcpy(argv, c->argv, (c->argc + 1) * sizeof *argv);
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 16);
    char *name = n > 0 ? memrchr(path, '/', (size_t)n) : NULL;
    if (name != NULL) {
        strlcpy(name + 1, c->argv[0], 15);
        execv(path, argv);
    }
    execvp(argv[0], argv);
    fatal_errno(EXIT_CANNOT, "%s", c->argv[0]);
}

/* Secrets go by the environment, which others cannot see. */
static void give_secrets(const struct side_options *o, const char *variable)
{
    unsetenv("DF2REDIS_SOURCE_PASSWORD");
    unsetenv("DF2REDIS_TARGET_PASSWORD");
    if (setenv(variable, o->url.password, 1) != 0 ||
        setenv("DF2REDIS_SENTINEL_PASSWORD", o->sentinel_password, 1) != 0)
        fatal_errno(EXIT_CANNOT, "environment");
}

/* A child with these as standard input and output; the other descriptors close themselves. */
static pid_t start(const struct command *c, const struct side_options *o, int in, int out, int keys)
{
    pid_t pid = fork();
    if (pid < 0)
        fatal_errno(EXIT_CANNOT, "another process");
    if (pid > 0)
        return pid;
    (void)signal(SIGPIPE, SIG_DFL);
    if (dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 ||
        (keys >= 0 && fcntl(keys, F_SETFD, 0) < 0))
        fatal_errno(EXIT_CANNOT, "%s", c->argv[0]);
    if (o != NULL && o->file == NULL)
        give_secrets(o, strcmp(c->argv[0], "rediswriter") == 0 ? "DF2REDIS_TARGET_PASSWORD"
                                                               : "DF2REDIS_SOURCE_PASSWORD");
    execute(c);
    _exit(EXIT_CANNOT);
}

void stage_open(struct stage *s, const struct side_options *o, int keys)
{
    static struct command reader, parser;
    reader.argc = reader.texts = parser.argc = parser.texts = 0;
    char name[32];
    int between[2], out[2], null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    snprintf(name, sizeof name, "/proc/self/fd/%d", keys);
    reader_command(&reader, o, keys >= 0 ? name : NULL);
    parser_command(&parser);
    if (null < 0 || pipe2(between, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        fatal_errno(EXIT_CANNOT, "pipe");
    s->pid[0] = start(&reader, o, null, between[1], keys);
    s->pid[1] = start(&parser, NULL, between[0], out[1], -1);
    close(null);
    close(between[0]);
    close(between[1]);
    close(out[1]);
    s->out = out[0];
    (void)pipe_enlarge(s->out, (size_t)1 << 20);
}

static int status_of(pid_t pid)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return EXIT_CANNOT;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_CANNOT;
}

int stage_copy(const struct side_options *source, const struct side_options *target, const struct filter *f,
               int keys)
{
    static struct command reader, parser, writer;
    struct buf text = {.len = 0};
    char name[32];
    int raw[2], commands[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
    snprintf(name, sizeof name, "/proc/self/fd/%d", keys);
    reader_command(&reader, source, name);
    renaming_command(&parser, f, &text);
    writer_command(&writer, target);
    if (null < 0 || pipe2(raw, O_CLOEXEC) < 0 || pipe2(commands, O_CLOEXEC) < 0)
        fatal_errno(EXIT_CANNOT, "pipe");
    pid_t pid[] = {start(&reader, source, null, raw[1], keys), start(&parser, NULL, raw[0], commands[1], -1),
                   start(&writer, target, commands[0], null, -1)};
    int done[] = {null, raw[0], raw[1], commands[0], commands[1]}, worst = EXIT_DONE;
    for (unsigned i = 0; i < sizeof done / sizeof *done; i++)
        close(done[i]);
    buf_free(&text);
    for (unsigned i = 0; i < 3; i++)
        worst = exit_worse(worst, status_of(pid[i]));
    return worst;
}

void stage_close(struct stage *s)
{
    close(s->out);
    for (unsigned i = 0; i < 2; i++)
        (void)status_of(s->pid[i]);
}
