/* Logging: one line per event on stderr, "level=… stage=… flow=… event=… name=value …". Quiet by default:
 * warnings and errors. On a terminal the progress line is wiped first. */
#ifndef DF_LOG_H
#define DF_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "log_form.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define NO_FLOW (-1)

/* How lines are shown (log_form.h); before this is called, and with LOG_FORM_AUTO: words on a terminal, else
 * logfmt. */
void log_set_form(enum log_form form);
enum log_form log_get_form(void);

/* stage: the program's name; level: the least important that is shown. */
void log_init(const char *stage, enum log_level level);

/* fmt must begin with "event=NAME". A warning that repeats (the same fmt and flow) is shown at most LOG_BURST
 * times within LOG_WINDOW; the next one that is shown counts those left out as suppressed=N. */
#define LOG_BURST  100
#define LOG_WINDOW 60 /* seconds */
void log_event(enum log_level level, int flow, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A line of level info that is shown whatever the level is. */
void log_note(int flow, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Bytes as a quoted string that is safe in a log line (at most 200 bytes of them). Returns a pointer to one
 * of four static buffers. */
const char *log_quote(const void *data, size_t n);

/* Text for a message in quotes: replace control bytes, bytes above 0x7e and '"', in place. */
void log_clean(char *text);

/* Standard error is a terminal. */
bool log_on_terminal(void);

/* Show or replace the progress line; nothing happens unless stderr is a terminal. */
void log_progress(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#endif
