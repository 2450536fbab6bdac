#include "routes.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "assets.h"
#include "metrics.h"

#define TEXT_MAX ((size_t)32 << 20) /* of an answer */
#define FRESH    10                 /* seconds: the last look at the tasks */
#define LINES    200                /* of a log */

#define JSON     "application/json"
#define PLAIN    "text/plain; charset=utf-8"
#define TASKS    "/api/v1/tasks"

static void say(struct answer *a, unsigned status, const char *text)
{
    a->status = status;
    a->type = PLAIN;
    (void)buf_addstr(&a->text, text);
}

static void say_error(struct answer *a, unsigned status, const char *words)
{
    a->status = status;
    a->type = JSON;
    (void)buf_addf(&a->text, "{\"error\":\"%s\"}\n", words); /* a constant of ours */
}

static int take(const char *data, size_t n, void *to)
{
    return buf_add(to, data, n);
}

/* value's reference is taken. */
static void say_json(struct answer *a, json_t *value)
{
    a->status = 200;
    a->type = JSON;
    if (value == NULL ||
        json_dump_callback(value, take, &a->text, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0 ||
        buf_addstr(&a->text, "\n") < 0) {
        a->text.len = 0;
        say_error(a, 500, "the answer is too large");
    }
    json_decref(value);
}

/* ---- tasks ---- */

/* A task whose supervisor has written nothing yet. */
static json_t *status_of(const struct task *task)
{
    if (task->status != NULL)
        return json_incref(task->status);
    return json_pack("{s:s, s:s, s:b, s:b, s:[], s:[], s:[], s:[], s:[]}", "task", task->name, "phase",
                     "unknown", "running", 0, "healthy", 0, "problems", "explained", "checks", "flows",
                     "stages");
}

static void list(const struct tasks *t, int64_t now, struct answer *a)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < t->n; i++)
        (void)json_array_append_new(all, status_of(t->task[i]));
    say_json(a, json_pack("{s:I, s:o}", "time", (json_int_t)now, "tasks", all));
}

static void log_of(const struct task *task, struct answer *a)
{
    struct buf text = {.max = 0};
    task_log(task, &text);
    size_t at = text.len, lines = 0;
    while (at > 0 && lines <= LINES)
        lines += text.p[--at] == '\n';
    a->status = 200;
    a->type = PLAIN;
    if (at > 0)
        at++;
    if (text.len > 0)
        (void)buf_add(&a->text, text.p + at, text.len - at);
    /* Bytes that are no text to a browser. */
    for (size_t i = 0; i < a->text.len; i++)
        if ((a->text.p[i] < 0x20 && a->text.p[i] != '\n') || a->text.p[i] > 0x7e)
            a->text.p[i] = '?';
    buf_free(&text);
}

/* The rest of a path behind TASKS "/": NAME, NAME/history, NAME/log. */
static void one(const struct tasks *t, const char *rest, int64_t since, struct answer *a)
{
    char name[TASK_NAME_MAX];
    const char *slash = strchr(rest, '/');
    size_t n = slash != NULL ? (size_t)(slash - rest) : strlen(rest);
    const struct task *task = NULL;
    if (n > 0 && n < sizeof name) {
        memcpy(name, rest, n);
        name[n] = '\0';
        task = tasks_find(t, name);
    }
    if (task == NULL)
        say_error(a, 404, "no such task");
    else if (slash == NULL)
        say_json(a, status_of(task));
    else if (strcmp(slash, "/history") == 0)
        say_json(a, history_json(&task->history, since));
    else if (strcmp(slash, "/log") == 0)
        log_of(task, a);
    else
        say_error(a, 404, "no such thing");
}

/* ---- all ---- */

static bool asset(const char *path, struct answer *a)
{
    const struct asset *found = asset_find(path);
    if (found == NULL)
        return false;
    a->status = 200;
    a->type = found->type;
    a->data = found->begin;
    a->n = (size_t)(found->end - found->begin);
    a->fixed = true;
    return true;
}

static void ready(const struct tasks *t, int64_t now, struct answer *a)
{
    bool fresh = t->looked != 0 && now - t->looked <= FRESH;
    say(a, fresh ? 200 : 503, fresh ? "ready\n" : "the tasks were not looked at yet\n");
}

void routes_answer(const struct tasks *t, const char *method, const char *path, int64_t since, int64_t now,
                   struct answer *a)
{
    *a = (struct answer){.text.max = TEXT_MAX};
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        say_error(a, 405, "only GET and HEAD");
        a->allow = "GET, HEAD";
    } else if (asset(path, a)) {
        return;
    } else if (strcmp(path, "/metrics") == 0) {
        a->status = 200;
        a->type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_text(t, &a->text);
    } else if (strcmp(path, TASKS) == 0) {
        list(t, now, a);
    } else if (strncmp(path, TASKS "/", strlen(TASKS "/")) == 0) {
        one(t, path + strlen(TASKS "/"), since, a);
    } else if (strcmp(path, "/healthz") == 0) {
        say(a, 200, "ok\n");
    } else if (strcmp(path, "/readyz") == 0) {
        ready(t, now, a);
    } else {
        say_error(a, 404, "no such thing");
    }
}
