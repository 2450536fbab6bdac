/* The stream of a history: recordings joined, and where its commands end. */
#include "psync.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

uint64_t history_end(const struct psync_history *h)
{
    return h->start + h->stream.len;
}

bool history_add(struct psync_history *h, uint64_t from, const uint8_t *p, size_t n)
{
    if (from < h->start || from > history_end(h))
        return false;
    size_t at = (size_t)(from - h->start), known = h->stream.len - at;
    size_t same = known < n ? known : n;
    if (same && memcmp(h->stream.p + at, p, same) != 0)
        return false;
    if (n > known)
        buf_put(&h->stream, p + known, n - known);
    return true;
}

/* "<mark>digits\r\n"; 0 if it is cut short, -1 if it is something else. */
static ssize_t count_at(const uint8_t *p, size_t n, char mark, size_t *value)
{
    size_t i = 1, v = 0;
    if (n && p[0] != (uint8_t)mark)
        return -1;
    for (; i < n && p[i] >= '0' && p[i] <= '9' && i < 12; i++)
        v = v * 10 + (size_t)(p[i] - '0');
    if (i + 1 >= n)
        return 0;
    if (i == 1 || p[i] != '\r' || p[i + 1] != '\n')
        return -1;
    *value = v;
    return (ssize_t)i + 2;
}

/* Steps over one command; its name is cut to the room of `name`.  0 if it is cut short, -1 if it is none. */
static ssize_t command_at(const uint8_t *p, size_t n, char name[8])
{
    size_t args, len;
    ssize_t step = count_at(p, n, '*', &args);
    if (step <= 0)
        return step;
    size_t at = (size_t)step;
    for (size_t i = 0; i < args; i++) {
        if ((step = count_at(p + at, n - at, '$', &len)) <= 0)
            return step;
        at += (size_t)step;
        if (n - at < len + 2)
            return 0;
        if (i == 0)
            snprintf(name, 8, "%.*s", (int)(len < 7 ? len : 7), (const char *)p + at);
        at += len + 2;
    }
    return (ssize_t)at;
}

bool history_mark(struct psync_history *h)
{
    size_t at = 0, room = 0;
    bool open = false;
    ssize_t step;
    char name[8];
    while ((step = command_at(h->stream.p + at, h->stream.len - at, name)) > 0) {
        at += (size_t)step;
        if (h->marks == room) {
            room = room ? room * 2 : 256;
            h->mark = reallocarray(h->mark, room, sizeof *h->mark);
            if (!h->mark)
                die("out of memory");
        }
        if (!strcasecmp(name, "MULTI"))
            open = true;
        else if (!strcasecmp(name, "EXEC"))
            open = false;
        h->mark[h->marks++] = (struct psync_mark){h->start + at, open, !strcasecmp(name, "TRIMSLO")};
    }
    return step == 0;
}

/* Index of the first mark at or behind the offset. */
static size_t mark_from(const struct psync_history *h, uint64_t offset)
{
    size_t low = 0, high = h->marks;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (h->mark[mid].end < offset)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

const struct psync_mark *history_trim(const struct psync_history *h, uint64_t from, const char **text,
                                      size_t *n)
{
    for (size_t i = mark_from(h, from + 1); i < h->marks; i++) {
        if (!h->mark[i].trims)
            continue;
        uint64_t begin = i ? h->mark[i - 1].end : h->start;
        *text = (const char *)h->stream.p + (begin - h->start);
        *n = (size_t)(h->mark[i].end - begin);
        return &h->mark[i];
    }
    return NULL;
}

bool history_boundary(const struct psync_history *h, uint64_t offset)
{
    size_t i = mark_from(h, offset);
    return offset == h->start || (i < h->marks && h->mark[i].end == offset && !h->mark[i].open);
}

static bool fits(const struct psync_history *h, size_t i, enum place place)
{
    bool inside = i > 0 && h->mark[i - 1].open;
    switch (place) {
    case PLACE_BOUNDARY: return !h->mark[i].open;
    case PLACE_COMMAND: return !inside && !h->mark[i].open;
    case PLACE_MULTI: return h->mark[i].open;
    case PLACE_MULTI_COMMAND: return inside;
    default: return false;
    }
}

/* Within a command: behind its first byte, and before its last. */
static uint64_t within(const struct psync_history *h, size_t i, uint64_t rng)
{
    uint64_t begin = i ? h->mark[i - 1].end : h->start;
    return begin + 1 + rng % (h->mark[i].end - begin - 1);
}

uint64_t history_place(const struct psync_history *h, enum place place, uint64_t from, uint64_t rng)
{
    size_t first = mark_from(h, from + 1), many = h->marks - first;
    for (size_t tried = 0; tried < many; tried++) {
        size_t i = first + (size_t)((rng + tried) % many);
        if (!fits(h, i, place))
            continue;
        uint64_t at = place == PLACE_COMMAND || place == PLACE_MULTI_COMMAND ? within(h, i, mix64(rng))
                                                                             : h->mark[i].end;
        if (at > from)
            return at;
    }
    return 0;
}
