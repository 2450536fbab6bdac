/* The connection to one server: which database and keys come next, and how far the flow is. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <bsd/stdlib.h>
#include <bsd/string.h>

#include "exits.h"
#include "io.h"
#include "log.h"
#include "meta.h"
#include "../redis/nodes.h"
#include "scan_source.h"

#define ANSWER_MAX  (60 * US)
#define COUNT_LEAST 10u
#define NODES_EVERY (5 * US) /* once everything was scanned: has a slot moved? */
#define NAMES_AHEAD 2u       /* SCAN replies that may wait to be asked about */

/* ---- the connection ---- */

static void on_ready(struct watch *w, uint32_t events)
{
    struct scan_node *n = w->ctx;
    if (conn_events(&n->conn, events) < 0)
        scan_node_lost(n, errno != 0 ? strerror(errno) : "the server closed the connection");
}

int scan_node_open(struct scan_node *n, struct fault *f)
{
    struct scan_source *s = n->source;
    n->conn.w = (struct watch){.fd = -1, .ready = on_ready, .ctx = n};
    if (conn_open(&n->conn, &s->stream->loop, &n->at, s->stream->o->connect_timeout * 1000, 0, f) < 0)
        return -1;
    (void)conn_raw(&n->conn, NULL, 0); /* replies are read piece by piece */
    conn_in_reset(&n->in);
    n->asked = n->answered = 0;
    n->moved_at = mono_us();
    return 0;
}

/* Behind the FLOW record: what this connection is to do before anything else. */
static void greet(struct scan_node *n)
{
    static const char *const name[] = {"CLIENT", "SETNAME", "df2redis-scan"};
    static const char *const touch[] = {"CLIENT", "NO-TOUCH", "ON"}, *const evict[] = {"CLIENT", "NO-EVICT",
                                                                                       "ON"};
    int rc = conn_auth(&n->conn, &n->at);
    n->conn.out.max = 2 * KEY_NAME_MAX;
    if (rc > 0)
        n->ask[n->asked++ & (ASKS - 1)] = ASK_OK;
    if (rc < 0) {
        scan_node_lost(n, "the server closed the connection");
        return;
    }
    scan_request(n, ASK_PERHAPS, 3, name, 0, NULL);
    scan_request(n, ASK_PERHAPS, 3, touch, 0, NULL);
    scan_request(n, ASK_PERHAPS, 3, evict, 0, NULL);
}

void scan_node_close(struct scan_node *n)
{
    conn_close(&n->conn);
    scan_notes_close(n);
}

void scan_node_free(struct scan_node *n)
{
    scan_node_close(n);
    scan_notes_free(n);
    scan_list_free(n);
    scan_part_free(n);
    wants_free(&n->wants);
    conn_in_free(&n->in);
    buf_free(&n->value);
    buf_free(&n->value_nodes);
    key_out_free(&n->out);
    if (n->in_large)
        spool_free(&n->large);
    n->in_large = n->writing = false;
    n->flow = NULL;
}

/* ---- where the scan is ---- */

static bool parse_place(struct scan_node *n, const char *text)
{
    char db[16];
    const char *colon = strchr(text, ':'), *fault;
    if (text[0] != '@' || colon == NULL || (size_t)(colon - text) > sizeof db - 1 ||
        strlen(colon + 1) >= sizeof n->cursor || colon[1] == '\0' ||
        strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return false;
    memcpy(db, text + 1, (size_t)(colon - text - 1));
    db[colon - text - 1] = '\0';
    uint32_t number = (uint32_t)strtonum(db, 0, UINT32_MAX, &fault);
    if (fault != NULL)
        return false;
    for (unsigned i = 0; i < n->server.dbs; i++)
        if (n->server.db[i] == number) {
            n->at_db = i;
            strlcpy(n->cursor, colon + 1, sizeof n->cursor);
            return true;
        }
    return false;
}

static void begin_pass(struct scan_node *n)
{
    n->at_db = 0;
    strlcpy(n->cursor, "0", sizeof n->cursor);
    n->scanning = true;
    n->again = false;
    n->pass++;
    log_event(LOG_INFO, (int)n->flow->id, "event=scan_begins pass=%u dbs=%u", n->pass, n->server.dbs);
}

static unsigned count_for(const struct scan_source *s)
{
    uint64_t most = s->window / 4;
    unsigned count = s->stream->o->scan_count;
    return most < COUNT_LEAST ? COUNT_LEAST : most < count ? (unsigned)most : count;
}

void scan_node_begin(struct scan_node *n, uint64_t pos, const char *place)
{
    wants_clear(&n->wants);
    n->selected = 0;
    n->scan_asked = n->done = n->missing = false;
    n->error[0] = '\0';
    n->pos = pos;
    n->read = n->placed_read = n->applied_read = n->since_place = 0;
    n->first_place = n->places = 0;
    n->pass = 0;
    n->count = count_for(n->source);
    n->on_way = 0;
    n->value.len = 0;
    n->encoder = (struct encoder){.put = scan_put_value, .ctx = n};
    begin_pass(n);
    n->at_place[0] = '\0';
    if (place != NULL && parse_place(n, place)) {
        log_event(LOG_INFO, (int)n->flow->id, "event=scan_goes_on place=%s", place);
        bool midst = n->at_db > 0 || strcmp(n->cursor, "0") != 0;
        n->again = midst && scan_follows(n->source); /* what was named meanwhile was not heard */
    } else if (place != NULL) {
        log_event(LOG_INFO, (int)n->flow->id, "event=scan_begins_anew place=%s", place);
    }
    greet(n);
    (void)wants_add(&n->wants, WANT_PLACE, false);
}

/* ---- places ---- */

static void note_place(struct scan_node *n)
{
    if (n->places < PLACES)
        n->place[(n->first_place + n->places++) % PLACES] =
            (struct scan_place){.pos = n->pos, .read = n->read};
}

/* What the writers have applied. */
static void take_applied(struct scan_node *n)
{
    uint64_t applied = n->source->session->flows.flow[n->flow->id].applied;
    while (n->places > 0 && n->place[n->first_place].pos <= applied) {
        n->applied_read = n->place[n->first_place].read;
        n->first_place = (n->first_place + 1) % PLACES;
        n->places--;
    }
}

/* Where the keys from here on are: behind the cursor that came with the last reply. */
static void write_place(struct scan_node *n, const struct want *w)
{
    char text[PLACE_TEXT];
    bool end = w->kind == WANT_END && !n->done;
    struct slice place = want_name(&n->wants, w);
    if (place.n > 0)
        snprintf(n->at_place, sizeof n->at_place, "%.*s", (int)(place.n < PLACE_TEXT ? place.n : 0),
                 (const char *)place.p);
    else if (n->at_place[0] == '\0')
        snprintf(n->at_place, sizeof n->at_place, "@%u:%s", n->server.dbs > 0 ? n->server.db[n->at_db] : 0,
                 n->cursor);
    n->pos++;
    strlcpy(text, n->at_place, sizeof text);
    key_out_place(&n->out, n->flow->id, n->source->stream->info.epoch, n->pos, text, end);
    note_place(n);
    n->placed_read = n->read;
    n->done |= end;
    n->flow->moved_at = mono_us();
    n->flow->bytes++;
}

static void want_place(struct scan_node *n, enum want_kind kind)
{
    char text[PLACE_TEXT];
    int len = n->at_db < n->server.dbs
                  ? snprintf(text, sizeof text, "@%u:%s", n->server.db[n->at_db], n->cursor)
                  : snprintf(text, sizeof text, "@0:0");
    if (!wants_name(&n->wants, text, (size_t)len) || !wants_add(&n->wants, kind, false))
        scan_node_lost(n, "more keys are to be read than can be kept");
    n->since_place = 0;
}

/* ---- the pages of a scan ---- */

static void end_pass(struct scan_node *n)
{
    n->scanning = false;
    if (!n->again)
        want_place(n, WANT_END);
    log_event(LOG_INFO, (int)n->flow->id, "event=scan_complete pass=%u keys=%llu", n->pass,
              (unsigned long long)n->read);
    if (n->again)
        begin_pass(n);
}

static void ask_nodes(struct scan_node *n)
{
    static const char *const nodes[] = {"CLUSTER", "NODES"};
    scan_request(n, ASK_NODES, 2, nodes, 0, NULL);
    n->scan_asked = true;
    n->value_nodes.max = (size_t)8 << 20;
    n->value_nodes.len = 0;
}

static void page_ended(struct scan_node *n)
{
    const struct scan_source *s = n->source;
    n->scan_asked = false;
    if (n->reply_cursor_len == 0 || strspn(n->reply_cursor, "0123456789") != n->reply_cursor_len) {
        scan_node_lost(n, "a SCAN reply without a cursor");
        return;
    }
    bool end = strcmp(n->reply_cursor, "0") == 0;
    strlcpy(n->cursor, n->reply_cursor, sizeof n->cursor);
    if (end)
        n->at_db++;
    if (end && n->at_db >= n->server.dbs) {
        if (s->stream->o->url.cluster)
            ask_nodes(n);
        else
            end_pass(n);
    } else if (n->since_place >= s->window / 4 || n->since_place >= 2048) {
        want_place(n, WANT_PLACE);
    }
}

/* A node whose slots are others than at the beginning may have given keys away that had not been read. */
static bool same_slots(const struct scan_node *n)
{
    struct node_line line;
    for (const char *p = (const char *)n->value_nodes.p; nodes_next(&p, &line);)
        if (line.myself)
            return slotset_same(&line.slots, &n->server.slots);
    return false;
}

static void take_nodes(struct scan_node *n, const struct resp_token *t)
{
    if (t->type == 'b')
        (void)buf_add(&n->value_nodes, t->text, t->len);
    if (!t->end)
        return;
    n->scan_asked = false;
    if (t->type == '-' || buf_add(&n->value_nodes, "", 1) < 0) {
        scan_node_lost(n, "CLUSTER NODES was refused");
        return;
    }
    if (!same_slots(n)) { /* masters may have joined: they are found anew */
        scan_node_lost(n, "slots of the cluster have moved, and have to be scanned again");
        return;
    }
    n->nodes_at = mono_us();
    if (n->scanning)
        end_pass(n);
}

/* ---- what comes next ---- */

static bool idle(const struct scan_node *n)
{
    return wants_left(&n->wants) == 0 && n->asked == n->answered && n->part == NULL && !n->writing;
}

static bool select_db(struct scan_node *n, uint32_t db)
{
    char text[16];
    if (db == n->selected)
        return true;
    if (!idle(n))
        return false;
    snprintf(text, sizeof text, "%u", db);
    const char *const argv[] = {"SELECT", text};
    scan_request(n, ASK_OK, 2, argv, 0, NULL);
    n->selected = db;
    return true;
}

static bool within_window(struct scan_node *n)
{
    const struct scan_source *s = n->source;
    if (s->session->control.count[ROLE_WRITER] == 0) { /* nobody says what is applied */
        n->places = 0;
        return true;
    }
    if (n->places >= PLACES - 2)
        return false;
    if (n->read + wants_left(&n->wants) < n->applied_read + s->window)
        return true;
    n->flow->moved_at = mono_us(); /* it is the target that is waited for */
    return false;
}

/* Of changed keys as many are read as are named. */
static bool room_for_places(struct scan_node *n)
{
    if (n->source->session->control.count[ROLE_WRITER] == 0)
        n->places = 0;
    return n->places < PLACES - 2;
}

static void ask_scan(struct scan_node *n)
{
    char count[16];
    snprintf(count, sizeof count, "%u", n->count);
    const char *const argv[] = {"SCAN", n->cursor, "COUNT", count};
    scan_request(n, ASK_SCAN, 4, argv, 0, NULL);
    n->scan_asked = true;
    n->reply_cursor_len = 0;
}

static void feed_listed(struct scan_node *n)
{
    const struct scan_source *s = n->source;
    uint32_t db;
    while (n->conn.open && wants_left(&n->wants) < NAMES_AHEAD * n->count) {
        if (!scan_list_next(n, &db)) {
            if (n->conn.open)
                end_pass(n);
            return;
        }
        if (!within_window(n) || !select_db(n, db))
            return;
        if (!scan_list_take(n))
            scan_node_lost(n, "a key is too long");
        else if (++n->since_place >= s->window / 4 || n->since_place >= 2048)
            want_place(n, WANT_PLACE);
    }
}

static void feed(struct scan_node *n)
{
    uint64_t now = mono_us();
    take_applied(n);
    if (n->list != NULL) {
        if (n->scanning)
            feed_listed(n);
        return;
    }
    bool named = n->notes != NULL && scan_notes_due(n, now);
    if (named && idle(n) && room_for_places(n)) {
        if (select_db(n, scan_notes_db(n))) {
            scan_notes_take(n);
            if (!wants_add(&n->wants, WANT_PLACE, false))
                scan_node_lost(n, "more keys are to be read again than can be kept");
        }
        return;
    }
    if (!n->scanning && n->again && n->done && (n->notes == NULL || scan_notes_ready(n)))
        begin_pass(n);
    if (!n->scanning && !n->scan_asked && n->source->stream->o->url.cluster && idle(n) &&
        us_since(now, n->nodes_at) >= NODES_EVERY)
        ask_nodes(n);
    if (!n->scanning || n->scan_asked || named || (n->notes != NULL && !scan_notes_ready(n)))
        return;
    if (n->at_db >= n->server.dbs) { /* there are no keys at all */
        end_pass(n);
        return;
    }
    bool within = within_window(n);
    if (!within && idle(n) && n->placed_read < n->read) /* keys that were read later have taken places away */
        want_place(n, WANT_PLACE);
    if (wants_left(&n->wants) < NAMES_AHEAD * n->count && within && select_db(n, n->server.db[n->at_db]))
        ask_scan(n);
}

static const struct scan_calls calls = {.page = page_ended, .nodes = take_nodes, .place = write_place};

/* ---- one turn ---- */

static void check_answer(struct scan_node *n)
{
    uint64_t now = mono_us();
    if (n->asked == n->answered || output_full(&n->source->stream->out))
        n->moved_at = now;
    else if (us_since(now, n->moved_at) >= ANSWER_MAX)
        scan_node_lost(n, "the server does not answer");
}

bool scan_node_work(struct scan_node *n)
{
    n->calls = &calls;
    bool more = false;
    for (unsigned turn = 0; turn < 4 && n->conn.open; turn++) {
        if (!scan_take(n))
            break;
        feed(n);
        if (n->conn.open)
            scan_ask_keys(n);
        if (!n->conn.open)
            break;
        int got = conn_in_fill(&n->in, &n->conn);
        more = got > 0;
        if (got < 0) {
            scan_node_lost(n, errno != 0 ? strerror(errno) : "the server closed the connection");
            break;
        }
        if (got == 0)
            break;
        n->moved_at = mono_us();
    }
    if (n->conn.open)
        check_answer(n);
    return more && n->conn.open && !output_full(&n->source->stream->out);
}
