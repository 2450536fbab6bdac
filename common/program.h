/* Programs: requests whose keys live in several slots of a cluster, as steps that a writer runs one after the
 * other, each on the master of its slot. dfrecord(5), PROGRAM. dfparse makes them, rediswriter runs them;
 * neither has to know what the other does. Pure functions over buffers. */
#ifndef DF_PROGRAM_H
#define DF_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "resp.h"

#define PROGRAM_STEPS 64u /* at most */
#define PROGRAM_REGS  32u /* registers 1 to 32 */
#define PROGRAM_ARGS  4096u

enum step_flag {
    STEP_MUST = 1,   /* no value: a data error, and the program ends (but for STEP_ALWAYS) */
    STEP_TTL = 2,    /* the reply is a time to live: below 0 counts as the value 0 */
    STEP_ALWAYS = 4, /* runs also after an error: clears up */
};

#define STEP_NOT 0x80 /* in cond: only if the register holds nothing */

struct step {
    uint16_t slot;
    uint8_t cond;  /* 0: always; r: only if register r holds a value; STEP_NOT|r: only if it does not */
    uint8_t keep;  /* register that gets the reply; 0: none */
    uint8_t flags; /* enum step_flag */
    uint16_t argc;
    const uint8_t *args; /* encoded; program_arg takes them one by one */
    size_t len;
};

/* ---- making one: begin, then for each step program_step and its arguments, then end ---- */

struct program {
    struct buf *b; /* payload under way; its bound is the caller's */
    size_t step_at;
    unsigned argc;
    bool failed; /* too large, or too many steps or arguments */
};

void program_begin(struct program *p, struct buf *b);
void program_step(struct program *p, unsigned slot, unsigned cond, unsigned keep, unsigned flags);
void program_bulk(struct program *p, const void *data, size_t n);
void program_str(struct program *p, const char *s);
void program_reg(struct program *p, unsigned reg); /* what the register holds */

/* Returns 0, or -1 when it grew too large. */
int program_end(struct program *p);

/* ---- reading one ---- */

/* Is this exactly one well-formed program? Returns NULL, or what is wrong with it. */
const char *program_check(const uint8_t *p, size_t n);

/* The steps of a program that was checked: start with *at 0; false when there are no more. */
bool program_next(const uint8_t *p, size_t n, size_t *at, struct step *s);

/* The arguments of a step that was checked: start with *at 0. *reg: the register that the argument is the
 * content of, or 0 and *out is the argument. */
bool program_arg(const struct step *s, size_t *at, struct slice *out, unsigned *reg);

/* The slots of its steps, each once. Returns how many. */
unsigned program_slots(const uint8_t *p, size_t n, uint16_t slot[PROGRAM_STEPS]);

#endif
