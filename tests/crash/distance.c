/* Servers that are far away: relays (delay) through which the pipeline reaches them. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "crash.h"

unsigned distance_to(unsigned port, pid_t *relay)
{
    char to[16], us[24], line[64];
    int sp[2];
    size_t n = 0;
    if (!opt.distance)
        return port;
    if (pipe2(sp, O_CLOEXEC) != 0)
        fail("pipe");
    struct command c = {.in = -1, .out = sp[1], .log = file("delay.log"), .group = 0};
    snprintf(to, sizeof to, "%u", port);
    snprintf(us, sizeof us, "%llu", (unsigned long long)opt.distance * 500); /* one way */
    arg(&c, "delay");
    arg(&c, to);
    arg(&c, us);
    *relay = start(&c);
    close(sp[1]);
    struct pollfd says = {.fd = sp[0], .events = POLLIN};
    for (ssize_t got; n + 1 < sizeof line && memchr(line, '\n', n) == NULL; n += (size_t)got)
        if (poll(&says, 1, 30000) != 1 || (got = read(sp[0], line + n, sizeof line - 1 - n)) <= 0)
            fail("delay does not say its port");
    close(sp[0]);
    line[n] = '\0';
    if (strncmp(line, "port=", 5) != 0)
        fail("delay says %s", line);
    return (unsigned)atoi(line + 5);
}
