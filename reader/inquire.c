#include "inquire.h"

#include <hiredis/hiredis.h>

#include "exits.h"
#include "io.h"
#include "redis/psync_reply.h"

static void on_ready(struct watch *w, uint32_t events)
{
    struct inquiry *q = w->ctx;
    q->broken = conn_events(&q->conn, events) < 0 || q->broken;
}

/* Wait for the answer to what was sent. */
static int await(struct inquiry *q, struct fault *f)
{
    uint64_t end = mono_us() + (uint64_t)q->timeout_ms * 1000;
    for (;;) {
        int rc = q->broken ? -1 : conn_reply(&q->conn, f);
        if (q->broken)
            conn_fault(&q->conn, f);
        if (rc != 0)
            return rc < 0 ? -1 : 0;
        uint64_t now = mono_us();
        if (signals_seen() > 0 || now >= end) {
            fault_set(f, signals_seen() > 0 ? EXIT_PARTIAL : EXIT_RETRY, "%s",
                      signals_seen() > 0 ? "stopped before the source was known" : "no answer");
            return -1;
        }
        loop_wait(&q->loop, (int)((end - now) / 1000) + 1);
    }
}

int inquire(struct inquiry *q, int n, const char *const *args, struct fault *f)
{
    if (conn_request(&q->conn, n, args) == 0)
        return await(q, f);
    conn_fault(&q->conn, f);
    return -1;
}

int inquire_open(struct inquiry *q, const struct url *u, int timeout_ms, struct fault *f)
{
    *q = (struct inquiry){.timeout_ms = timeout_ms, .conn.w = {.fd = -1, .ready = on_ready, .ctx = q}};
    loop_init(&q->loop);
    if (conn_open(&q->conn, &q->loop, u, timeout_ms, 0, f) < 0) {
        loop_free(&q->loop);
        return -1;
    }
    int rc = conn_auth(&q->conn, u);
    if (rc == 0)
        return 0;
    if (rc < 0)
        conn_fault(&q->conn, f);
    if (rc > 0 && await(q, f) == 0) {
        if (q->conn.reply.top.type != REDIS_REPLY_ERROR)
            return 0;
        psync_refused(f, "AUTH", q->conn.reply.top.text);
    }
    inquire_close(q);
    return -1;
}

void inquire_close(struct inquiry *q)
{
    conn_close(&q->conn);
    loop_free(&q->loop);
}
