/* Output for people and other tools: records as JSON lines, as bare RESP, or nothing. */
#ifndef DFP_RENDER_H
#define DFP_RENDER_H

#include "emit.h"

/* Show one record whose payload was just formatted at payload; it may be overwritten afterwards. The record
 * is not part of the output by itself. */
void render(struct emit *e, const struct rec *r, const uint8_t *payload);

/* At the end of a stream: what had to wait for other flows. Returns how many requests could never be written
 * since a FLUSH did not arrive on every flow. */
uint64_t render_end(struct emit *e);

/* A session with so many flows begins (for --resp: FLUSHALL comes on each of them). */
void render_session(struct emit *e, unsigned flows);

/* One line of the file of reports. */
void render_report(struct emit *e, const struct origin *o, bool lost, const char *kind, const uint8_t *key,
                   size_t n, const char *detail);

void render_free(struct emit *e);

#endif
