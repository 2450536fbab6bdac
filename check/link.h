/* A connection to one server: requests are queued, replies come back in order, each to the function that
 * waits for it. Whatever goes wrong with it ends the process with status 1: what was not answered was not
 * checked. */
#ifndef CHECK_LINK_H
#define CHECK_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "buf.h"
#include "loop.h"
#include "reply.h"
#include "sock.h"

struct tls;

/* The reply r to the request that was asked with this tag. It may be swapped away (reply_swap). */
typedef void link_got(void *ctx, struct reply *r, uint32_t tag);

struct link_due {
    link_got *got;
    void *ctx;
    uint32_t tag;
    uint8_t keep; /* enum reply_keep */
};

struct link {
    struct transport t;
    struct watch w;
    struct loop *loop;
    char name[320];   /* "source host:port", for messages */
    const char *loss; /* what it means when it is lost, for its message; NULL: nothing more */
    struct buf out;   /* requests that the socket has not taken */
    uint8_t *in;
    size_t in_at, in_end;
    struct reply reply;
    bool begun;           /* reply has been begun */
    struct link_due *due; /* ring of those that wait, oldest at due_at */
    size_t due_at, due_n, due_cap;
    uint32_t db;       /* that is selected */
    uint64_t heard_at; /* mono_us; when something came, or the first of due was asked */
    uint64_t ops;      /* requests asked */
    uint64_t bytes;    /* of replies */
};

/* Connect within timeout_ms. label: "source" or "target". Ends the process when that fails. */
void link_open(struct link *l, struct loop *loop, const struct endpoint *at, const struct tls *tls,
               const char *label, int timeout_ms);
void link_close(struct link *l);

/* A request: begin, then its arguments, then ask. */
void link_begin(struct link *l, size_t argc);
void link_arg(struct link *l, const void *p, size_t n);
void link_str(struct link *l, const char *s);
void link_num(struct link *l, int64_t v);
void link_ask(struct link *l, enum reply_keep keep, link_got *got, void *ctx, uint32_t tag);

/* The requests that follow are for this database. */
void link_select(struct link *l, uint32_t db);

/* Send what was asked, as far as the socket takes it. */
void link_flush(struct link *l);

/* Ends the process if something is due and nothing has come for so long. */
void link_check(const struct link *l, uint64_t now_us, uint64_t silence_us);

/* Ask, and run the loop until the reply is there: for handshakes. It stays in l->reply until the next one. */
struct reply *link_wait(struct link *l, enum reply_keep keep, int timeout_ms);

/* The process ends: the server answered with the error e. */
void link_refused(const struct link *l, const char *what, const struct reply *r, const struct elem *e)
    __attribute__((noreturn));

#endif
