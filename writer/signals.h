/* SIGINT, SIGTERM and SIGHUP: the first one lets the input come to its end, the second one ends at once. */
#ifndef RW_SIGNALS_H
#define RW_SIGNALS_H

/* Returns a descriptor that is readable after a signal: a wait that begins after the look at it ends at once.
 */
int signals_catch(void);

/* So far. */
int signals_seen(void);

/* The event loop has noticed that there was one. */
void signals_woken(void);

#endif
