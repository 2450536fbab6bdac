/* Forms of a log line. Every program makes its lines as logfmt (log.h); this turns one into words for people
 * or into a JSON object. Pure functions over text: dflog uses them, too. */
#ifndef DF_LOG_FORM_H
#define DF_LOG_FORM_H

#include <stddef.h>

#include "buf.h"

/* AUTO: human where standard error is a terminal, otherwise logfmt. */
enum log_form { LOG_FORM_AUTO, LOG_FORM_HUMAN, LOG_FORM_LOGFMT, LOG_FORM_JSON };

/* Their names, for an option; NULL behind the last. */
extern const char *const log_form_words[];

/* Append line (n bytes, without its newline) to b in that form, without a newline. What is no logfmt stays as
 * it is, or becomes the field "message". A buffer at its bound keeps what fits. */
void log_form_line(enum log_form form, const char *line, size_t n, struct buf *b);

#endif
