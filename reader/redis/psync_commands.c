#include <string.h>

#include "command_list.h"
#include "log.h"
#include "psync_source.h"

void psync_commands(struct psync_common *c, struct stream *st, const struct url *at)
{
    struct fault f;
    c->commands.max = DATA_MAX;
    if (!c->listed && command_list(st->o, at, &c->commands, &f) < 0)
        log_event(LOG_INFO, NO_FLOW,
                  "event=commands_unknown error=%s note=\"commands that dfparse does not know are "
                  "reported, and not read again\"",
                  log_quote(f.text, strlen(f.text)));
    c->listed = true;
    if (c->commands.len > 0)
        (void)stream_commands(st, &c->commands); /* a failure is noticed in the next turn */
}
