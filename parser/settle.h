/* What is still to be written behind the last command of an append-only file. */
#ifndef DFP_SETTLE_H
#define DFP_SETTLE_H

struct flow;

/* The keys whose expiries had to wait (late.h) get their true ones. Returns 0, or -1 with errno: they could
 * not all be kept. */
int settle_expiries(struct flow *f);

#endif
