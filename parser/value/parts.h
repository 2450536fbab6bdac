/* Containers taken apart, whatever they are laid out as: lists, sets, sorted sets and hashes. Pure, no I/O.
 */
#ifndef DFP_PARTS_H
#define DFP_PARTS_H

#include "../snapshot/shape.h"
#include "template.h"

/* Who gets the parts. */
struct parts_to {
    /* An element. raw: its bytes, where elements have their own. */
    void (*element)(void *ctx, const struct element *x, const struct slice *raw);

    /* A packed container, or an element that stands for one (list nodes of kind 1), of n elements. True: it
     * is taken as it is. False: its elements follow. odd: what servers would refuse of it, or take wrongly.
     */
    bool (*packed)(void *ctx, const struct slice *raw, uint64_t n, const struct odd *odd);
};

struct parts {
    const struct shape *shape;
    const struct parts_to *to;
    void *ctx;
    struct template_read template; /* known: set by the caller after parts_begin */
    bool based, counted;
    bool alone;         /* nothing else is taken apart meanwhile: elements that are there twice are found */
    bool twice;         /* one was, and was left out */
    uint64_t base;      /* of its expiries */
    uint64_t left;      /* elements or nodes still to come */
    const char *damage; /* what was expected of the content; nothing is told to anybody from there on */
};

void parts_begin(struct parts *w, const struct shape *shape, const struct parts_to *to, void *ctx);

/* Take what there is. GOT: complete, also where it is damaged. */
enum got parts_feed(struct parts *w, struct cur *c, struct scratch *s);

#endif
