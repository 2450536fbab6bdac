/* Another writer of the same task. Connections are named df2redis:TASK:HOST.PID.NS (NS: the process id
 * namespace), so that CLIENT LIST shows who writes to a server. */
#ifndef RW_RIVAL_H
#define RW_RIVAL_H

#include <stdbool.h>
#include <stddef.h>

#define RIVAL_NAME 320

enum rival {
    RIVAL_NONE,  /* no connection of this task */
    RIVAL_GONE,  /* of this process, or its process is gone: only the connection is left */
    RIVAL_ALIVE, /* it runs, or may run, on another machine */
};

struct rival_self {
    char task[128];
    char host[64];
    long pid;
    unsigned long ns;       /* 0: not known */
    bool (*runs)(long pid); /* is this a process of ours that writes? */
};

/* Who this process is. */
void rival_self(struct rival_self *s, const char *task);

/* The name of our connections. */
void rival_name(const struct rival_self *s, char out[RIVAL_NAME]);

/* What a line of CLIENT LIST (n bytes) says. *id: of the connection; who: of whom, for messages. */
enum rival rival_of(const struct rival_self *s, const char *line, size_t n, long long *id,
                    char who[RIVAL_NAME]);

#endif
