/* The event loop: inputs, target, control socket, timers. */
#ifndef RW_LOOP_H
#define RW_LOOP_H

struct writer;

/* Apply all records of all inputs. Returns when everything is confirmed, or the run has failed and what
 * was in flight is finished (or 1.5 s have passed). */
void loop_run(struct writer *w);

#endif
