/* Logging: one line per event on stderr, "level=… stage=… flow=… event=… name=value …". Quiet by default:
 * warnings and errors. When stderr is a terminal and a progress line stands there, it is wiped first. */
#ifndef DF_LOG_H
#define DF_LOG_H

#include <stddef.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define NO_FLOW (-1)

/* stage: the program's name; level: the least important that is shown. */
void log_init(const char *stage, enum log_level level);

/* fmt must begin with "event=NAME". A warning that repeats (the same fmt and flow) is shown at most LOG_BURST
 * times within LOG_WINDOW; the next one that is shown counts those left out as suppressed=N. */
#define LOG_BURST  100
#define LOG_WINDOW 60 /* seconds */
void log_event(enum log_level level, int flow, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Bytes as a quoted string that is safe in a log line (at most 200 bytes of them). Returns a pointer to one
 * of four static buffers. */
const char *log_quote(const void *data, size_t n);

/* Text for a message in quotes: replace control bytes, bytes above 0x7e and '"', in place. */
void log_clean(char *text);

/* Show or replace the progress line; nothing happens unless stderr is a terminal. */
void log_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
