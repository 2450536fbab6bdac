/* df2redis-check: are two data sets equal? df2redis-check(1). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "loop.h"
#include "offline.h"

static void open_report(struct report *r, const struct options *o)
{
    bool json_out = o->output != NULL && strcmp(o->output, "-") == 0;
    *r = (struct report){.list = o->quiet ? 0 : o->list, .text = json_out ? stderr : stdout};
    if (json_out)
        r->json = stdout;
    else if (o->output != NULL && (r->json = io_fopen_own(o->output)) == NULL)
        fatal_errno(EXIT_CANNOT, "%s", o->output);
}

/* After --repair: what it did, and what is left. */
static void repair_summary(const struct report *after, const struct repair *r, const char *save)
{
    if (save != NULL) {
        fprintf(after->text, "saved: %" PRIu64 " keys, %" PRIu64 " not possible\n", r->copied, r->refused);
        return;
    }
    fprintf(after->text,
            "repaired: %" PRIu64 " keys written, %" PRIu64 " removed, %" PRIu64 " not possible\n", r->copied,
            r->removed, r->refused);
    report_kinds(after);
    fprintf(after->text, "then %" PRIu64 " differ, %" PRIu64 " keep changing\n", after->differ,
            after->changing);
}

static void summary(const struct report *r, const struct counts *n, int status)
{
    report_kinds(r);
    fprintf(r->text, "%" PRIu64 " keys in the source, %" PRIu64 " in the target: ", n->keys[0], n->keys[1]);
    if (r->differ + r->changing + r->kinds[FOUND_UNKNOWN] == 0)
        fprintf(r->text, "equal\n");
    else if (r->differ == 0 && status == EXIT_RETRY)
        fprintf(r->text, "%" PRIu64 " keep changing, all others are equal\n", r->changing);
    else
        fprintf(r->text, "%" PRIu64 " differ%s\n", r->differ,
                r->kinds[FOUND_UNKNOWN] > 0 ? ", and some could not be compared" : "");
}

int main(int argc, char **argv)
{
    static struct options o;
    struct report report, after;
    struct counts counts = {.suspects = 0};
    options_parse(&o, argc, argv);
    open_report(&report, &o);
    raise_limits();
    signals_init();
    if (o.known != NULL)
        known_read(&report.known, o.known);
    after = report;
    after.json = NULL; /* each key is listed only once */
    int status;
    if (options_offline(&o)) {
        offline_run(&o, &report, counts.keys);
        status = report_status(&report);
    } else
        status = check_run(&o, &report, &after, &counts);
    const struct repair *r = &counts.repair;
    if (!o.quiet)
        summary(&report, &counts, status);
    if (!o.quiet && r->copied + r->removed + r->refused > 0)
        repair_summary(&after, r, o.save);
    report_close(&report);
    report_close(&after);
    known_free(&report.known);
    tls_free(o.at[0].side.url.tls);
    tls_free(o.at[1].side.url.tls);
    return status;
}
