/* Passing over values that Redis, or this target, cannot hold, whatever their size. */
#include "shape.h"

/* Layouts of 33 to 37 as programs: l = plen, 8 = eight bytes; then the filters that the last plen counted: F
 * = plen and string, P = plen and pieces, p = pieces; C = the counters of a count-min sketch, H = heap of
 * (string, plen), B = plen bytes. */
static const char *const programs[] = {"l88llllF", "l88llllP", "lllC", "llll8lHB", "lllllllp"};

/* Redis' array: count, flag, [insert index], then A = (index, tag, payload) for each. rdb(5), Arrays. */
static const char array_program[] = "lfA";

/* KeyDB's scripts: the text, begin, interval, then S = the strings that were counted: keys, arguments. */
static const char cron_program[] = "s88lSlS";

/* Take the next plen of the program. */
static enum got skip_plen(struct value *v, struct cur *c)
{
    uint64_t n;
    enum got g = cur_plen(c, &n);
    if (g != GOT)
        return g;
    v->before[1] = v->before[0];
    v->before[0] = v->left;
    v->left = n;
    v->step++;
    return GOT;
}

/* The counters of a count-min sketch: width x depth, the two plens before the last, of eight bytes each. */
static enum got skip_counters(struct value *v, struct cur *c)
{
    uint64_t width = v->before[1], depth = v->before[0];
    if (depth != 0 && width > ((uint64_t)1 << 40) / depth)
        return cur_bad(c, "a sketch of a possible size");
    v->skip = width * depth * 8;
    v->step++;
    return GOT;
}

/* Pass over v->skip raw bytes as they come. */
static enum got skip_raw(struct value *v, struct cur *c)
{
    uint64_t n = cur_left(c) < v->skip ? cur_left(c) : v->skip;
    c->p += n;
    v->skip -= n;
    return v->skip > 0 ? cur_need(c, 1) : GOT;
}

/* A string of which only the head must be there. */
static enum got skip_pstr(struct value *v, struct cur *c)
{
    struct pstr ps;
    bool plain;
    uint64_t n = 0;
    enum got g = cur_pstr_head(c, &n, &plain);
    if (g != GOT)
        return g;
    if (!plain)
        return cur_pstr(c, &ps);
    v->skip = n;
    return GOT;
}

/* Pieces of v->pieces bytes in all: (plen, bytes) again and again. */
static enum got skip_piece(struct value *v, struct cur *c)
{
    uint64_t n;
    enum got g = cur_plen(c, &n);
    if (g != GOT)
        return g;
    if (n == 0 || n > v->pieces)
        return cur_bad(c, "a piece that fits its filter");
    v->pieces -= n;
    v->skip = n;
    return GOT;
}

/* One filter: [hash count] and its bits. */
static enum got skip_filter(struct value *v, struct cur *c, char kind)
{
    struct cur t = *c;
    uint64_t unused, total = 0;
    enum got g = kind == 'p' ? GOT : cur_plen(&t, &unused);
    if (g == GOT && kind == 'F')
        g = skip_pstr(v, &t);
    else if (g == GOT && (g = cur_plen(&t, &total)) == GOT)
        v->pieces = total;
    if (g == GOT)
        v->left--;
    return cur_settle(c, &t, g);
}

static enum got skip_heap(struct value *v, struct cur *c)
{
    struct cur t = *c;
    struct pstr ps;
    uint64_t n;
    enum got g = cur_pstr(&t, &ps);
    if (g == GOT)
        g = cur_plen(&t, &n);
    if (g == GOT)
        v->left--;
    return cur_settle(c, &t, g);
}

/* The flag: 1 announces an insert index. The count moves back to left. */
static enum got skip_flag(struct value *v, struct cur *c)
{
    struct cur t = *c;
    uint64_t flag, index;
    enum got g = cur_plen(&t, &flag);
    if (g == GOT && flag == 1)
        g = cur_plen(&t, &index);
    if (g == GOT && flag > 1)
        g = cur_bad(&t, "an array's flag of 0 or 1");
    if (g == GOT)
        v->step++;
    return cur_settle(c, &t, g);
}

/* One element of an array: tag 0 and 3 a string, 1 and 2 eight bytes. */
static enum got skip_array(struct value *v, struct cur *c)
{
    struct cur t = *c;
    uint64_t index, tag = 0;
    enum got g = cur_plen(&t, &index);
    if (g == GOT)
        g = cur_plen(&t, &tag);
    if (g == GOT && tag > 3)
        g = cur_bad(&t, "an array element's tag of 0 to 3");
    else if (g == GOT && (tag == 0 || tag == 3))
        g = skip_pstr(v, &t);
    else if (g == GOT)
        v->skip = 8;
    if (g == GOT)
        v->left--;
    return cur_settle(c, &t, g);
}

static enum got skip_step(struct value *v, struct cur *c, char op)
{
    const uint8_t *p;
    enum got g = GOT;
    switch (op) {
    case 'l': return skip_plen(v, c);
    case 'f': return skip_flag(v, c);
    case 's': g = skip_pstr(v, c); break;
    case 'S':
        if (v->left > 0) {
            if ((g = skip_pstr(v, c)) == GOT)
                v->left--;
            return g;
        }
        break;
    case 'A':
        if (v->left > 0)
            return skip_array(v, c);
        break;
    case '8': g = cur_raw(c, 8, &p); break;
    case 'F':
    case 'P':
    case 'p':
        if (v->left > 0)
            return skip_filter(v, c, op);
        break;
    case 'H':
        if (v->left > 0)
            return skip_heap(v, c);
        break;
    case 'B': g = cur_plen(c, &v->skip); break;
    default: return skip_counters(v, c);
    }
    if (g == GOT)
        v->step++;
    return g;
}

enum got skip_feed(struct value *v, struct cur *c)
{
    const char *program = v->type == T_REDIS + 28   ? array_program
                          : v->type == T_REDIS + 64 ? cron_program
                                                    : programs[v->type - 33];
    for (;;) {
        enum got g = skip_raw(v, c);
        if (g == GOT && v->pieces > 0)
            g = skip_piece(v, c);
        else if (g == GOT && program[v->step] == '\0')
            return GOT;
        else if (g == GOT)
            g = skip_step(v, c, program[v->step]);
        if (g != GOT)
            return g;
    }
}

enum got skip_scan(unsigned type, struct cur *c)
{
    struct value v = {.type = type};
    return skip_feed(&v, c);
}
