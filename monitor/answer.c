#include "answer.h"

#define TEXT_MAX ((size_t)32 << 20)
#define JSON     "application/json"

void answer_init(struct answer *a)
{
    *a = (struct answer){.text.max = TEXT_MAX};
}

void answer_text(struct answer *a, unsigned status, const char *text)
{
    a->status = status;
    a->type = "text/plain; charset=utf-8";
    (void)buf_addstr(&a->text, text);
}

static int take(const char *data, size_t n, void *to)
{
    return buf_add(to, data, n);
}

void answer_json(struct answer *a, unsigned status, json_t *value)
{
    a->status = status;
    a->type = JSON;
    a->text.len = 0;
    if (value == NULL ||
        json_dump_callback(value, take, &a->text, JSON_COMPACT | JSON_REAL_PRECISION(6)) != 0 ||
        buf_addstr(&a->text, "\n") < 0) {
        a->status = 500;
        a->text.len = 0;
        (void)buf_addstr(&a->text, "{\"error\":\"the answer is too large\"}\n");
    }
    json_decref(value);
}

void answer_error(struct answer *a, unsigned status, const char *words)
{
    answer_json(a, status, json_pack("{s:s}", "error", words));
}
