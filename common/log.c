#include "log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <bsd/string.h>

static const char *log_stage = "df2redis";
static enum log_level log_least = LOG_WARN;
static enum log_form log_form;

bool log_on_terminal(void)
{
    static int terminal = -1;
    if (terminal < 0)
        terminal = isatty(STDERR_FILENO);
    return terminal != 0;
}

void log_set_form(enum log_form form)
{
    log_form = form;
}

enum log_form log_get_form(void)
{
    if (log_form == LOG_FORM_AUTO)
        log_form = log_on_terminal() ? LOG_FORM_HUMAN : LOG_FORM_LOGFMT;
    return log_form;
}

void log_init(const char *stage, enum log_level level)
{
    log_stage = stage;
    log_least = level;
}

/* One write per line, so that lines of several processes never mix. On a terminal a progress line may stand
 * there, ours or that of another stage. */
static void emit(const char *line, size_t n)
{
    ssize_t w = write(STDERR_FILENO, line, n);
    (void)w; /* a log that cannot be written is nothing to die of */
}

static void emit_form(const char *line, size_t n)
{
    struct buf b = {.max = 16384};
    (void)buf_addstr(&b, log_on_terminal() ? "\r\033[K" : "");
    log_form_line(log_get_form(), line, n, &b);
    (void)buf_addstr(&b, "\n");
    emit((const char *)b.p, b.len);
    buf_free(&b);
}

/* Warnings that repeat, by the place that logs them. */
struct repeated {
    const char *fmt;
    int flow;
    time_t since;
    unsigned shown, suppressed;
};

/* May this one be shown? *suppressed: how many were not, since the last that was. */
static bool may_show(const char *fmt, int flow, unsigned *suppressed)
{
    static struct repeated table[256];
    struct timespec now;
    struct repeated *r = &table[((uintptr_t)fmt / 8 + (unsigned)flow * 31u) % 256];
    *suppressed = 0;
    if (clock_gettime(CLOCK_MONOTONIC, &now) != 0)
        return true;
    if (r->fmt != fmt || r->flow != flow)
        *r = (struct repeated){.fmt = fmt, .flow = flow, .since = now.tv_sec};
    if (now.tv_sec - r->since >= LOG_WINDOW) {
        r->since = now.tv_sec;
        r->shown = 0;
    }
    if (r->shown >= LOG_BURST) {
        r->suppressed++;
        return false;
    }
    r->shown++;
    *suppressed = r->suppressed;
    r->suppressed = 0;
    return true;
}

static void put(enum log_level level, int flow, unsigned suppressed, const char *fmt, va_list ap)
    __attribute__((format(printf, 4, 0)));
static void put(enum log_level level, int flow, unsigned suppressed, const char *fmt, va_list ap)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    char line[2048];
    int n = snprintf(line, sizeof line - 1, "level=%s stage=%s ", names[level], log_stage);
    if (flow != NO_FLOW)
        n += snprintf(line + n, sizeof line - (size_t)n - 1, "flow=%d ", flow);
    int m = vsnprintf(line + n, sizeof line - (size_t)n - 1, fmt, ap);
    size_t len = (size_t)n + (m > 0 ? (size_t)m : 0);
    if (suppressed > 0 && len < sizeof line - 40)
        len += (size_t)snprintf(line + len, 32, " suppressed=%u", suppressed);
    if (len > sizeof line - 2)
        len = sizeof line - 2;
    emit_form(line, len);
}

void log_event(enum log_level level, int flow, const char *fmt, ...)
{
    unsigned suppressed = 0;
    if (level > log_least || (level == LOG_WARN && !may_show(fmt, flow, &suppressed)))
        return;
    va_list ap;
    va_start(ap, fmt);
    put(level, flow, suppressed, fmt, ap);
    va_end(ap);
}

void log_note(int flow, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    put(LOG_INFO, flow, 0, fmt, ap);
    va_end(ap);
}

#define QUOTE_MAX 200

const char *log_quote(const void *data, size_t n)
{
    static char bufs[4][4 * QUOTE_MAX + 8];
    static unsigned turn;
    char *out = bufs[turn++ % 4];
    const uint8_t *p = data;
    size_t k = 0;
    out[k++] = '"';
    for (size_t i = 0; i < n && i < QUOTE_MAX; i++) {
        if (p[i] >= 0x20 && p[i] < 0x7f && p[i] != '"' && p[i] != '\\')
            out[k++] = (char)p[i];
        else
            k += (size_t)snprintf(out + k, 5, "\\x%02x", p[i]);
    }
    memcpy(out + k, n > QUOTE_MAX ? "...\"" : "\"", n > QUOTE_MAX ? 5 : 2);
    return out;
}

void log_clean(char *text)
{
    for (char *p = text; *p != '\0'; p++)
        if (*p < 0x20 || *p > 0x7e || *p == '"')
            *p = *p == '"' ? '\'' : '?';
}

void log_progress(const char *fmt, ...)
{
    if (!log_on_terminal())
        return;
    /* Lines do not go on in the next one meanwhile, which could not be wiped. */
    static const char before[] = "\r\033[K\033[?7l", after[] = "\033[?7h";
    char line[256];
    size_t at = sizeof before - 1;
    memcpy(line, before, at);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(line + at, sizeof line - at - sizeof after, fmt, ap);
    va_end(ap);
    if (n < 0)
        return;
    (void)strlcat(line, after, sizeof line);
    emit(line, strlen(line));
}
