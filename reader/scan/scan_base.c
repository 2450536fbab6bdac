/* What all that read a server share: requests, the key at the head, the loss of the connection. */
#include <stdio.h>
#include <string.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "scan_source.h"

void scan_request(struct scan_node *n, enum scan_ask ask, int argc, const char *const *argv, int at,
                  const struct slice *key)
{
    struct buf *b = &n->conn.out;
    (void)resp_add_array(b, (uint64_t)argc);
    for (int i = 0; i < argc; i++)
        (void)(i == at && key != NULL ? resp_add_bulk(b, key->p, key->n) : resp_add_str(b, argv[i]));
    n->ask[n->asked++ & (ASKS - 1)] = (uint8_t)ask;
}

struct slice scan_name(const struct scan_node *n)
{
    return want_name(&n->wants, want_at(&n->wants, n->wants.head));
}

void scan_write_head(struct scan_node *n, const char *state, int type, int64_t length, int64_t expiry)
{
    static const char *const names[] = {
        [TYPE_STRING] = "string", [TYPE_LIST] = "list",       [TYPE_SET] = "set",    [TYPE_ZSET] = "zset",
        [TYPE_HASH] = "hash",     [TYPE_STREAM] = "commands", [TYPE_OTHER] = "after"};
    const struct want *w = want_at(&n->wants, n->wants.head);
    struct slice name = scan_name(n);
    bool value = strcmp(state, "value") == 0;
    key_out_begin(&n->out, n->flow->id, n->source->stream->info.epoch, now_us(),
                  &(struct key_head){.name = name.p,
                                     .len = name.n,
                                     .db = n->selected,
                                     .state = state,
                                     .error = n->error[0] != '\0' ? n->error : NULL,
                                     .elements = type > 0 ? names[type] : NULL,
                                     .length = length,
                                     .expire_ms = value && n->server.expiretime ? expiry : -1,
                                     .ttl_ms = value && !n->server.expiretime ? expiry : -1,
                                     .live = w->live || n->done});
}

void scan_pop(struct scan_node *n)
{
    const struct want *w = want_at(&n->wants, n->wants.head);
    if (w->kind == WANT_KEY) {
        n->read++;
        n->flow->moved_at = mono_us();
        n->flow->bytes += w->len + 1;
        n->on_way -= w->on_way;
    }
    wants_pop(&n->wants);
    n->missing = false;
    n->error[0] = '\0';
    n->value.len = 0;
}

void scan_node_lost(struct scan_node *n, const char *why)
{
    struct fault f;
    char text[200];
    if (!n->conn.open || n->flow == NULL)
        return;
    strlcpy(text, why, sizeof text);
    bool never = strncmp(text, "NOPERM", 6) == 0 || strncmp(text, "NOAUTH", 6) == 0 ||
                 strncmp(text, "WRONGPASS", 9) == 0 || strncmp(text, "SCAN: NOPERM", 12) == 0 ||
                 strncmp(text, "SCAN: ERR", 9) == 0;
    fault_set(&f, never ? EXIT_CANNOT : EXIT_RETRY, "%s: %s", n->shown, text);
    conn_close(&n->conn);
    flow_lost(n->flow, &f);
}

void scan_node_again(struct scan_node *n, const char *why)
{
    if (!n->again)
        log_event(LOG_WARN, (int)n->flow->id, "event=scan_again error=%s note=%s",
                  log_quote(why, strlen(why)),
                  n->scanning ? "\"another pass over all keys follows this one\""
                              : "\"another pass over all keys\"");
    n->again = true;
}

/* What a full sync that is not complete has brought is brought once more. */
void scan_node_anew(struct scan_node *n, const char *reason)
{
    struct session *session = n->source->session;
    if (session_ending(session) || session->restart_wanted)
        return;
    if (session->flows.synced < session->flows.n && !session->resume.going_on) {
        log_event(LOG_WARN, (int)n->flow->id, "event=restart epoch=%u error=%s",
                  (unsigned)n->source->stream->info.epoch, reason);
        session->restart_wanted = true;
    } else {
        session_full_resync(session, reason);
    }
}
