#include "ask.h"

#include <stdio.h>
#include <string.h>

#include "ctl.h"
#include "exits.h"
#include "io.h"
#include "log.h"

#define ANSWER_MS 5000

static int no_answer(const char *path, const char *why)
{
    log_event(LOG_ERROR, NO_FLOW, "event=no_answer control=%s error=%s", log_quote(path, strlen(path)),
              log_quote(why, strlen(why)));
    return EXIT_CANNOT;
}

int ask_run(const struct options *o)
{
    struct ctl c;
    char answer[CTL_LINE_MAX] = "";
    if (ctl_hello(&c, o->session, "role=supervisor", ANSWER_MS, answer, sizeof answer) < 0)
        return no_answer(o->session, answer[0] != '\0' ? answer : "no dfreader listens there");
    if (ctl_send(&c, "%s", o->question) < 0)
        return no_answer(o->session, "it has gone");
    uint64_t deadline = mono_us() + (uint64_t)ANSWER_MS * 1000;
    for (;;) {
        char *line;
        while ((line = ctl_line(&c)) != NULL) {
            if (ctl_is(line, "end")) {
                ctl_close(&c);
                return fflush(stdout) == 0 ? EXIT_DONE : EXIT_CANNOT;
            }
            puts(line);
        }
        uint64_t now = mono_us();
        if (now >= deadline)
            return no_answer(o->session, "it does not answer");
        (void)io_wait(c.fd, -1, (int)((deadline - now) / 1000) + 1);
        if (ctl_fill(&c) < 0)
            return no_answer(o->session, "it has gone");
    }
}
