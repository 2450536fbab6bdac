#include "report.h"

#include <inttypes.h>
#include <string.h>

#include "exits.h"
#include "fatal.h"
#include "json.h"
#include "log.h"

static void write_line(struct report *r, FILE *to)
{
    if (r->line.len > 0 && fwrite(r->line.p, 1, r->line.len, to) != r->line.len)
        fatal_errno(EXIT_CANNOT, "differences cannot be written");
}

static void name(struct report *r, const char *what)
{
    (void)buf_addf(&r->line, ",\"%s\":", what);
}

static void json_excerpt(struct report *r, const char *what, const struct excerpt *x)
{
    name(r, what);
    if (!x->there)
        (void)buf_addstr(&r->line, "null");
    else if (x->number)
        (void)buf_add(&r->line, x->text, x->kept);
    else
        json_add(&r->line, x->text, x->kept);
    if (x->there && x->n > x->kept)
        (void)buf_addf(&r->line, ",\"%s_bytes\":%" PRIu64, what, x->n);
}

static void write_json(struct report *r, const struct subject *s, const struct finding *f, const char *note)
{
    unsigned own = f->kind == FOUND_EXTRA; /* an extra key may have no name in the source */
    r->line.len = 0;
    (void)buf_addf(&r->line, "{\"kind\":\"%s\",\"db\":%u", finding_name(f->kind), s->db[own]);
    if (!own && s->db[1] != s->db[0])
        (void)buf_addf(&r->line, ",\"target_db\":%u", s->db[1]);
    name(r, "key");
    json_add(&r->line, s->name[own].p, s->name[own].n);
    if (!own && (s->name[0].n != s->name[1].n || memcmp(s->name[0].p, s->name[1].p, s->name[0].n) != 0)) {
        name(r, "target_key");
        json_add(&r->line, s->name[1].p, s->name[1].n);
    }
    if (f->type != NULL) {
        name(r, "type");
        json_adds(&r->line, f->type);
    }
    if (f->where.there)
        json_excerpt(r, "where", &f->where);
    json_excerpt(r, "source", &f->side[0]);
    json_excerpt(r, "target", &f->side[1]);
    (void)buf_addf(&r->line, "%s}\n", note);
    write_line(r, r->json);
}

static const char *shown(const struct excerpt *x)
{
    return x->there ? log_quote(x->text, x->kept) : "none";
}

static const char *more(const struct excerpt *x)
{
    return x->there && x->n > x->kept ? "..." : "";
}

static void list_key(const struct report *r, const struct subject *s, const struct finding *f, bool settled)
{
    unsigned own = f->kind == FOUND_EXTRA;
    fprintf(r->text, "db %u key %s", s->db[own], log_quote(s->name[own].p, s->name[own].n));
    fprintf(r->text, ": %s", finding_name(f->kind));
    if (f->where.there)
        fprintf(r->text, " %s%s", shown(&f->where), more(&f->where));
    fprintf(r->text, ": source %s%s,", shown(&f->side[0]), more(&f->side[0]));
    fprintf(r->text, " target %s%s%s\n", shown(&f->side[1]), more(&f->side[1]),
            settled ? "" : " (keeps changing)");
}

/* dfparse names a key as the source or as the target has it. */
static bool is_known(const struct report *r, const struct subject *s)
{
    return known_has(&r->known, s->db[0], s->name[0]) || known_has(&r->known, s->db[1], s->name[1]) ||
           known_has(&r->known, s->db[1], s->name[0]);
}

bool report_key(struct report *r, const struct subject *s, const struct finding *f, bool settled)
{
    bool known = is_known(r, s);
    if (!known && r->listed++ < r->list)
        list_key(r, s, f, settled);
    else if (!known && r->listed == r->list + 1 && r->list > 0)
        fprintf(r->text, "...\n");
    if (r->json != NULL)
        write_json(r, s, f, known ? ",\"known\":true" : settled ? "" : ",\"changing\":true");
    if (known) {
        r->known_kinds[f->kind]++;
        return false;
    }
    if (!settled) {
        r->changing++;
        return true;
    }
    r->kinds[f->kind]++;
    r->differ += f->kind != FOUND_UNKNOWN;
    return true;
}

int report_status(const struct report *r)
{
    if (r->kinds[FOUND_UNKNOWN] > 0)
        return EXIT_CANNOT;
    return r->differ > 0 ? EXIT_DATA : r->changing > 0 ? EXIT_RETRY : EXIT_DONE;
}

void report_kinds(const struct report *r)
{
    for (unsigned k = 0; k < FOUND_KINDS; k++)
        if (r->kinds[k] > 0)
            fprintf(r->text, "%12" PRIu64 " %s\n", r->kinds[k], finding_name((enum finding_kind)k));
    if (r->changing > 0)
        fprintf(r->text, "%12" PRIu64 " keep changing\n", r->changing);
    for (unsigned k = 0; k < FOUND_KINDS; k++)
        if (r->known_kinds[k] > 0)
            fprintf(r->text, "%12" PRIu64 " %s, known before and not counted\n", r->known_kinds[k],
                    finding_name((enum finding_kind)k));
}

void report_close(struct report *r)
{
    bool failed = fflush(r->text) != 0 || ferror(r->text);
    if (r->json != NULL && (fflush(r->json) != 0 || ferror(r->json)))
        failed = true;
    if (r->json != NULL && r->json != stdout && fclose(r->json) != 0)
        failed = true;
    r->json = NULL;
    if (failed)
        fatal_errno(EXIT_CANNOT, "the result cannot be written");
    buf_free(&r->line);
}
