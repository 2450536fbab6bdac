/* df2redis-check: are two data sets equal? df2redis-check(1). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "exits.h"
#include "fatal.h"
#include "io.h"
#include "loop.h"

static void open_report(struct report *r, const struct options *o)
{
    bool json_out = o->output != NULL && strcmp(o->output, "-") == 0;
    *r = (struct report){.list = o->quiet ? 0 : o->list, .text = json_out ? stderr : stdout};
    if (json_out)
        r->json = stdout;
    else if (o->output != NULL && (r->json = io_fopen_own(o->output)) == NULL)
        fatal_errno(EXIT_CANNOT, "%s", o->output);
}

static void summary(const struct report *r, const struct counts *n, int status)
{
    report_kinds(r);
    fprintf(r->text, "%" PRIu64 " keys in the source, %" PRIu64 " in the target: ", n->keys[0], n->keys[1]);
    if (status == EXIT_DONE)
        fprintf(r->text, "equal\n");
    else if (status == EXIT_RETRY)
        fprintf(r->text, "%" PRIu64 " keep changing, all others are equal\n", r->changing);
    else
        fprintf(r->text, "%" PRIu64 " differ%s\n", r->differ,
                status == EXIT_CANNOT ? ", and some could not be compared" : "");
}

int main(int argc, char **argv)
{
    static struct options o;
    struct report report;
    struct counts counts = {{0, 0}, 0};
    options_parse(&o, argc, argv);
    open_report(&report, &o);
    raise_limits();
    signals_init();
    int status = check_run(&o, &report, &counts);
    if (!o.quiet)
        summary(&report, &counts, status);
    report_close(&report);
    tls_free(o.side[0].url.tls);
    tls_free(o.side[1].url.tls);
    return status;
}
