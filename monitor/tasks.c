#include "tasks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <bsd/string.h>

#include "log.h"

#define STATUS_MAX ((size_t)4 << 20) /* of 1024 flows about 1 MiB */
#define RECENT_MAX ((size_t)64 << 10)
#define STALE                                                                                                \
    20 /* seconds after which a supervisor should have written again; with 1024 flows it takes 17            \
        */

/* ---- files ---- */

/* A regular file of a directory whose owner is that user; no link, no FIFO that would stop us. */
static int open_file(int dir, const char *name, uid_t owner)
{
    struct stat st;
    int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == owner)
        return fd;
    if (fd >= 0)
        close(fd);
    return -1;
}

/* Append a file of at most b->max bytes. Returns when it was written, 0: it cannot be read. */
static int64_t read_file(int dir, const char *name, uid_t owner, struct buf *b)
{
    struct stat st;
    int fd = open_file(dir, name, owner);
    uint8_t *to = NULL;
    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_size >= 0 && (size_t)st.st_size <= b->max - b->len)
        to = buf_room(b, (size_t)st.st_size + 1);
    ssize_t n = to != NULL ? read(fd, to, (size_t)st.st_size) : -1;
    if (fd >= 0)
        close(fd);
    if (n < 0)
        return 0;
    b->len += (size_t)n;
    return st.st_mtim.tv_sec;
}

/* The run directory of a task: nobody else than its owner may make files there. */
static int open_dir(const char *base, const char *name, uid_t *owner)
{
    struct stat st;
    int at = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
    if (at >= 0)
        fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (at >= 0)
        close(at);
    if (fd >= 0 && (fstat(fd, &st) != 0 || (st.st_mode & 0022) != 0)) {
        close(fd);
        return -1;
    }
    if (fd >= 0)
        *owner = st.st_uid;
    return fd;
}

/* A process of the task runs: all hold its lock. It is held here for a moment, as df2redis status does. */
static bool is_locked(int dir, uid_t owner)
{
    int fd = open_file(dir, "lock", owner);
    bool locked = fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) != 0 && errno == EWOULDBLOCK;
    if (fd >= 0)
        close(fd);
    return locked;
}

/* ---- what is shown ---- */

static void set_problem(json_t *status, const char *name, const char *words)
{
    json_t *one = json_pack("{s:s, s:s, s:n}", "problem", name, "text", words, "next");
    (void)json_array_append_new(json_object_get(status, "problems"), json_string(name));
    (void)json_array_append_new(json_object_get(status, "explained"), one);
    (void)json_object_set_new(status, "healthy", json_false());
}

/* The file of a supervisor that was killed still shows its last state. */
static void correct(json_t *status, bool locked, int64_t age)
{
    const char *phase = json_string_value(json_object_get(status, "phase"));
    bool ended = strcmp(phase, "stopped") == 0 || strcmp(phase, "failed") == 0;
    json_int_t pid = json_integer_value(json_object_get(status, "pid"));
    if (!locked && !ended) {
        (void)json_object_set_new(status, "phase", json_string("failed"));
        (void)json_object_set_new(status, "last_error", json_string("everything of it was killed"));
    }
    if (!locked) {
        (void)json_object_set_new(status, "running", json_false());
        (void)json_object_set_new(status, "healthy", json_false());
    } else if (!ended && age > STALE) {
        bool gone = pid > 0 && kill((pid_t)pid, 0) != 0 && errno == ESRCH;
        set_problem(status, gone ? "orphaned" : "no-answer",
                    gone ? "the supervisor is gone, the stages still run"
                         : "the supervisor writes nothing any more");
    }
    (void)json_object_set_new(status, "age_seconds", json_integer(age > 0 ? age : 0));
}

/* Fields that every other function relies on. */
static bool is_status(const json_t *s)
{
    return json_is_object(s) && json_is_string(json_object_get(s, "phase")) &&
           json_is_array(json_object_get(s, "problems")) && json_is_array(json_object_get(s, "explained")) &&
           json_is_array(json_object_get(s, "stages")) && json_is_array(json_object_get(s, "flows"));
}

static void look_at(struct task *task, int dir, uid_t owner, int64_t now)
{
    struct buf text = {.max = STATUS_MAX};
    json_error_t fault;
    int64_t written = read_file(dir, "status.json", owner, &text);
    json_t *status =
        written > 0 ? json_loadb((const char *)text.p, text.len, JSON_REJECT_DUPLICATES, &fault) : NULL;
    buf_free(&text);
    if (written > 0 && !is_status(status)) {
        log_event(LOG_WARN, NO_FLOW, "event=status_not_understood task=%s", task->name);
        json_decref(status);
        status = NULL;
    }
    json_decref(task->status);
    task->status = status;
    task->written = written;
    if (status == NULL)
        return;
    (void)json_object_set_new(status, "task", json_string(task->name));
    correct(status, is_locked(dir, owner), now - written);
    history_take(&task->history, status, now);
}

/* ---- all of them ---- */

void tasks_init(struct tasks *t, const char *const *base, unsigned nbases, const char *kept)
{
    *t = (struct tasks){.base = base, .nbases = nbases, .kept = kept};
}

static void forget(struct task *task)
{
    json_decref(task->status);
    history_free(&task->history);
    free(task);
}

void tasks_free(struct tasks *t)
{
    for (unsigned i = 0; i < t->n; i++)
        forget(t->task[i]);
    t->n = 0;
}

/* Where name is, or would be, in the list. */
static unsigned place_of(const struct tasks *t, const char *name)
{
    unsigned low = 0, high = t->n;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        if (strcmp(t->task[middle]->name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const struct task *tasks_find(const struct tasks *t, const char *name)
{
    unsigned i = place_of(t, name);
    return i < t->n && strcmp(t->task[i]->name, name) == 0 ? t->task[i] : NULL;
}

/* The task of that name, new where it was not known; NULL: there are too many. */
static struct task *place_for(struct tasks *t, const char *name)
{
    unsigned i = place_of(t, name);
    if (i == t->n || strcmp(t->task[i]->name, name) != 0) {
        if (t->n == TASKS_MAX)
            return NULL;
        struct task *new = xcalloc(1, sizeof *new);
        strlcpy(new->name, name, sizeof new->name);
        memmove(&t->task[i + 1], &t->task[i], (t->n - i) * sizeof(struct task *));
        t->task[i] = new;
        t->n++;
    }
    return t->task[i];
}

/* One with a run directory. NULL: there are too many, or another directory has one of that name. */
static struct task *meet(struct tasks *t, const char *base, const char *name)
{
    struct task *task = place_for(t, name);
    if (task == NULL || task->seen == t->round)
        return NULL;
    task->seen = t->round;
    task->base = base;
    task->kept = false;
    return task;
}

/* One that is kept, NAME.conf; it may have no run directory. */
static void meet_kept(struct tasks *t, const char *file)
{
    static const char end[] = ".conf";
    char name[TASK_NAME_MAX];
    size_t n = strlen(file), more = sizeof end - 1;
    if (n <= more || n - more >= sizeof name || strcmp(file + n - more, end) != 0)
        return;
    memcpy(name, file, n - more);
    name[n - more] = '\0';
    struct task *task = is_task_name(name) ? place_for(t, name) : NULL;
    if (task == NULL)
        return;
    if (task->seen != t->round) { /* what it had is gone */
        json_decref(task->status);
        task->status = NULL;
        task->base = NULL;
        task->seen = t->round;
    }
    task->kept = true;
}

static void look_at_kept(struct tasks *t)
{
    DIR *d = t->kept != NULL ? opendir(t->kept) : NULL;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
        meet_kept(t, e->d_name);
    if (d != NULL)
        closedir(d);
}

static void look_in(struct tasks *t, const char *base, int64_t now)
{
    DIR *d = opendir(base);
    uid_t owner = 0;
    for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
        int dir = is_task_name(e->d_name) ? open_dir(base, e->d_name, &owner) : -1;
        bool is_task = dir >= 0 && faccessat(dir, "state", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
        struct task *task = is_task ? meet(t, base, e->d_name) : NULL;
        if (task != NULL)
            look_at(task, dir, owner, now);
        if (dir >= 0)
            close(dir);
    }
    if (d != NULL)
        closedir(d);
}

static void drop_unseen(struct tasks *t)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < t->n; i++) {
        if (t->task[i]->seen == t->round)
            t->task[kept++] = t->task[i];
        else
            forget(t->task[i]);
    }
    t->n = kept;
}

void tasks_look(struct tasks *t, int64_t now)
{
    t->round++;
    for (unsigned i = 0; i < t->nbases; i++)
        look_in(t, t->base[i], now);
    look_at_kept(t);
    drop_unseen(t);
    t->looked = now;
}

json_t *task_status(const struct task *task)
{
    json_t *status = task->status != NULL
                         ? json_copy(task->status)
                         : json_pack("{s:s, s:s, s:b, s:b, s:[], s:[], s:[], s:[], s:[]}", "task", task->name,
                                     "phase", task->base != NULL ? "unknown" : "created", "running", 0,
                                     "healthy", 0, "problems", "explained", "checks", "flows", "stages");
    if (task->kept)
        (void)json_object_set_new(status, "kept", json_true());
    return status;
}

void task_log(const struct task *task, struct buf *text)
{
    uid_t owner = 0;
    int dir = task->base != NULL ? open_dir(task->base, task->name, &owner) : -1;
    text->max = 2 * RECENT_MAX;
    if (dir < 0)
        return;
    (void)read_file(dir, "recent.1", owner, text);
    (void)read_file(dir, "recent", owner, text);
    close(dir);
}
