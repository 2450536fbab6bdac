#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "buf.h"
#include "io.h"

#define ARGS_MAX   16
#define OUTPUT_MAX 8192
#define MOST_US    UINT64_C(150000000)

struct command {
    pid_t pid;
    int fd; /* of the process */
    int out;
    uint64_t began;
    bool ended, late;
    int status;
    char output[OUTPUT_MAX + 1];
};

/* ---- what it gets ---- */

/* The program beside ours. */
static bool find_program(char *path, size_t cap)
{
    ssize_t n = readlink("/proc/self/exe", path, cap - 1);
    if (n <= 0 || (size_t)n >= cap - 1)
        return false;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    return slash != NULL && (size_t)snprintf(slash + 1, cap - (size_t)(slash + 1 - path), "df2redis") <
                                cap - (size_t)(slash + 1 - path);
}

/* Of our environment nothing that is meant for us: no passwords, no service manager. The caller's to free. */
static char **environment(void)
{
    static const char *const names[] = {"PATH", "HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "TMPDIR", NULL};
    char **env = xcalloc(sizeof names / sizeof *names, sizeof *env);
    size_t n = 0;
    for (size_t i = 0; names[i] != NULL; i++) {
        const char *value = getenv(names[i]);
        if (value == NULL)
            continue;
        size_t size = strlen(names[i]) + strlen(value) + 2;
        env[n] = xcalloc(1, size);
        snprintf(env[n++], size, "%s=%s", names[i], value);
    }
    return env;
}

static void free_environment(char **env)
{
    for (size_t i = 0; env[i] != NULL; i++)
        free(env[i]);
    free(env);
}

/* A file in memory that never grows: a command that prints more gets an error, and no signal. */
static int output_file(void)
{
    int fd = memfd_create("output", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd >= 0 && ftruncate(fd, OUTPUT_MAX) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

static int config_file(const void *config, size_t n)
{
    int fd = memfd_create("config", MFD_CLOEXEC);
    if (fd >= 0 && io_write_all(fd, config, n) == 0)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* ---- running ---- */

static int spawn(pid_t *pid, const char *program, char *const *argv, int out, int config)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    char **env = environment();
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addchdir_np(&files, "/"); /* tasks outlive us, and keep no directory of ours */
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&files, out, 1);
    posix_spawn_file_actions_adddup2(&files, out, 2);
    if (config >= 0)
        posix_spawn_file_actions_adddup2(&files, config, 3);
    posix_spawn_file_actions_addclosefrom_np(&files, config >= 0 ? 4 : 3);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSID);
    int rc = posix_spawn(pid, program, &files, &attributes, argv, env);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    free_environment(env);
    return rc;
}

struct command *command_start(const char *const *argv, const void *config, size_t n, uint64_t now)
{
    char program[4096];
    char *args[ARGS_MAX + 2] = {program};
    struct command *c = xcalloc(1, sizeof *c);
    c->fd = -1;
    c->began = now;
    for (unsigned i = 0; i < ARGS_MAX && argv[i] != NULL; i++)
        args[i + 1] = xstrdup(argv[i]);
    int in = config != NULL ? config_file(config, n) : -1, rc = ENOENT;
    c->out = output_file();
    if (c->out < 0 || (config != NULL && in < 0))
        rc = errno;
    else if (find_program(program, sizeof program))
        rc = spawn(&c->pid, program, args, c->out, in);
    if (in >= 0)
        close(in);
    for (unsigned i = 1; args[i] != NULL; i++)
        free(args[i]);
    if (rc == 0 && (c->fd = pidfd_open(c->pid, 0)) >= 0)
        return c;
    rc = rc != 0 ? rc : errno;
    command_free(c);
    errno = rc;
    return NULL;
}

int command_fd(const struct command *c)
{
    return c->fd;
}

static void read_output(struct command *c)
{
    ssize_t n = pread(c->out, c->output, OUTPUT_MAX, 0);
    c->output[n > 0 ? n : 0] = '\0';
    for (char *s = c->output; *s != '\0'; s++)
        if ((*s < 0x20 && *s != '\n') || *s > 0x7e)
            *s = '?';
}

bool command_ended(struct command *c, uint64_t now)
{
    int status;
    if (c->ended)
        return true;
    if (us_since(now, c->began) > MOST_US && !c->late) {
        c->late = true;
        (void)kill(-c->pid, SIGKILL);
    }
    if (waitpid(c->pid, &status, WNOHANG) != c->pid)
        return false;
    c->ended = true;
    c->status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    read_output(c);
    return true;
}

int command_status(const struct command *c)
{
    return c->status;
}

bool command_late(const struct command *c)
{
    return c->late;
}

const char *command_output(struct command *c)
{
    return c->output;
}

void command_free(struct command *c)
{
    if (c->fd >= 0)
        close(c->fd);
    if (c->out >= 0)
        close(c->out);
    free(c);
}
