/* Options and the source that the arguments name. dfreader(1). */
#ifndef READER_OPTIONS_H
#define READER_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "log_form.h"
#include "tls.h"
#include "url.h"

enum mode {
    MODE_SESSION, /* session and control socket; flows here or, with session_only, in other processes */
    MODE_FLOW,    /* one flow of another process's session */
    MODE_ASK,     /* a question to a running session */
};

enum from { FROM_MASTER, FROM_REPLICA, FROM_ANY }; /* which of those that sentinels know */

enum scan_values { VALUES_DUMP, VALUES_COMMANDS };

enum acknowledge { ACK_BEHIND, ACK_EXACT };

enum truncated { TRUNCATED_FAIL, TRUNCATED_OK }; /* an append-only file whose end is cut off */

enum full_resync { FULL_FAIL, FULL_FLUSH, FULL_OVERWRITE }; /* the latter two are the writer's to carry out */

struct options {
    enum mode mode;
    struct url url;      /* a live source */
    char shown[320];     /* the source without secrets, for messages */
    const char *file;    /* path, "-" stdin; NULL: a live source */
    const char *output;  /* "-", path or unix:PATH */
    const char *control; /* NULL: a default path is made */
    const char *session; /* MODE_FLOW, MODE_ASK: the session's control socket */
    const char *question;
    const char *password_file;
    const char *spool; /* NULL: none, or with a Redis the default place */
    bool no_spool;
    struct tls_options tls;
    const char *spill_dir; /* NULL: $TMPDIR or /tmp */
    unsigned flow;
    bool session_only;
    bool until_synced;
    bool resume;
    bool no_verify;
    bool scan; /* the source is read by SCAN; of that, as the next: */
    bool follow;
    bool set_notifications;
    unsigned scan_count;
    uint64_t scan_window;  /* keys; 0: by their number */
    const char *scan_keys; /* file that names those to be read; NULL: all */
    uint64_t scan_rate;    /* keys per second; 0: no limit */
    uint64_t scan_bytes;   /* the same */
    uint64_t scan_large;   /* bytes from which a value is read in parts */
    enum scan_values scan_values;
    unsigned verify_rate; /* keys per second */
    enum full_resync on_full_resync;
    enum acknowledge acknowledge; /* to a Redis: all that is applied, or a byte less */
    enum from from;
    const char *sentinel_user; /* NULL: none */
    const char *sentinel_password_file;
    char sentinel_password[512];
    bool one_file; /* of a file: not the set that the file belongs to */
    enum truncated truncated;
    uint64_t until_time; /* of an append-only file: Unix time up to which it is read; 0: all of it */
    int stall_timeout;   /* seconds, as the next five */
    int barrier_timeout;
    int ping_timeout;
    int parser_timeout;
    int connect_timeout;
    int reconnect_timeout; /* 0: a connection that is lost ends the session */
    size_t buffer;
    uint64_t spill_max;
    uint64_t spool_max;
    int verbose;
    enum log_form log_form;
    bool no_progress;
    bool check_only; /* the options are all that is wanted */
};

/* Fill in o from the command line and from -c FILE. Ends the process for --help, --version and on wrong
 * usage. Secrets in argv are overwritten. */
void options_parse(struct options *o, int argc, char **argv);

#endif
