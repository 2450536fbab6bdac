/* A file, a set of files or standard input as the source: what file.c (reading, the end) and file_peers.c
 * (the control socket) share. */
#ifndef READER_FILE_SOURCE_H
#define READER_FILE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "fileset.h"
#include "hub.h"
#include "loop.h"
#include "options.h"
#include "output.h"
#include "record.h"
#include "relay.h"

#define FILE_EPOCH 1u

struct source {
    const struct options *o;
    struct loop loop;
    struct output out;
    struct hub hub;
    bool listening; /* hub is open */
    struct relay relay;
    bool synced[REC_FLOWS_MAX]; /* flows that a parser has read to their end */
    unsigned nsynced;
    struct watch w; /* fd -1: a regular file, always readable */
    struct fileset set;
    unsigned at;  /* file of the set being read, which is its flow */
    uint64_t pos; /* in that file */
    uint64_t began;
    int fd; /* -1: none is open */
    bool readable;
    bool stop;               /* asked for over the control socket */
    bool eof;                /* END is written or on its way */
    uint64_t came_at;        /* mono_us when the reader of the output took its first byte; 0: not yet */
    uint64_t left_at;        /* mono_us when END had left; 0: not yet */
    uint64_t heard_at;       /* mono_us of the last message of a parser or writer */
    unsigned signals_before; /* seen when END was written */
    uint64_t bytes;
    int status;
    const char *reason;
    char message[400];
};

/* Open the control socket. Returns 0, or -1 and why not. */
int file_peers_open(struct source *s, struct hub_observer *observer, char *why, size_t cap);

/* Is the session not over for the peers yet? A parser still needs to hear what the target is, or a writer
 * still writes what was read. Called once END has left. */
bool file_peers_busy(struct source *s);

/* Seconds that reading the rest will take, -1: not known. */
long file_seconds_left(const struct source *s, uint64_t now);

#endif
