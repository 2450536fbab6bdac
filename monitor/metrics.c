#include "metrics.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "version.h"

/* Where a value is found, and what its labels are beside the task. */
enum place {
    OF_TASK,
    OF_SESSION,
    OF_FLOW,   /* flow */
    OF_STAGE,  /* stage, and flow where it has one */
    OF_WRITER, /* of stage rediswriter: none */
    OF_PARSER, /* of stage dfparse: flow where it has one */
};

struct metric {
    const char *name;
    const char *help;
    const char *field;
    enum place place;
    double scale; /* value times that */
};

#define MICRO 1e-6

/* A name that ends in _total is a counter, any other a gauge. */
static const struct metric metrics[] = {
    {"df2redis_running", "1: a process of the task runs.", "running", OF_TASK, 1},
    {"df2redis_healthy", "1: the task runs and has no problem.", "healthy", OF_TASK, 1},
    {"df2redis_phase_seconds", "How long the present phase lasts.", "since_seconds", OF_TASK, 1},
    {"df2redis_status_age_seconds", "How old what is shown here is.", "age_seconds", OF_TASK, 1},
    {"df2redis_restarts_total", "Restarts of the stages.", "restarts", OF_TASK, 1},
    {"df2redis_lag_seconds", "How long ago the source was where the target is.", "lag_seconds", OF_TASK, 1},
    {"df2redis_lag_entries", "Journal entries that the target is behind.", "lag_entries", OF_TASK, 1},
    {"df2redis_lag_bytes", "Bytes of the stream of a Redis that the target is behind.", "lag_bytes", OF_TASK,
     1},
    {"df2redis_backlog_overflow_seconds", "When the backlog of the source overflows as the lag grows.",
     "backlog_minutes", OF_TASK, 60},
    {"df2redis_full_sync_percent", "How much of the full sync is done.", "percent", OF_TASK, 1},
    {"df2redis_full_sync_remaining_seconds", "Expected time until the full sync is done.", "eta_seconds",
     OF_TASK, 1},
    {"df2redis_source_read_bytes_total", "Bytes read from the source in this session.", "bytes", OF_SESSION,
     1},
    {"df2redis_source_keys", "Keys that the source held when the session began.", "total_keys", OF_SESSION,
     1},
    {"df2redis_source_backlog_bytes", "Bytes of changes that a source that is a Redis keeps.",
     "backlog_bytes", OF_SESSION, 1},
    {"df2redis_flow_read_bytes_total", "Bytes read of a flow in this session.", "bytes", OF_FLOW, 1},
    {"df2redis_flow_applied_position", "Position that the target has reached.", "applied", OF_FLOW, 1},
    {"df2redis_flow_source_position", "Position of the source.", "head", OF_FLOW, 1},
    {"df2redis_flow_lag", "Entries, of a Redis bytes, that the target is behind.", "lag", OF_FLOW, 1},
    {"df2redis_flow_silent_seconds", "Time without a byte in the full sync.", "silent", OF_FLOW, 1},
    {"df2redis_flow_synced", "1: the full sync of the flow is complete.", "synced", OF_FLOW, 1},
    {"df2redis_stage_resident_memory_bytes", "Memory of a stage.", "resident_bytes", OF_STAGE, 1},
    {"df2redis_stage_user_cpu_seconds_total", "Processor time of a stage, user.", "cpu_user_us", OF_STAGE,
     MICRO},
    {"df2redis_stage_system_cpu_seconds_total", "Processor time of a stage, system.", "cpu_system_us",
     OF_STAGE, MICRO},
    {"df2redis_stage_input_wait_seconds_total", "Time in which a stage waited for its input.",
     "waited_input_us", OF_STAGE, MICRO},
    {"df2redis_stage_output_wait_seconds_total",
     "Time in which a stage waited for whatever takes its output.", "waited_output_us", OF_STAGE, MICRO},
    {"df2redis_stage_output_bytes_total", "Bytes that a stage wrote.", "out_bytes", OF_STAGE, 1},
    {"df2redis_stage_resyncs_total", "Sessions begun anew.", "resyncs", OF_STAGE, 1},
    {"df2redis_pipe_bytes", "Bytes in the pipe behind a stage.", "pipe_bytes", OF_STAGE, 1},
    {"df2redis_pipe_size_bytes", "Bytes that the pipe behind a stage can hold.", "pipe_size_bytes", OF_STAGE,
     1},
    {"df2redis_queue_bytes", "Bytes that wait for the output of dfreader.", "queue_bytes", OF_STAGE, 1},
    {"df2redis_spool_bytes", "Bytes of these in files.", "spool_bytes", OF_STAGE, 1},
    {"df2redis_parser_commands_total", "Commands of the source's journal.", "commands", OF_PARSER, 1},
    {"df2redis_parser_not_carried_over_total", "What could not be carried over.", "not_carried_over",
     OF_PARSER, 1},
    {"df2redis_parser_filtered_total", "Keys and commands that were not selected.", "filtered", OF_PARSER, 1},
    {"df2redis_parser_expired_total", "Keys that had expired.", "expired", OF_PARSER, 1},
    {"df2redis_parser_reread_total", "Keys read again from the source.", "reread", OF_PARSER, 1},
    {"df2redis_target_requests_total", "Requests that the target confirmed.", "requests", OF_WRITER, 1},
    {"df2redis_target_sent_bytes_total", "Bytes sent to the target.", "out_bytes", OF_WRITER, 1},
    {"df2redis_target_keys_total", "Keys of the full sync that the target confirmed.", "keys", OF_WRITER, 1},
    {"df2redis_target_live_requests_total", "Later changes that the target confirmed.", "live", OF_WRITER, 1},
    {"df2redis_target_groups_total", "Transactions.", "exec_groups", OF_WRITER, 1},
    {"df2redis_target_mset_groups_total", "Groups of SET in one MSET.", "mset_groups", OF_WRITER, 1},
    {"df2redis_target_barriers_total", "FLUSHALL and FLUSHDB carried out.", "barriers", OF_WRITER, 1},
    {"df2redis_target_retries_total", "Requests sent again after a refusal.", "retries", OF_WRITER, 1},
    {"df2redis_target_reconnects_total", "Connections lost and made again.", "reconnects", OF_WRITER, 1},
    {"df2redis_target_redirects_total", "MOVED and ASK followed.", "redirects", OF_WRITER, 1},
    {"df2redis_data_errors_total", "Requests that failed for good.", "errors", OF_WRITER, 1},
    {"df2redis_not_carried_over_total", "Reports of something that was not carried over.", "not_carried_over",
     OF_WRITER, 1},
    {"df2redis_doubtful_requests_total", "Requests that may have counted twice.", "doubtful", OF_WRITER, 1},
    {"df2redis_target_evicted_keys_total", "Keys that the target removed to make room.", "evicted", OF_WRITER,
     1},
    {"df2redis_target_in_flight", "Units without a reply.", "in_flight", OF_WRITER, 1},
    {"df2redis_target_window_bytes", "Bytes in flight on the connection with most.", "window_bytes",
     OF_WRITER, 1},
    {"df2redis_target_window_size_bytes", "Bytes that may be in flight there.", "window_size_bytes",
     OF_WRITER, 1},
    {"df2redis_target_batch_wait_seconds", "How long ago the last reply came, while one is waited for.",
     "batch_wait_us", OF_WRITER, MICRO},
    {"df2redis_target_memory_bytes", "Memory that the fullest node of the target uses.", "memory_bytes",
     OF_WRITER, 1},
    {"df2redis_target_memory_limit_bytes", "Its maxmemory.", "memory_limit_bytes", OF_WRITER, 1},
};

#define METRICS (sizeof metrics / sizeof *metrics)

/* ---- text ---- */

static bool is_counter(const char *name)
{
    size_t n = strlen(name);
    return n > 6 && strcmp(name + n - 6, "_total") == 0;
}

static void head(struct buf *b, const char *name, const char *type, const char *help)
{
    (void)buf_addf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* A label's value: what stands in it comes from outside. */
static void label_value(struct buf *b, const char *value)
{
    (void)buf_addstr(b, "\"");
    for (const char *p = value; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\')
            (void)buf_add(b, "\\", 1);
        if (*p == '\n')
            (void)buf_addstr(b, "\\n");
        else
            (void)buf_add(b, p, 1);
    }
    (void)buf_addstr(b, "\"");
}

static void sample(struct buf *b, const char *name, const struct task *task)
{
    (void)buf_addf(b, "%s{task=", name);
    label_value(b, task->name);
}

static void label(struct buf *b, const char *name, const char *value)
{
    (void)buf_addf(b, ",%s=", name);
    label_value(b, value);
}

static void flow_label(struct buf *b, const json_t *object)
{
    const json_t *flow = json_object_get(object, "flow");
    char text[24];
    if (!json_is_integer(flow))
        return;
    snprintf(text, sizeof text, "%lld", (long long)json_integer_value(flow));
    label(b, "flow", text);
}

static void value(struct buf *b, double v)
{
    (void)buf_addf(b, "} %.15g\n", v);
}

/* A number or a truth. False: it is not known. */
static bool get(const json_t *object, const char *field, double *v)
{
    const json_t *j = json_object_get(object, field);
    if (!json_is_number(j) && !json_is_boolean(j))
        return false;
    *v = json_is_boolean(j) ? json_is_true(j) : json_number_value(j);
    return true;
}

/* ---- the table ---- */

static void put_one(struct buf *b, const struct metric *m, const struct task *task, const json_t *object)
{
    double v;
    const char *stage = json_string_value(json_object_get(object, "stage"));
    if (!get(object, m->field, &v))
        return;
    sample(b, m->name, task);
    if (m->place == OF_STAGE)
        label(b, "stage", stage != NULL ? stage : "");
    if (m->place != OF_WRITER && m->place != OF_TASK && m->place != OF_SESSION)
        flow_label(b, object);
    value(b, v * m->scale);
}

static bool is_stage(const json_t *stage, enum place place)
{
    const char *name = json_string_value(json_object_get(stage, "stage"));
    if (place == OF_STAGE || name == NULL)
        return name != NULL;
    return strcmp(name, place == OF_WRITER ? "rediswriter" : "dfparse") == 0;
}

static void put_task(struct buf *b, const struct metric *m, const struct task *task)
{
    const json_t *each;
    size_t i;
    if (m->place == OF_TASK)
        put_one(b, m, task, task->status);
    if (m->place == OF_SESSION)
        put_one(b, m, task, json_object_get(task->status, "session"));
    if (m->place == OF_FLOW) {
        const json_t *flows = json_object_get(task->status, "flows");
        json_array_foreach(flows, i, each)
        {
            put_one(b, m, task, each);
        }
    }
    const json_t *stages = json_object_get(task->status, "stages");
    json_array_foreach(stages, i, each)
    {
        if (m->place >= OF_STAGE && is_stage(each, m->place))
            put_one(b, m, task, each);
    }
}

/* ---- what the table has no form for ---- */

static void put_phases(struct buf *b, const struct task *task)
{
    const char *phase = json_string_value(json_object_get(task->status, "phase"));
    for (unsigned i = 1; history_phases[i] != NULL; i++) {
        sample(b, "df2redis_phase", task);
        label(b, "phase", history_phases[i]);
        value(b, strcmp(history_phases[i], phase) == 0);
    }
}

static void put_problems(struct buf *b, const struct task *task)
{
    const json_t *each, *all = json_object_get(task->status, "problems");
    size_t i;
    json_array_foreach(all, i, each)
    {
        if (!json_is_string(each))
            continue;
        sample(b, "df2redis_problem", task);
        label(b, "problem", json_string_value(each));
        value(b, 1);
    }
}

static void put_checks(struct buf *b, const struct task *task)
{
    static const char *const levels[] = {"healthy", "warning", "critical"};
    const json_t *each, *all = json_object_get(task->status, "checks");
    size_t i;
    json_array_foreach(all, i, each)
    {
        const char *name = json_string_value(json_object_get(each, "name"));
        const char *level = json_string_value(json_object_get(each, "level"));
        for (int k = 0; k < 3 && name != NULL && level != NULL; k++) {
            if (strcmp(level, levels[k]) != 0)
                continue;
            sample(b, "df2redis_check_level", task);
            label(b, "check", name);
            value(b, k);
        }
    }
}

static void put_keys(struct buf *b, const struct task *task)
{
    const json_t *all = json_object_get(task->status, "stages");
    json_t *each;
    size_t i;
    json_array_foreach(all, i, each)
    {
        const char *field;
        json_t *n;
        if (!is_stage(each, OF_WRITER))
            continue;
        json_object_foreach(each, field, n)
        {
            if (strncmp(field, "keys.", 5) != 0 || !json_is_number(n))
                continue;
            sample(b, "df2redis_target_keys_by_type_total", task);
            label(b, "type", field + 5);
            value(b, json_number_value(n));
        }
    }
}

static void put_latency(struct buf *b, const struct task *task)
{
    const json_t *each, *all = json_object_get(task->status, "stages");
    double count, sum, bound = 128e-6;
    size_t i;
    json_array_foreach(all, i, each)
    {
        const json_t *below = json_object_get(each, "latency_below");
        if (json_array_size(below) != HISTORY_BOUNDS || !get(each, "latency_count", &count) ||
            !get(each, "latency_sum_us", &sum))
            continue;
        for (size_t k = 0; k < HISTORY_BOUNDS; k++, bound *= 2) {
            char le[32];
            snprintf(le, sizeof le, "%.9g", bound);
            sample(b, "df2redis_latency_seconds_bucket", task);
            label(b, "le", le);
            value(b, json_number_value(json_array_get(below, k)));
        }
        sample(b, "df2redis_latency_seconds_bucket", task);
        label(b, "le", "+Inf");
        value(b, count);
        sample(b, "df2redis_latency_seconds_sum", task);
        value(b, sum * MICRO);
        sample(b, "df2redis_latency_seconds_count", task);
        value(b, count);
        return;
    }
}

/* ---- all ---- */

struct block {
    const char *name, *type, *help;
    void (*put)(struct buf *b, const struct task *task);
};

static const struct block blocks[] = {
    {"df2redis_phase", "gauge", "1: the task is in that phase.", put_phases},
    {"df2redis_problem", "gauge",
     "1: the task has that problem; there is no sample of problems it does not have.", put_problems},
    {"df2redis_check_level", "gauge", "Health table: 0 healthy, 1 warning, 2 critical.", put_checks},
    {"df2redis_target_keys_by_type_total", "counter",
     "Keys of the full sync that the target confirmed, by type.", put_keys},
    {"df2redis_latency_seconds", "histogram",
     "From the arrival of a change at dfreader to the target's reply.", put_latency},
};

static void put_metric(const struct tasks *t, struct buf *b, const struct metric *m)
{
    head(b, m->name, is_counter(m->name) ? "counter" : "gauge", m->help);
    for (unsigned i = 0; i < t->n; i++)
        if (t->task[i]->status != NULL)
            put_task(b, m, t->task[i]);
}

static void put_block(const struct tasks *t, struct buf *b, const struct block *block)
{
    head(b, block->name, block->type, block->help);
    for (unsigned i = 0; i < t->n; i++)
        if (t->task[i]->status != NULL)
            block->put(b, t->task[i]);
}

void metrics_text(const struct tasks *t, struct buf *b)
{
    head(b, "df2redis_monitor_info", "gauge", "The monitor itself.");
    (void)buf_addf(b, "df2redis_monitor_info{version=\"%s\"} 1\n", DF2REDIS_VERSION);
    head(b, "df2redis_tasks", "gauge", "Tasks with a run directory.");
    unsigned n = 0;
    for (unsigned i = 0; i < t->n; i++)
        n += t->task[i]->base != NULL;
    (void)buf_addf(b, "df2redis_tasks %u\n", n);
    for (size_t i = 0; i < METRICS; i++)
        put_metric(t, b, &metrics[i]);
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++)
        put_block(t, b, &blocks[i]);
}
