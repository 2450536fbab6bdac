#include "orders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/string.h>

#include "command.h"
#include "exits.h"
#include "log.h"
#include "posted.h"

#define TASKS    "/api/v1/tasks"
#define ARGS_MAX 16
#define DIR_MAX  4096

enum act { ACT_CREATE, ACT_START, ACT_STOP, ACT_LIMIT, ACT_REMOVE, ACT_NONE };

struct order {
    enum act act;
    char name[TASK_NAME_MAX];
    struct command *command;
};

/* An order before its command runs. */
struct plan {
    enum act act;
    char name[TASK_NAME_MAX];
    char dir[DIR_MAX]; /* its run directory; empty: it has none, or that is not needed */
    struct posted said;
    const char *argv[ARGS_MAX];
    unsigned argc;
};

/* ---- what is to be done ---- */

static const struct {
    const char *word; /* behind the name of a task */
    const char *method;
    const char *command; /* of df2redis */
} acts[] = {
    [ACT_CREATE] = {NULL, "POST", "create"}, [ACT_START] = {"/start", "POST", "start"},
    [ACT_STOP] = {"/stop", "POST", "stop"},  [ACT_LIMIT] = {"/limit", "POST", "limit"},
    [ACT_REMOVE] = {"", "DELETE", "remove"},
};

/* The act that a path stands for; the task's name, where it has one. */
static enum act act_of(const char *path, char name[TASK_NAME_MAX])
{
    size_t n = strlen(TASKS);
    name[0] = '\0';
    if (strcmp(path, TASKS) == 0)
        return ACT_CREATE;
    if (strncmp(path, TASKS "/", n + 1) != 0)
        return ACT_NONE;
    const char *rest = path + n + 1, *word = rest + strcspn(rest, "/");
    if ((size_t)(word - rest) >= TASK_NAME_MAX)
        return ACT_NONE;
    memcpy(name, rest, (size_t)(word - rest));
    name[word - rest] = '\0';
    if (!is_task_name(name))
        return ACT_NONE;
    for (enum act a = ACT_START; a < ACT_NONE; a++)
        if (strcmp(word, acts[a].word) == 0)
            return a;
    return ACT_NONE;
}

bool orders_path(const char *path, const char **allow)
{
    static const char *const methods[] = {[ACT_CREATE] = "GET, HEAD, POST",
                                          [ACT_START] = "POST",
                                          [ACT_STOP] = "POST",
                                          [ACT_LIMIT] = "POST",
                                          [ACT_REMOVE] = "GET, HEAD, DELETE"};
    char name[TASK_NAME_MAX];
    enum act act = act_of(path, name);
    if (act == ACT_NONE)
        return false;
    *allow = methods[act];
    return true;
}

/* ---- arguments ---- */

static void add(struct plan *p, const char *word)
{
    if (p->argc < ARGS_MAX - 1)
        p->argv[p->argc++] = word;
}

static void add_option(struct plan *p, const char *name, const char *value)
{
    if (value[0] == '\0')
        return;
    add(p, name);
    add(p, value);
}

static void make_arguments(struct plan *p)
{
    switch (p->act) {
    case ACT_CREATE:
        add_option(p, "-c", COMMAND_CONFIG);
        add(p, "create");
        add(p, p->name);
        return;
    case ACT_START: break;
    case ACT_STOP:
        add_option(p, "--timeout", p->said.timeout);
        if (p->said.final)
            add(p, "--final");
        break;
    case ACT_LIMIT:
        add_option(p, "--max-ops", p->said.max_ops);
        add_option(p, "--max-bytes", p->said.max_bytes);
        break;
    default: break;
    }
    /* By its directory, so that it is the task that was seen, wherever else there is one of that name. */
    add_option(p, "--run-dir", p->dir);
    add_option(p, "--task", p->name);
    add(p, acts[p->act].command);
}

/* ---- may it be done? ---- */

static bool refuse(struct answer *a, unsigned status, const char *words)
{
    answer_error(a, status, words);
    return false;
}

static bool read_body(const struct orders *o, struct plan *p, const void *body, size_t n, struct answer *a)
{
    char why[200];
    bool ok;
    switch (p->act) {
    case ACT_CREATE: ok = posted_task(body, n, o->files, &p->said, why, sizeof why); break;
    case ACT_STOP: ok = posted_stop(body, n, &p->said, why, sizeof why); break;
    case ACT_LIMIT: ok = posted_limit(body, n, &p->said, why, sizeof why); break;
    default: ok = posted_nothing(body, n, why, sizeof why); break;
    }
    if (!ok)
        return refuse(a, 400, why);
    if (p->act == ACT_CREATE)
        strlcpy(p->name, p->said.name, sizeof p->name);
    return true;
}

/* The task is one that was seen here, unless it is new. */
static bool find_task(const struct orders *o, struct plan *p, struct answer *a)
{
    const struct task *task = tasks_find(o->tasks, p->name);
    if (p->act == ACT_CREATE)
        return task == NULL || !task->kept || refuse(a, 409, "there is a task of that name");
    if (task == NULL)
        return refuse(a, 404, "no such task");
    if (p->act == ACT_START)
        return task->kept || refuse(a, 409, "the task is not kept: only what was created can be started");
    if (task->base == NULL)
        return p->act == ACT_REMOVE || refuse(a, 409, "the task is not running");
    if ((size_t)snprintf(p->dir, sizeof p->dir, "%s/%s", task->base, p->name) >= sizeof p->dir)
        return refuse(a, 500, "its run directory has too long a name");
    return true;
}

/* A place for one more; NULL: there is none. */
static struct order **find_place(struct orders *o, const char *name, struct answer *a)
{
    struct order **place = NULL;
    for (unsigned i = 0; i < ORDERS_MAX; i++) {
        if (o->one[i] == NULL) {
            place = &o->one[i];
        } else if (strcmp(o->one[i]->name, name) == 0) {
            answer_error(a, 409, "another command of that task is running");
            return NULL;
        }
    }
    if (place == NULL) {
        a->retry_after = 1;
        answer_error(a, 503, "too many commands are running");
    }
    return place;
}

/* ---- all of it ---- */

static struct order *run(struct orders *o, struct plan *p, uint64_t now, struct answer *a)
{
    struct order **place = find_place(o, p->name, a);
    if (place == NULL)
        return NULL;
    make_arguments(p);
    struct command *command =
        command_start(p->argv, p->act == ACT_CREATE ? p->said.config.p : NULL, p->said.config.len, now);
    if (command == NULL) {
        log_event(LOG_ERROR, NO_FLOW, "event=command_not_run error=\"%s\"", strerror(errno));
        answer_error(a, 500, "df2redis cannot be run");
        return NULL;
    }
    struct order *order = xcalloc(1, sizeof *order);
    order->act = p->act;
    order->command = command;
    strlcpy(order->name, p->name, sizeof order->name);
    log_event(LOG_INFO, NO_FLOW, "event=command name=%s task=%s", acts[p->act].command, p->name);
    return *place = order;
}

struct order *orders_begin(struct orders *o, const char *method, const char *path, const void *body, size_t n,
                           uint64_t now, struct answer *a)
{
    struct plan p = {.argc = 0};
    struct order *order = NULL;
    p.act = act_of(path, p.name);
    if (p.act == ACT_NONE)
        answer_error(a, 404, "no such thing");
    else if (strcmp(method, acts[p.act].method) != 0) {
        answer_error(a, 405, "not by this method");
        (void)orders_path(path, &a->allow);
    } else if (read_body(o, &p, body, n, a) && find_task(o, &p, a))
        order = run(o, &p, now, a);
    if (p.said.config.p != NULL)
        explicit_bzero(p.said.config.p, p.said.config.cap);
    buf_free(&p.said.config);
    return order;
}

unsigned orders_watch(const struct orders *o, struct pollfd *p)
{
    unsigned n = 0;
    for (unsigned i = 0; i < ORDERS_MAX; i++)
        if (o->one[i] != NULL)
            p[n++] = (struct pollfd){.fd = command_fd(o->one[i]->command), .events = POLLIN};
    return n;
}

bool order_ended(const struct order *order, uint64_t now)
{
    return command_ended(order->command, now);
}

/* The text with what we call the configuration's file in words. */
static json_t *output_of(struct command *c)
{
    struct buf b = {.max = 65536};
    const char *text = command_output(c), *at;
    while ((at = strstr(text, COMMAND_CONFIG)) != NULL) {
        (void)buf_add(&b, text, (size_t)(at - text));
        (void)buf_addstr(&b, "config");
        text = at + strlen(COMMAND_CONFIG);
    }
    (void)buf_addstr(&b, text);
    json_t *all = json_stringn((const char *)b.p, b.len);
    buf_free(&b);
    return all;
}

static void say_end(const struct order *order, struct answer *a)
{
    int status = command_status(order->command);
    unsigned code = 409;
    if (command_late(order->command))
        code = 504;
    else if (status == EXIT_DONE || status == EXIT_DATA || status == EXIT_PARTIAL)
        code = order->act == ACT_CREATE ? 201 : 200;
    else if (status == EXIT_USAGE)
        code = 400;
    answer_json(a, code,
                json_pack("{s:s, s:i, s:o}", "task", order->name, "status", status, "output",
                          output_of(order->command)));
}

void orders_end(struct orders *o, struct order *order, struct answer *a)
{
    if (a != NULL) {
        log_event(LOG_INFO, NO_FLOW, "event=command_end name=%s task=%s status=%d", acts[order->act].command,
                  order->name, command_status(order->command));
        say_end(order, a);
    }
    for (unsigned i = 0; i < ORDERS_MAX; i++)
        if (o->one[i] == order)
            o->one[i] = NULL;
    command_free(order->command);
    free(order);
}
