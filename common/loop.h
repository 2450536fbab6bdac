/* The event loop of a stage: epoll, and signals that ask it to stop. Only loop_wait blocks. Timers are the
 * caller's: it bounds the wait, and looks at the clock after it. */
#ifndef DF_LOOP_H
#define DF_LOOP_H

#include <stdint.h>
#include <sys/epoll.h>

#define LOOP_BATCH 64
#define LOOP_TICK  200 /* ms: the longest that a timer of a stage may be late */

/* Something with a descriptor. ready is called with the epoll events; it may delete any watch, its own too.
 */
struct watch {
    int fd; /* -1: not watched */
    void (*ready)(struct watch *w, uint32_t events);
    void *ctx;
};

struct loop {
    int ep;
    int n;  /* events of the batch that is being delivered */
    int at; /* the one that is being delivered */
    struct epoll_event ev[LOOP_BATCH];
};

/* Ends the process with status 1 when the kernel gives no epoll. */
void loop_init(struct loop *l);
void loop_free(struct loop *l);

/* Watch fd (which the caller keeps owning). Returns 0, or -1 with errno: EPERM for what is always ready. */
int loop_add(struct loop *l, struct watch *w, int fd, uint32_t events);
int loop_mod(struct loop *l, struct watch *w, uint32_t events);

/* Forget w; events of it that were already fetched are dropped. */
void loop_del(struct loop *l, struct watch *w);

/* Wait up to timeout_ms and deliver. A signal ends the wait. */
void loop_wait(struct loop *l, int timeout_ms);

/* SIGINT, SIGTERM and SIGHUP (unless it was ignored) are counted from here on, SIGPIPE is ignored. */
void signals_init(void);
unsigned signals_seen(void);

#endif
