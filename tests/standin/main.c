/* standin: see standin.h, and --help. */
#include "psync.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct options opt;

/* A recorded PSYNC master. */
static bool psync_data(struct master *m)
{
    m->psync = psync_load(opt.capture);
    if (!m->psync)
        return false;
    m->nflows = m->psync->nodes;
    if (opt.values_ports && opt.values_ports != m->nflows) {
        complain("--values-of has %u ports for %u masters", opt.values_ports, m->nflows);
        return false;
    }
    m->next_sync = 1;
    if (opt.acks && !(m->psync->acks = fopen(opt.acks, "w"))) {
        complain("%s: %s", opt.acks, strerror(errno));
        return false;
    }
    if (m->psync->acks)
        setvbuf(m->psync->acks, NULL, _IOLBF, 0);
    return true;
}

static bool master_data(struct master *m)
{
    if (opt.capture && psync_recorded(opt.capture))
        return psync_data(m);
    if (opt.capture) {
        m->capture = capture_load(opt.capture);
        if (!m->capture)
            return false;
        const struct capture *c = m->capture;
        m->nflows = c->session[0].flows;
        m->greeting = c->greeting;
        m->version_int = c->version_int;
        m->next_sync = c->first_sync;
        memcpy(m->replid, c->replid, sizeof m->replid);
        memcpy(m->lineage, c->lineage, sizeof m->lineage);
        memcpy(m->df_version, c->df_version, sizeof m->df_version);
        return true;
    }
    if (opt.live_port && !(m->live = live_new()))
        return false;
    if (!opt.live_port)
        m->generator = generator_new();
    m->nflows = (unsigned)opt.flows;
    m->greeting = 5;
    m->version_int = 5;
    m->next_sync = 1;
    if (opt.replid)
        snprintf(m->replid, sizeof m->replid, "%s", opt.replid);
    else
        hex40(m->replid, opt.seed, 0x7265706c);
    memcpy(m->lineage, m->replid, sizeof m->lineage);
    snprintf(m->df_version, sizeof m->df_version, "%s", opt.df_version);
    return true;
}

/* Databases that hold keys. */
static const char *recorded_dbs(const struct master *m)
{
    if (opt.dbs)
        return opt.dbs;
    return m->capture ? m->capture->dbs : m->psync ? m->psync->dbs : "0";
}

static bool master_open(struct master *m)
{
    m->started_us = clock_us();
    m->log = stderr;
    if (opt.log_path && !(m->log = fopen(opt.log_path, "w"))) {
        complain("%s: %s", opt.log_path, strerror(errno));
        return false;
    }
    setvbuf(m->log, NULL, _IOLBF, 0);
    if (!master_data(m))
        return false;
    if (opt.greeting)
        m->greeting = (unsigned)opt.greeting;
    if (opt.version_int)
        m->version_int = (unsigned)opt.version_int;
    if (opt.expect_acks && opt.expect_count != m->nflows) {
        complain("--expect-final-acks has %u values for %u flows", opt.expect_count, m->nflows);
        return false;
    }
    m->values = values_load(opt.values, recorded_dbs(m));
    if (!m->values)
        return false;
    m->last_ack = grab(m->nflows * sizeof *m->last_ack);
    return master_listen(m);
}

static void summary(const struct master *m)
{
    for (unsigned i = 0; i < m->nflows; i++)
        printf("final ack flow=%u lsn=%llu\n", i, (unsigned long long)m->last_ack[i]);
    printf("sessions=%u\nillegal=%lu\n", m->sessions_started, m->illegal);
}

static int serve(void)
{
    struct master m = {.signal_fd = -1};
    int status = 1;
    if (master_open(&m)) {
        status = master_run(&m);
        summary(&m);
    }
    capture_free(m.capture);
    psync_free(m.psync);
    generator_free(m.generator);
    live_free(m.live);
    values_free(m.values);
    free(m.last_ack);
    if (m.log && m.log != stderr)
        fclose(m.log);
    return status;
}

int main(int argc, char **argv)
{
    int status = options_parse(argc, argv);
    if (status != 0)
        return status;
    if (opt.help) {
        print_help();
    } else if (opt.version) {
        puts("standin " STANDIN_VERSION " (test tool of df2redis)");
    } else if (opt.write_dfs || opt.write_resp || opt.write_capture) {
        if (opt.write_dfs)
            status = export_dfs(opt.write_dfs);
        if (!status && opt.write_resp)
            status = export_resp(opt.write_resp);
        if (!status && opt.write_capture)
            status = export_capture(opt.write_capture);
    } else {
        status = serve();
    }
    free(opt.expect_acks);
    if (fflush(stdout) != 0)
        return 1;
    return status;
}
