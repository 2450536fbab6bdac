#include "routes.h"

#include <string.h>

#include "assets.h"
#include "metrics.h"

#define FRESH 10  /* seconds: the last look at the tasks */
#define LINES 200 /* of a log */

#define PLAIN "text/plain; charset=utf-8"
#define TASKS "/api/v1/tasks"

/* ---- tasks ---- */

static void list(const struct tasks *t, bool control, int64_t now, struct answer *a)
{
    json_t *all = json_array();
    for (unsigned i = 0; i < t->n; i++)
        (void)json_array_append_new(all, task_status(t->task[i]));
    answer_json(a, 200,
                json_pack("{s:I, s:b, s:o}", "time", (json_int_t)now, "control", control, "tasks", all));
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
        answer_error(a, 404, "no such task");
    else if (slash == NULL)
        answer_json(a, 200, task_status(task));
    else if (strcmp(slash, "/history") == 0)
        answer_json(a, 200, history_json(&task->history, since));
    else if (strcmp(slash, "/log") == 0)
        log_of(task, a);
    else
        answer_error(a, 404, "no such thing");
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
    answer_text(a, fresh ? 200 : 503, fresh ? "ready\n" : "the tasks were not looked at yet\n");
}

void routes_answer(const struct tasks *t, bool control, const char *method, const char *path, int64_t since,
                   int64_t now, struct answer *a)
{
    if (strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0) {
        answer_error(a, 405, "only GET and HEAD");
        a->allow = "GET, HEAD";
    } else if (asset(path, a)) {
        return;
    } else if (strcmp(path, "/metrics") == 0) {
        a->status = 200;
        a->type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_text(t, &a->text);
    } else if (strcmp(path, TASKS) == 0) {
        list(t, control, now, a);
    } else if (strncmp(path, TASKS "/", strlen(TASKS "/")) == 0) {
        one(t, path + strlen(TASKS "/"), since, a);
    } else if (strcmp(path, "/healthz") == 0) {
        answer_text(a, 200, "ok\n");
    } else if (strcmp(path, "/readyz") == 0) {
        ready(t, now, a);
    } else {
        answer_error(a, 404, "no such thing");
    }
}
