/* Blocking and waiting, the same way in every stage. */
#ifndef DF_IO_H
#define DF_IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* Write everything, waiting where fd does not take it. Returns 0, or -1 with errno (EPIPE: reader gone). */
int io_write_all(int fd, const void *data, size_t n);

/* Write everything at offset at of a file. Returns 0, or -1 with errno. */
int io_write_at(int fd, const void *data, size_t n, uint64_t at);

/* Read exactly n bytes from offset at of a file. Returns 0, or -1 with errno (EIO: the file is shorter). */
int io_read_at(int fd, void *to, size_t n, uint64_t at);

/* Wait until in is readable, timeout_ms (-1 = for ever) has passed, or the reader of out has gone (out -1 =
 * don't look). Returns 1 readable, 0 time is up or a signal came, -1 the reader has gone (errno EPIPE). */
int io_wait(int in, int out, int timeout_ms);

/* The same with a second descriptor (-1: none); *second says whether it is readable. */
int io_wait2(int in, int in2, int out, int timeout_ms, bool *second);

/* Microseconds: wall clock (Unix epoch), and one that never jumps. */
uint64_t now_us(void);
uint64_t mono_us(void);

/* Time from then to now, 0 if then is the later one: two readings of the clock may be compared in either
 * order. */
static inline uint64_t us_since(uint64_t now, uint64_t then)
{
    return now > then ? now - then : 0;
}

int set_nonblock(int fd, bool on);

/* Make a pipe as large as the kernel lets us (at most want bytes). Returns its size or 0 when fd is no pipe.
 */
size_t pipe_enlarge(int fd, size_t want);

/* Bytes written to a pipe or socket that its reader has not taken (of a socket more than the bytes themselves
 * may be counted); -1: fd is neither. */
long io_unread(int fd);

/* open(2) of a file that is named by an option: a symbolic link at its name is followed only if we or root
 * made it. -1 with errno (ELOOP: a link of another user). */
int io_open_own(const char *path, int flags, mode_t mode);

/* The same for stdio; mode "w". NULL with errno. */
FILE *io_fopen_own(const char *path);

/* A new empty file at path for reading and writing, in place of what stands there: nothing is followed. For
 * files that are renamed when they are complete. -1 with errno. */
int io_open_new(const char *path);

/* Raise the limit of open descriptors as far as the system allows: each flow and peer needs one. */
void raise_limits(void);

/* A new unlinked file for data that has to wait, in dir (NULL: $TMPDIR or /tmp). -1 with errno. */
int io_tmpfile(const char *dir);

/* For handlers of stop signals: false if this signal repeats the one before. timeout(1) and shells signal a
 * process and then its group, so two signals within 200 ms count as one. */
bool io_signal_anew(void);

/* 32 hexadecimal digits of randomness and a NUL. */
void random_hex(char out[33]);

#endif
