/* df2redis-monitor: the tasks of df2redis over HTTP. df2redis-monitor(1). */
#include <stdio.h>

#include "address.h"
#include "exits.h"
#include "fatal.h"
#include "http.h"
#include "io.h"
#include "log.h"
#include "loop.h"
#include "options.h"
#include "tasks.h"

#define LOOK_MS 1000 /* between two looks at the run directories */

static void serve(struct http *h, struct tasks *t)
{
    uint64_t next = 0;
    while (signals_seen() == 0) {
        uint64_t now = mono_us();
        if (now >= next) {
            tasks_look(t, (int64_t)(now_us() / 1000000));
            next = now + LOOK_MS * 1000;
        }
        http_turn(h, (int)((next - now) / 1000) + 1);
    }
}

int main(int argc, char **argv)
{
    struct options o;
    struct tasks t;
    char why[400];
    unsigned port = 0;
    bool usage;
    options_parse(&o, argc, argv);
    log_set_form(o.log_form);
    log_init("df2redis-monitor", o.verbose == 0 ? LOG_WARN : o.verbose == 1 ? LOG_INFO : LOG_DEBUG);
    signals_init();
    raise_limits();
    int fd = address_listen(o.listen, &port, &usage, why, sizeof why);
    if (fd < 0)
        fatal(usage ? EXIT_USAGE : EXIT_CANNOT, "%s", why);
    tasks_init(&t, o.base, o.nbases);
    struct http *h = http_open(fd, &o, &t);
    if (h == NULL)
        return EXIT_CANNOT;
    log_note(NO_FLOW, "event=listening port=%u", port);
    serve(h, &t);
    http_close(h);
    tasks_free(&t);
    return EXIT_DONE;
}
