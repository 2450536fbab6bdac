#include "program.h"

#include <string.h>

#include "le.h"

#define HEAD      4u /* steps, zero */
#define STEP_HEAD 12u
#define ARG_REG   0xffffff00u

static void put16(uint8_t *p, unsigned v)
{
    uint16_t n = (uint16_t)v;
    memcpy(p, &n, sizeof n);
}

static void put32(uint8_t *p, size_t v)
{
    uint32_t n = (uint32_t)v;
    memcpy(p, &n, sizeof n);
}

/* ---- making ---- */

void program_begin(struct program *p, struct buf *b)
{
    static const uint8_t head[HEAD];
    *p = (struct program){.b = b};
    b->len = 0;
    p->failed = buf_add(b, head, sizeof head) < 0;
}

static void close_step(struct program *p)
{
    if (p->failed || p->step_at == 0)
        return;
    uint8_t *s = p->b->p + p->step_at;
    put16(s + 6, p->argc);
    put32(s + 8, p->b->len - p->step_at - STEP_HEAD);
}

void program_step(struct program *p, unsigned slot, unsigned cond, unsigned keep, unsigned flags)
{
    uint8_t s[STEP_HEAD] = {0};
    close_step(p);
    if (p->failed)
        return;
    put16(s, slot);
    s[2] = (uint8_t)cond;
    s[3] = (uint8_t)keep;
    s[4] = (uint8_t)flags;
    p->step_at = p->b->len;
    p->argc = 0;
    if (p->b->p[0] == PROGRAM_STEPS || buf_add(p->b, s, sizeof s) < 0)
        p->failed = true;
    else
        p->b->p[0]++;
}

void program_bulk(struct program *p, const void *data, size_t n)
{
    uint8_t len[4];
    put32(len, n);
    if (!p->failed && (n >= ARG_REG || ++p->argc > PROGRAM_ARGS || buf_add(p->b, len, sizeof len) < 0 ||
                       buf_add(p->b, data, n) < 0))
        p->failed = true;
}

void program_str(struct program *p, const char *s)
{
    program_bulk(p, s, strlen(s));
}

void program_reg(struct program *p, unsigned reg)
{
    uint8_t len[4];
    put32(len, ARG_REG | reg);
    if (!p->failed && (++p->argc > PROGRAM_ARGS || buf_add(p->b, len, sizeof len) < 0))
        p->failed = true;
}

int program_end(struct program *p)
{
    close_step(p);
    return p->failed ? -1 : 0;
}

/* ---- reading ---- */

bool program_next(const uint8_t *p, size_t n, size_t *at, struct step *s)
{
    if (*at == 0)
        *at = HEAD;
    if (n - *at < STEP_HEAD)
        return false;
    const uint8_t *h = p + *at;
    *s = (struct step){.slot = le16(h),
                       .cond = h[2],
                       .keep = h[3],
                       .flags = h[4],
                       .argc = le16(h + 6),
                       .args = h + STEP_HEAD,
                       .len = le32(h + 8)};
    *at += STEP_HEAD + s->len;
    return true;
}

bool program_arg(const struct step *s, size_t *at, struct slice *out, unsigned *reg)
{
    if (s->len - *at < 4)
        return false;
    uint32_t len = le32(s->args + *at);
    *at += 4;
    *reg = 0;
    *out = (struct slice){s->args + *at, 0};
    if (len >= ARG_REG) {
        *reg = len & 0xff;
        return true;
    }
    out->n = len;
    *at += len;
    return true;
}

static const char *check_args(const struct step *s)
{
    size_t at = 0;
    unsigned argc = 0;
    while (at < s->len) {
        if (s->len - at < 4)
            return "PROGRAM record whose argument is cut";
        uint32_t len = le32(s->args + at);
        at += 4;
        argc++;
        if (len >= ARG_REG) {
            if ((len & 0xff) == 0 || (len & 0xff) > PROGRAM_REGS)
                return "PROGRAM record with an unknown register";
        } else if (len > s->len - at)
            return "PROGRAM record whose argument is longer than its step";
        else
            at += len;
    }
    return argc == 0 || argc > PROGRAM_ARGS || argc != s->argc
               ? "PROGRAM record with a wrong number of arguments"
               : NULL;
}

const char *program_check(const uint8_t *p, size_t n)
{
    if (n < HEAD || p[0] == 0 || p[0] > PROGRAM_STEPS || p[1] != 0 || p[2] != 0 || p[3] != 0)
        return "PROGRAM record with a wrong head";
    size_t at = HEAD;
    for (unsigned i = 0; i < p[0]; i++) {
        if (n - at < STEP_HEAD)
            return "PROGRAM record that ends within a step";
        const uint8_t *h = p + at;
        if (le32(h + 8) > n - at - STEP_HEAD)
            return "PROGRAM record whose step is longer than the record";
        if (le16(h) > 16383 || (h[2] & ~STEP_NOT) > (int)PROGRAM_REGS || h[2] == STEP_NOT ||
            h[3] > PROGRAM_REGS || h[4] > (STEP_MUST | STEP_TTL | STEP_ALWAYS) || h[5] != 0)
            return "PROGRAM record with a malformed step";
        struct step s;
        (void)program_next(p, n, &at, &s);
        const char *fault = check_args(&s);
        if (fault != NULL)
            return fault;
    }
    return at == n ? NULL : "PROGRAM record with bytes behind its steps";
}

unsigned program_slots(const uint8_t *p, size_t n, uint16_t slot[PROGRAM_STEPS])
{
    struct step step;
    unsigned slots = 0;
    for (size_t at = 0; program_next(p, n, &at, &step);) {
        unsigned i = 0;
        while (i < slots && slot[i] != step.slot)
            i++;
        if (i == slots)
            slot[slots++] = step.slot;
    }
    return slots;
}
