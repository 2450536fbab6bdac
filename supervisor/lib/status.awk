# What is known of a task, from the supervisor's state file, the monitor's progress file, and the answer of the session's
# dfreader (standard input, last). health.awk has the rules, show.awk and json.awk what is made of it. Variables: now; name
# (the task); asked (ok, silent, none: what became of the question); lock (up, orphaned, down: who holds the run
# directory); form:
#   sample  the next progress file, and into the file json_file what json would give
#   text    the task's line, and the answer as it is; line: only the task's line; json: one object
#   human   the task in words; top: a table of its flows
# Exit status: 0 runs and is healthy, 1 does not run, 3 runs with problems.

BEGIN {
    for (i = 0; i < 256; i++)
        hex[code[sprintf("%02x", i)] = sprintf("%c", i)] = sprintf("%02x", i)
    PAUSED = 10 # seconds in which the target takes nothing
    nflows = nsamples = nstages = nchecks = nbases = 0
}

function unescape(s,   out, at) {
    out = ""
    while ((at = index(s, "%")) > 0) {
        out = out substr(s, 1, at - 1) code[tolower(substr(s, at + 1, 2))]
        s = substr(s, at + 3)
    }
    return out s
}

function quote(s,   out, i, c) {
    out = ""
    for (i = 1; i <= length(s); i++) {
        c = substr(s, i, 1)
        if (c == "\"" || c == "\\")
            out = out "\\" c
        else if (c < " ")
            out = out "?"
        else if (c > "~") # bytes, not characters
            out = out "\\u00" hex[c]
        else
            out = out c
    }
    return "\"" out "\""
}

function text(s) { return s == "" ? "null" : quote(unescape(s)) }
function number(s) { return s ~ /^-?[0-9]+$/ ? s : "null" }
function whole(x) { return sprintf("%.0f", x > 0 ? x : 0) }

function stamp(t,   days, rest, y, m, d, era, doe, yoe, doy, mp) { # UTC, by Hinnant's calendar arithmetic
    days = int(t / 86400)
    rest = t - days * 86400
    days += 719468
    era = int(days / 146097)
    doe = days - era * 146097
    yoe = int((doe - int(doe / 1460) + int(doe / 36524) - int(doe / 146096)) / 365)
    doy = doe - (365 * yoe + int(yoe / 4) - int(yoe / 100))
    mp = int((5 * doy + 2) / 153)
    d = doy - int((153 * mp + 2) / 5) + 1
    m = mp < 10 ? mp + 3 : mp - 9
    y = yoe + era * 400 + (m <= 2)
    return sprintf("%04d-%02d-%02dT%02d:%02d:%02dZ", y, m, d, int(rest / 3600), int(rest % 3600 / 60), rest % 60)
}

# ---- what comes in ----

# sample TIME BYTES DELIVERED APPLIED HEAD,HEAD... KEYS
FILENAME != "-" && FILENAME != "" && $1 == "sample" {
    nsamples++
    at[nsamples] = $2 + 0
    bytes_at[nsamples] = $3 + 0
    delivered_at[nsamples] = $4 + 0
    applied_at[nsamples] = $5 + 0
    heads_at[nsamples] = $6
    keys_at[nsamples] = $7 + 0
    next
}

# base STAGE WHAT TIME VALUE: a counter of some seconds ago
FILENAME ~ /\/progress$/ && $1 == "base" {
    old_bases[++nbases] = $0
    if (!($2 in base_at) || $4 + 0 < base_at[$2])
        base_at[$2] = $4 + 0
    if (!(($2, $3) in base))
        base[$2, $3] = $5 + 0
    next
}

FILENAME ~ /\/progress$/ {
    p = index($0, "=")
    old[substr($0, 1, p - 1)] = substr($0, p + 1)
    next
}

FILENAME ~ /\/state$/ {
    p = index($0, "=")
    st[substr($0, 1, p - 1)] = substr($0, p + 1)
    next
}

$1 == "session" {
    answer[++nanswer] = $0
    for (i = 2; i <= NF; i++) {
        p = index($i, "=")
        session[substr($i, 1, p - 1)] = substr($i, p + 1)
    }
}

$1 == "flow" {
    answer[++nanswer] = $0
    for (i = 2; i <= NF; i++) {
        p = index($i, "=")
        flow[nflows, substr($i, 1, p - 1)] = substr($i, p + 1)
    }
    nflows++
}

# The stages, as far as they tell.
$1 == "counters" {
    stage_line[++nstages] = $0
    for (i = 2; i <= NF; i++) {
        p = index($i, "=")
        stage[nstages, substr($i, 1, p - 1)] = substr($i, p + 1)
    }
}

# ---- what follows from it ----

# The entries, or bytes of a Redis' stream, that the target is behind, and since when: seconds since the source was where the target is now.
function measure_lag(   i, j, f, part, n, behind, known) {
    lag = known = 0
    lag_seconds = 0
    for (f = 0; f < nflows; f++) {
        bytes += flow[f, "bytes"]
        applied += flow[f, "applied"]
        heads = heads (f ? "," : "") flow[f, "head"]
        if (flow[f, "lag"] !~ /^[0-9]+$/)
            continue
        known++
        lag += flow[f, "lag"]
        if (flow[f, "lag"] + 0 == 0)
            continue
        behind = nsamples > 0 ? now - at[1] : 0
        for (j = nsamples; j > 0; j--) {
            n = split(heads_at[j], part, ",")
            if (n == nflows && part[f + 1] + 0 <= flow[f, "applied"] + 0) {
                behind = now - at[j]
                break
            }
        }
        if (behind > lag_seconds)
            lag_seconds = behind
    }
    if (known < nflows || nflows == 0)
        lag = lag_seconds = ""
    if (session["heads_age"] + 0 >= 5 && session["alarms"] ~ /master-silent/ && session["heads_age"] + 0 > lag_seconds + 0)
        lag_seconds = session["heads_age"] + 0 # the source does not say how far it is
}

function rate(new, old, dt) { return new > old ? (new - old) / dt : 0 }

# Over the last five seconds, or what is known of them.
function measure_rates(   j) {
    bytes_rate = entries_rate = keys_rate = ""
    for (j = nsamples; j > 0 && now - at[j] < 6.5; j--) {
        if (now - at[j] < 0.5)
            continue
        bytes_rate = rate(bytes, bytes_at[j], now - at[j])
        keys_rate = rate(session["keys"] + 0, keys_at[j], now - at[j])
        if (applied_at[j] > 0)
            entries_rate = rate(applied, applied_at[j], now - at[j])
    }
}

# How much of a full sync is done, and how long the rest takes, where the source has said how much there is: in
# done_percent, done_eta.
function measure_part(   part) {
    done_percent = session["percent"]
    done_eta = session["eta"]
    if (done_percent != "" || phase != "full-sync" || session["total_keys"] + 0 == 0 || session["keys"] + 0 > session["total_keys"] + 0)
        return
    part = session["keys"] / session["total_keys"]
    done_percent = whole(100 * part)
    if (part > 0)
        done_eta = whole(session["phase_seconds"] * (1 / part - 1))
}

# ---- what goes out ----

# Two generations of each counter: the older is what shares are measured from, until it is 10 seconds old.
function put_bases(   i, j, key, what, n, part) {
    n = split("waited_input_us waited_output_us cpu_user_us cpu_system_us", what, " ")
    for (i = 1; i <= nbases; i++) {
        split(old_bases[i], part, " ")
        if (now - part[4] < 10) {
            print old_bases[i]
            if (!(part[2] in newest) || part[4] > newest[part[2]])
                newest[part[2]] = part[4]
        }
    }
    for (i = 1; i <= nstages; i++) {
        key = stage[i, "stage"] ":" stage[i, "flow"] ":" stage[i, "pid"]
        if (key in newest && now - newest[key] < 5)
            continue
        for (j = 1; j <= n; j++)
            if (stage[i, what[j]] != "")
                printf "base %s %s %.3f %s\n", key, what[j], now, stage[i, what[j]]
    }
}

# Older samples may lie further apart: within a sixteenth of their age.
function put_samples(   j, kept) {
    if (asked != "ok")
        return
    for (j = 1; j <= nsamples; j++) {
        if (j > 1 && j < nsamples && at[j + 1] - kept < (now - at[j]) / 16)
            continue
        if (now - at[j] > 86400)
            continue
        kept = at[j]
        put_sample(at[j], bytes_at[j], delivered_at[j], applied_at[j], heads_at[j], keys_at[j])
    }
    put_sample(now, bytes, delivered, applied, heads == "" ? "-" : heads, session["keys"] + 0)
}

function put_sample(t, read, taken, done, ahead, keys) {
    printf "sample %.3f %s %s %s %s %s\n", t, whole(read), whole(taken), whole(done), ahead, whole(keys)
}

function summary(   s) {
    s = phase
    if (phase == "restarting")
        s = s ": " unescape(st["last_error"])
    else if (phase == "full-sync")
        s = s (done_percent == "" ? " flows " session["synced"] "/" session["flows"] : " " done_percent " %")
    else if (phase == "verifying" && session["checked"] != "")
        s = s " keys, pass " session["pass"] ", " session["checked"] " looked for, " session["missing"] " missing"
    else if (phase ~ /^(streaming|catching-up)$/ && lag_seconds != "" && lag_seconds > 5)
        s = s ", behind"
    return s (problems != "" && phase != "restarting" ? " (" problems ")" : "")
}

function put_progress() {
    printf "phase=%s\nsince=%s\nalarms=%s\nflows=%d\ntext=%s\nprogress=%s\n", phase, whole(since), problems, nflows, summary(), progress_words()
    put_samples()
    put_bases()
}

function field(name, value) { if (value != "") out = out " " name "=" value }

function counted(name, n) { field(name, n + 0 > 0 ? n : "") }

function put_line() {
    out = "task name=" name
    field("command", st["command"])
    field("phase", phase)
    field("since", stamp(since))
    field("seconds", whole(now - since))
    field("health", lock == "down" ? "" : problems == "" ? "ok" : problems)
    field("pid", lock == "up" ? st["pid"] : "")
    field("restarts", st["restarts"])
    counted("reconnects", session["reconnects"])
    if (phase == "restarting")
        field("next", st["next_start"] - now > 0 ? whole(st["next_start"] - now) : 0)
    field("percent", done_percent)
    field("eta", done_eta)
    counted("errors", session["errors"])
    counted("not_carried_over", session["lost"])
    counted("doubtful", session["doubtful"])
    counted("evicted", session["evicted"])
    field("target_why", session["target_why"])
    field(in_bytes() ? "lag_bytes" : "lag", lag == "" ? "" : whole(lag))
    field("lag_seconds", lag_seconds == "" ? "" : whole(lag_seconds))
    field("bytes_per_second", bytes_rate == "" ? "" : whole(bytes_rate))
    field("entries_per_second", entries_rate == "" || in_bytes() ? "" : whole(entries_rate))
    field("last_status", st["last_status"])
    field("last_error", st["last_error"])
    field("source", st["source"])
    field("target", st["target"])
    print out
}

# Positions of a Redis are offsets in its stream.
function in_bytes() { return session["unit"] == "bytes" }

END {
    bytes = applied = 0
    measure_lag()
    delivered = bytes - session["queued"]
    measure_rates()
    find_phase()
    if (asked == "ok")
        look_for_pause()
    measure_part()
    check_all()
    if (form == "sample") {
        put_progress()
        if (json_file != "")
            print task_json() > json_file
    } else if (form == "json")
        print task_json()
    else if (form == "human")
        put_human()
    else if (form == "top")
        put_top()
    else
        put_line()
    for (i = 1; i <= nanswer && form == "text"; i++)
        print answer[i]
    exit lock == "down" ? 1 : problems == "" ? 0 : 3
}
