/* What could not be carried over, or was changed: log, records, the file of --report. */
#include "emit.h"
#include "log.h"
#include "meta.h"
#include "render.h"

#define NOT_CARRIED_MAX ((size_t)1 << 20) /* keys; for more it is not known */
#define LOG_FIRST       10                /* reports of a kind that are logged one by one */

/* Count one of its kind; the last place takes all for which there is no other. */
static uint64_t count_kind(struct told_kind *told, bool lost, const char *kind)
{
    struct told_kind *t = told;
    while (t < told + KINDS_MAX - 1 && t->kind != NULL && (t->lost != lost || strcmp(t->kind, kind) != 0))
        t++;
    if (t->kind == NULL)
        *t = (struct told_kind){t < told + KINDS_MAX - 1 ? kind : "others", lost, 0};
    return ++t->count;
}

void emit_report_counts(const struct emit *e)
{
    for (const struct told_kind *t = e->told; t < e->told + KINDS_MAX && t->kind != NULL; t++)
        if (t->count > LOG_FIRST)
            log_event(t->lost ? LOG_WARN : LOG_INFO, NO_FLOW,
                      "event=%s kind=%s count=%llu note=\"only the first %d were named here (--report FILE "
                      "names all)\"",
                      t->lost ? "not_carried_over" : "changed", t->kind, (unsigned long long)t->count,
                      LOG_FIRST);
}

void emit_report(struct emit *e, struct origin *o, bool lost, const char *kind, const uint8_t *key, size_t n,
                 const char *detail)
{
    if (e->no_target)
        return;
    if (lost && e->verifying && n > 0 && e->not_carried.n < NOT_CARRIED_MAX)
        (void)keyset_add(&e->not_carried, keyset_hash(o->db, key, n));
    if (lost)
        e->stats.lost++;
    else
        e->stats.remarks++;
    if (lost && e->unsupported == UNSUPPORTED_FAIL)
        e->refused = true;
    /* A million of a kind is no reason for a million lines: the records and --report have them all. */
    if (count_kind(e->told, lost, kind) <= LOG_FIRST)
        log_event(lost ? LOG_WARN : LOG_INFO, o->flow, "event=%s kind=%s db=%u key=%s detail=%s",
                  lost ? "not_carried_over" : "changed", kind, o->db, log_quote(key, n),
                  log_quote(detail, strlen(detail)));
    if (e->report != NULL)
        render_report(e, o, lost, kind, key, n, detail);
    e->text.len = 0;
    meta_adds(&e->text, "kind", kind);
    (void)buf_addstr(&e->text, "key=");
    meta_escape(&e->text, key, n, 4096);
    (void)buf_addstr(&e->text, "\n");
    meta_adds(&e->text, "detail", detail);
    meta_addu(&e->text, "db", o->db);
    meta_addu(&e->text, "lost", lost);
    emit_meta(e, o, REC_REPORT, e->text.p, e->text.len);
}

void emit_reserved(struct emit *e, struct origin *o, const uint8_t *key, size_t n)
{
    emit_report(e, o, true, "reserved-name", key, n,
                "df2redis keeps keys of such names in the target for itself");
}
