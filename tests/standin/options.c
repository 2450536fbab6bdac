/* The command line: a table of options, most of which just fill a field of `opt`. */
#include "standin.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum kind { FLAG, NUMBER, TEXT, CALL };

struct def {
    const char *name;
    enum kind kind;
    union {
        bool *flag;
        uint64_t *number;
        char **text;
        bool (*call)(char *value); /* false: the value is no good */
    } to;
};

bool parse_u64(const char *text, uint64_t *value)
{
    uint64_t v = 0;
    if (!*text)
        return false;
    for (; *text; text++) {
        unsigned digit = (unsigned)(unsigned char)*text - '0';
        if (digit > 9 || v > (UINT64_MAX - digit) / 10)
            return false;
        v = v * 10 + digit;
    }
    *value = v;
    return true;
}

/* Index of text in a NULL-terminated list, or -1. */
static int pick(const char *text, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (!strcmp(text, names[i]))
            return i;
    return -1;
}

static bool call_types(char *value)
{
    static const char *const names[] = {"string", "hash", "zset", "list", "set", NULL};
    memset(opt.weight, 0, sizeof opt.weight);
    for (char *save, *part = strtok_r(value, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
        char *weight = strchr(part, '=');
        if (weight)
            *weight++ = '\0';
        int type = pick(part, names);
        if (type < 0)
            return false;
        opt.weight[type] = 1;
        if (weight && (!parse_u64(weight, &opt.weight[type]) || opt.weight[type] > 1000000))
            return false;
    }
    uint64_t all = 0;
    for (unsigned t = 0; t < TYPE_COUNT; t++)
        all += opt.weight[t];
    return all > 0;
}

static bool call_compression(char *value)
{
    static const char *const names[] = {"none", "lz4", "zstd", NULL};
    int i = pick(value, names);
    if (i >= 0)
        opt.compression = (enum compression)i;
    return i >= 0;
}

static bool call_journal_kind(char *value)
{
    static const char *const names[] = {"set", "incr", "rpush", "mixed", NULL};
    int i = pick(value, names);
    if (i >= 0)
        opt.journal_kind = (enum journal_kind)i;
    return i >= 0;
}

static bool call_flush_at(char *value)
{
    return opt.has_flush_at = parse_u64(value, &opt.flush_at);
}

static bool call_full_flow(char *value)
{
    return opt.has_full_flow = parse_u64(value, &opt.full_flow);
}

/* MIN-MAX, or one number for both */
static bool call_split(char *value)
{
    char *dash = strchr(value, '-');
    if (dash)
        *dash++ = '\0';
    if (!parse_u64(value, &opt.split_min) || !parse_u64(dash ? dash : value, &opt.split_max))
        return false;
    return opt.split_min >= 1 && opt.split_max >= opt.split_min;
}

/* MIN-MAX, or one number for both: bytes of a stream. */
static bool call_cut_every(char *value)
{
    char *dash = strchr(value, '-');
    if (dash)
        *dash++ = '\0';
    return parse_u64(value, &opt.cut_min) && parse_u64(dash ? dash : value, &opt.cut_max) &&
           opt.cut_min > 0 && opt.cut_max >= opt.cut_min;
}

/* [flow=N] and [session=K] behind a name, which is cut off from them. */
static bool name_and_session(char *value, uint32_t *flow, uint32_t *session)
{
    char *save;
    *session = 1;
    strtok_r(value, ",", &save);
    for (char *part; (part = strtok_r(NULL, ",", &save)) != NULL;) {
        uint64_t n;
        char *text = strchr(part, '=');
        if (!text || !parse_u64(text + 1, &n) || n > 1000000)
            return false;
        if (!strncmp(part, "session=", 8))
            *session = (uint32_t)n;
        else if (!strncmp(part, "flow=", 5) && flow)
            *flow = (uint32_t)n;
        else
            return false;
    }
    return true;
}

static bool call_cut_at(char *value)
{
    static const char *const names[] = {"rdb",   "token",         "boundary", "command",
                                        "multi", "multi-command", NULL};
    struct placed_cut cut = {0};
    if (opt.placed_cuts == MAX_FAULTS || !name_and_session(value, &cut.flow, &cut.session))
        return false;
    int place = pick(value, names);
    cut.place = (enum place)place;
    opt.placed_cut[opt.placed_cuts++] = cut;
    return place >= 0;
}

static bool call_form(char *value)
{
    static const char *const names[] = {"recorded", "disk", "eof", NULL};
    int i = pick(value, names);
    if (i >= 0)
        opt.form = (enum form)i;
    return i >= 0;
}

#define SET_K "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n"
#define ID_39 "123456789012345678901234567890123456789"

static const char *const wrong_names[] = {
    "short-id",  "long-id",      "no-offset",  "no-id",     "error",      "no-psync",  "noperm",
    "loading",   "nomasterlink", "rdbchannel", "rdb-error", "rdb-length", "short-eof", "garbage",
    "huge-bulk", "huge-array",   "negative",   "unknown",   "select-256", NULL};

static const struct wrong wrongs[] = {
    {.reply = "+FULLRESYNC " ID_39 " 0"},
    {.reply = "+FULLRESYNC " ID_39 "00 0"},
    {.reply = "+FULLRESYNC " ID_39 "0"},
    {.reply = "+CONTINUE xyz"},
    {.reply = "-ERR Can't SYNC while replica is busy"},
    {.reply = "-ERR unknown command 'PSYNC', with args beginning with: '?' '-1' "},
    {.reply = "-NOPERM this user has no permissions to run the 'psync' command"},
    {.reply = "-LOADING Redis is loading the dataset in memory"},
    {.reply = "-NOMASTERLINK Can't SYNC while not connected with my master"},
    {.reply = "+RDBCHANNELSYNC 7"},
    {.transfer = "-ERR BGSAVE failed, replication can't continue"},
    {.transfer = "$99999999999999999999"},
    {.transfer = "$EOF:0123456789"},
    {.stream = "\x80\xff garbage\r\n"},
    {.stream = SET_K "$99999999999999\r\nx"},
    {.stream = "*99999999\r\n$3\r\nSET\r\n"},
    {.stream = SET_K "$-1\r\n"},
    {.stream = "*2\r\n$12\r\nNOSUCHTHING1\r\n$1\r\nk\r\n"},
    {.stream = "*2\r\n$6\r\nSELECT\r\n$3\r\n256\r\n"},
};

static bool call_wrong(char *value)
{
    uint32_t session;
    if (opt.wrongs == MAX_FAULTS || !name_and_session(value, NULL, &session))
        return false;
    int i = pick(value, wrong_names);
    if (i < 0)
        return false;
    opt.wrong[opt.wrongs] = wrongs[i];
    opt.wrong[opt.wrongs++].session = session;
    return true;
}

static bool call_values_of(char *value)
{
    for (char *save, *part = strtok_r(value, ",", &save); part; part = strtok_r(NULL, ",", &save))
        if (opt.values_ports == sizeof opt.values_port / sizeof *opt.values_port ||
            !parse_u64(part, &opt.values_port[opt.values_ports++]))
            return false;
    return opt.values_ports > 0;
}

static bool call_backlog(char *value)
{
    return opt.backlog_given = parse_u64(value, &opt.backlog);
}

static bool call_expect(char *value)
{
    size_t n = 1;
    for (const char *p = value; *p; p++)
        n += *p == ',';
    opt.expect_acks = grab(n * sizeof *opt.expect_acks);
    for (char *save, *part = strtok_r(value, ",", &save); part; part = strtok_r(NULL, ",", &save))
        if (!parse_u64(part, &opt.expect_acks[opt.expect_count++]))
            return false;
    return opt.expect_count == n && n <= MAX_FLOWS;
}

static bool fault_field(struct fault *f, const char *name, const char *value, bool *placed)
{
    uint64_t n;
    if (!strcmp(name, "xor")) {
        char *end;
        unsigned long x = strtoul(value, &end, 16);
        f->xor = (uint8_t)x;
        return *value && !*end && x > 0 && x < 256;
    }
    if (!parse_u64(value, &n))
        return false;
    if (!strcmp(name, "flow") && n < MAX_FLOWS)
        f->flow = (uint32_t)n;
    else if (!strcmp(name, "session") && n < 1000000)
        f->session = (uint32_t)n;
    else if (!strcmp(name, "bytes") || !strcmp(name, "offset")) {
        f->at = n;
        *placed = true;
    } else
        return false;
    return true;
}

/* flow=N | control, bytes=M | offset=M [, xor=HEX] [, session=K] */
static bool add_fault(enum fault_kind kind, char *value)
{
    struct fault f = {.kind = kind, .session = 1, .xor = 0xff};
    bool placed = false;
    if (opt.faults == MAX_FAULTS)
        return false;
    for (char *save, *part = strtok_r(value, ",", &save); part; part = strtok_r(NULL, ",", &save)) {
        char *text = strchr(part, '=');
        if (!text) {
            if (strcmp(part, "control") != 0 || kind != FAULT_CUT)
                return false;
            f.flow = FAULT_CONTROL;
            continue;
        }
        *text++ = '\0';
        if (!fault_field(&f, part, text, &placed))
            return false;
    }
    opt.fault[opt.faults++] = f;
    return placed;
}

static bool call_cut(char *value)
{
    return add_fault(FAULT_CUT, value);
}
static bool call_stall(char *value)
{
    return add_fault(FAULT_STALL, value);
}
static bool call_corrupt(char *value)
{
    return add_fault(FAULT_CORRUPT, value);
}
static bool call_truncate(char *value)
{
    return add_fault(FAULT_TRUNCATE, value);
}

#define IS_FLAG(name, field)                                                                                 \
    {                                                                                                        \
        name, FLAG,                                                                                          \
        {                                                                                                    \
            .flag = &opt.field                                                                               \
        }                                                                                                    \
    }
#define IS_NUMBER(name, field)                                                                               \
    {                                                                                                        \
        name, NUMBER,                                                                                        \
        {                                                                                                    \
            .number = &opt.field                                                                             \
        }                                                                                                    \
    }
#define IS_TEXT(name, field)                                                                                 \
    {                                                                                                        \
        name, TEXT,                                                                                          \
        {                                                                                                    \
            .text = &opt.field                                                                               \
        }                                                                                                    \
    }
#define IS_CALL(name, function)                                                                              \
    {                                                                                                        \
        name, CALL,                                                                                          \
        {                                                                                                    \
            .call = function                                                                                 \
        }                                                                                                    \
    }

static const struct def defs[] = {
    IS_TEXT("capture", capture),
    IS_FLAG("second-session", second_session),
    IS_FLAG("close-at-end", close_at_end),
    IS_FLAG("generate", generate),
    IS_NUMBER("live", live_port),
    IS_NUMBER("live-warm", live_warm),
    IS_NUMBER("live-dbs", live_dbs),
    IS_NUMBER("live-keys", live_keys),
    IS_NUMBER("live-flush", live_flush),
    IS_NUMBER("live-omit", live_omit),
    IS_FLAG("live-safe", live_safe),
    IS_NUMBER("flows", flows),
    IS_NUMBER("keys", keys),
    IS_CALL("types", call_types),
    IS_NUMBER("value-size", value_size),
    IS_NUMBER("elements", elements),
    IS_NUMBER("element-size", element_size),
    IS_NUMBER("expiry", expiry),
    IS_NUMBER("expiry-spread", expiry_spread),
    IS_NUMBER("seed", seed),
    IS_CALL("compression", call_compression),
    IS_NUMBER("blob-size", blob_size),
    IS_NUMBER("journal-rate", journal_rate),
    IS_NUMBER("journal-ops", journal_ops),
    IS_CALL("journal-kind", call_journal_kind),
    IS_NUMBER("big-value", big_value),
    IS_NUMBER("fullsync-journal", fullsync_journal),
    IS_CALL("flush-at", call_flush_at),
    IS_FLAG("flush-before-cut", flush_before_cut),
    IS_TEXT("write-dfs", write_dfs),
    IS_TEXT("write-resp", write_resp),
    IS_TEXT("write-capture", write_capture),
    IS_FLAG("with-journal", with_journal),
    IS_TEXT("bind", bind),
    IS_NUMBER("port", port),
    IS_TEXT("user", user),
    IS_TEXT("password", password),
    IS_TEXT("replid", replid),
    IS_TEXT("last-master", last_master),
    IS_TEXT("df-version", df_version),
    IS_NUMBER("greeting", greeting),
    IS_NUMBER("version-int", version_int),
    IS_NUMBER("loading", loading),
    IS_CALL("backlog", call_backlog),
    IS_FLAG("uncut", uncut),
    IS_FLAG("getack", getack),
    IS_CALL("form", call_form),
    IS_NUMBER("lag", lag),
    IS_CALL("cut-at", call_cut_at),
    IS_CALL("cut-every", call_cut_every),
    IS_CALL("wrong", call_wrong),
    IS_TEXT("acks", acks),
    IS_CALL("values-of", call_values_of),
    IS_FLAG("partial-by-sync", partial_by_sync),
    IS_FLAG("lose-backlog", lose_backlog),
    IS_FLAG("resume-error", resume_error),
    IS_FLAG("resume-lost", resume_lost),
    IS_CALL("full-flow", call_full_flow),
    IS_TEXT("values", values),
    IS_TEXT("dbs", dbs),
    IS_NUMBER("close-at-dump", close_at_dump),
    IS_NUMBER("mute-at-dump", mute_at_dump),
    IS_NUMBER("close-at-scan", close_at_scan),
    IS_NUMBER("omit", omit),
    IS_FLAG("no-scan", no_scan),
    IS_FLAG("old-no-partial", old_no_partial),
    IS_FLAG("replica-error", replica_error),
    IS_FLAG("plain-ok", plain_ok),
    IS_NUMBER("slow", slow),
    IS_CALL("split", call_split),
    IS_CALL("cut-connection", call_cut),
    IS_CALL("stall", call_stall),
    IS_CALL("corrupt", call_corrupt),
    IS_CALL("truncate-at", call_truncate),
    IS_FLAG("never-startstable", never_startstable),
    IS_NUMBER("startstable-delay", startstable_delay),
    IS_NUMBER("filler-rate", filler_rate),
    IS_FLAG("bad-token", bad_token),
    IS_NUMBER("replication-timeout", replication_timeout),
    IS_TEXT("log", log_path),
    IS_CALL("expect-final-acks", call_expect),
    IS_NUMBER("timeout", timeout),
    IS_FLAG("help", help),
    IS_FLAG("version", version),
};
#define DEFS (sizeof defs / sizeof *defs)

static void defaults(void)
{
    opt = (struct options){
        .flows = 1,
        .keys = 1000,
        .value_size = 64,
        .elements = 50,
        .element_size = 8,
        .seed = 1,
        .weight = {[TYPE_STRING] = 1},
        .compression = COMPRESS_LZ4,
        .blob_size = 65536,
        .backlog = 8192,
        .live_warm = 5000,
        .live_dbs = 1,
        .live_keys = 20,
        .filler_rate = 4000000,
        .replication_timeout = 30000,
    };
}

static bool take(const struct def *d, char *value)
{
    switch (d->kind) {
    case FLAG: return *d->to.flag = true;
    case NUMBER: return parse_u64(value, d->to.number);
    case TEXT: *d->to.text = value; return true;
    case CALL: return d->to.call(value);
    }
    return false;
}

static bool is_hex_id(const char *id)
{
    return strlen(id) == REPLID_LEN && strspn(id, "0123456789abcdef") == REPLID_LEN;
}

/* What is wrong with the options as a whole, or NULL. */
static const char *check(void)
{
    bool writes = opt.write_dfs || opt.write_resp || opt.write_capture;
    if (opt.help || opt.version)
        return NULL;
    if ((opt.capture != NULL) + opt.generate + (opt.live_port != 0) != 1)
        return "exactly one of --capture, --generate and --live is needed";
    if (opt.live_port && (opt.live_port > 65535 || opt.live_dbs < 1 || opt.live_dbs > 16 ||
                          opt.live_keys < 1 || opt.backlog < 16))
        return "--live: port, --live-dbs (1 to 16), --live-keys, --backlog (16 or more)";
    if (!opt.generate && writes)
        return "--write-... needs --generate";
    if (opt.flows < 1 || opt.flows > MAX_FLOWS)
        return "--flows must be 1 to 1024";
    if (opt.keys > UINT64_C(1000000000000))
        return "--keys is too large";
    if (opt.value_size > UINT64_C(16) << 20)
        return "--value-size is at most 16 MiB (see --big-value)";
    if (opt.element_size > 65536)
        return "--element-size is at most 65536";
    if (opt.elements < 1 || opt.elements > 1000000)
        return "--elements must be 1 to 1000000";
    if (opt.blob_size < 256 || opt.blob_size > 1 << 20)
        return "--blob-size must be 256 to 1048576";
    if (opt.big_value && opt.big_value < 1024)
        return "--big-value must be at least 1024";
    if (opt.big_value > UINT64_C(1) << 40)
        return "--big-value is too large";
    if (opt.fullsync_journal > 1000000)
        return "--fullsync-journal is at most 1000000";
    if (opt.journal_ops > UINT64_C(1) << 40 || opt.flush_at > UINT64_C(1) << 40)
        return "so many journal entries?";
    if (opt.greeting && (opt.greeting < 3 || opt.greeting > 5))
        return "--greeting must be 3, 4 or 5";
    if (opt.version_int > 1000000)
        return "--version-int is too large";
    if (opt.port > 65535)
        return "--port is at most 65535";
    if (opt.timeout > 1000000 || opt.startstable_delay > 1000000000)
        return "that is too long a time";
    if (opt.slow > UINT64_C(1) << 40 || opt.journal_rate > 1000000000)
        return "that rate is too high";
    if (opt.replication_timeout > 1000000000)
        return "that is too long a time";
    if (opt.user && !opt.password)
        return "--user needs --password";
    if (opt.replid && !is_hex_id(opt.replid))
        return "--replid must be 40 lower-case hex digits";
    if (opt.partial_by_sync && opt.capture)
        return "--partial-by-sync needs --generate or --live";
    if (opt.live_omit && !opt.live_port)
        return "--live-omit needs --live";
    if (opt.omit && !opt.generate)
        return "--omit needs --generate";
    if (opt.second_session && !opt.capture)
        return "--second-session needs --capture";
    return NULL;
}

int options_parse(int argc, char **argv)
{
    static char default_bind[] = "127.0.0.1", default_version[] = "df-v1.40.1";
    struct option longs[DEFS + 1];
    int which = 0, c;
    defaults();
    for (size_t i = 0; i < DEFS; i++)
        longs[i] =
            (struct option){defs[i].name, defs[i].kind == FLAG ? no_argument : required_argument, NULL, 1};
    longs[DEFS] = (struct option){0};
    while ((c = getopt_long(argc, argv, "", longs, &which)) == 1) {
        if (take(&defs[which], optarg))
            continue;
        complain("--%s: bad value", defs[which].name);
        return 2;
    }
    if (c != -1)
        return 2; /* getopt has said why */
    if (optind < argc) {
        complain("unexpected argument %s", argv[optind]);
        return 2;
    }
    if (!opt.bind)
        opt.bind = default_bind;
    opt.version_given = opt.df_version != NULL;
    if (!opt.df_version)
        opt.df_version = default_version;
    if (opt.expect_acks && !opt.timeout)
        opt.timeout = 60;
    const char *wrong = check();
    if (wrong)
        complain("%s (--help tells more)", wrong);
    return wrong ? 2 : 0;
}
