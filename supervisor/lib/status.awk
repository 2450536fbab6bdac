# What is known of a task, from the supervisor's state file, the monitor's progress file, and the answer of the session's
# dfreader (standard input, last). Variables: now; name (the task); asked (ok, silent, none: what became of the
# question); lock (up, orphaned, down: who holds the run directory); form:
#   sample  the next progress file
#   text    the task's line, and the answer as it is; line: only the task's line; json: one object
# Exit status: 0 runs and is healthy, 1 does not run, 3 runs with problems.

BEGIN {
    for (i = 0; i < 256; i++)
        code[sprintf("%02x", i)] = sprintf("%c", i)
    PAUSED = 10 # seconds in which the target takes nothing
    nflows = nsamples = 0
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

FNR == 1 { nfile++ }

# sample TIME BYTES DELIVERED APPLIED HEAD,HEAD...
FILENAME != "-" && FILENAME != "" && $1 == "sample" {
    nsamples++
    at[nsamples] = $2 + 0
    bytes_at[nsamples] = $3 + 0
    delivered_at[nsamples] = $4 + 0
    applied_at[nsamples] = $5 + 0
    heads_at[nsamples] = $6
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

# ---- what follows from it ----

function problem(what) { problems = problems (problems == "" ? "" : ",") what }

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
    bytes_rate = entries_rate = ""
    for (j = nsamples; j > 0 && now - at[j] < 6.5; j--) {
        if (now - at[j] < 0.5)
            continue
        bytes_rate = rate(bytes, bytes_at[j], now - at[j])
        if (applied_at[j] > 0)
            entries_rate = rate(applied, applied_at[j], now - at[j])
    }
}

# Something waits, and for a while nothing has gone on: in the stable sync what counts is what is applied, before that
# what the next stage takes.
function look_for_pause(   j, since) {
    if (session["queued"] + 0 == 0 && lag + 0 == 0)
        return
    since = now
    for (j = nsamples; j > 0 && applied_at[j] == applied && (applied > 0 || delivered_at[j] == delivered); j--)
        since = at[j]
    if (now - since >= PAUSED)
        problem("target-paused")
}

function running_phase(   s) {
    s = session["phase"]
    if (asked != "ok")
        return asked == "silent" && old["phase"] ~ /^(full-sync|verifying|catching-up|streaming)$/ ? old["phase"] : "starting"
    if (s == "fullsync" || s == "starting")
        return "full-sync"
    if (s == "ending" && session["percent"] != "") # a file was read, and is still being written
        return "full-sync"
    if (s == "ending" || s == "linger" || s == "done")
        return "stopping"
    if (s == "verifying")
        return s
    if (s != "stable")
        return "starting"
    return caught_up() ? "streaming" : "catching-up"
}

# Every flow is applied up to where its source was some seconds ago.
function caught_up(   f) {
    if (lag_seconds + 0 > 5)
        return 0
    for (f = 0; f < nflows; f++)
        if (flow[f, "synced"] != 1 || (flow[f, "applied"] + 0 == 0 && flow[f, "lag"] !~ /^[0-9]/)) # an offset may be 0
            return 0
    return session["synced"] == session["flows"]
}

function find_phase() {
    phase = st["phase"] == "" ? "stopped" : st["phase"]
    if (form == "sample")
        lock = "up"
    if (lock == "down" && phase !~ /^(stopped|failed)$/) {
        phase = "failed"
        st["last_error"] = "everything%20of%20it%20was%20killed"
    } else if (lock == "orphaned") {
        phase = running_phase()
        problem("orphaned")
    } else if (lock == "up" && phase == "running") {
        phase = running_phase()
    } else if (lock == "up" && form != "sample" && phase ~ /^(stopped|failed)$/) {
        phase = "stopping" # it ends just now
    }
    since = phase == old["phase"] ? old["since"] : phase == st["phase"] ? st["phase_since"] : now
    if (phase == st["phase"] && st["phase_since"] != "")
        since = st["phase_since"]
    since = int(since)
    if (phase == "restarting")
        problem("restarting")
    if (asked == "silent")
        problem("no-answer")
    if (session["alarms"] != "")
        problem(session["alarms"])
    if (st["data_errors"] == 1 && problems !~ /data-errors|not-carried-over/)
        problem("data-errors-before")
}

# ---- what goes out ----

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
        printf "sample %.3f %s %s %s %s\n", at[j], whole(bytes_at[j]), whole(delivered_at[j]), whole(applied_at[j]), heads_at[j]
    }
    printf "sample %.3f %s %s %s %s\n", now, whole(bytes), whole(delivered), whole(applied), heads
}

function summary(   s) {
    s = phase
    if (phase == "restarting")
        s = s ": " unescape(st["last_error"])
    else if (phase == "full-sync")
        s = s (session["percent"] == "" ? " flows " session["synced"] "/" session["flows"] : " " session["percent"] " %")
    else if (phase == "verifying" && session["checked"] != "")
        s = s " keys, pass " session["pass"] ", " session["checked"] " looked for, " session["missing"] " missing"
    else if (phase ~ /^(streaming|catching-up)$/ && lag_seconds != "" && lag_seconds > 5)
        s = s ", behind"
    return s (problems != "" && phase != "restarting" ? " (" problems ")" : "")
}

function put_progress() {
    printf "phase=%s\nsince=%s\nalarms=%s\nflows=%d\ntext=%s\n", phase, whole(since), problems, nflows, summary()
    put_samples()
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
    field("percent", session["percent"])
    field("eta", session["eta"])
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

function list_json(s,   n, part, i, out) {
    n = split(s, part, ",")
    for (i = 1; i <= n; i++)
        out = out (i > 1 ? "," : "") quote(part[i])
    return "[" out "]"
}

function time_json(t) { return t + 0 > 0 ? quote(stamp(t)) : "null" }
function measure(x) { return x == "" ? "null" : whole(x) }
function truth(x) { return x + 0 ? "true" : "false" }

function flow_json(f) {
    return sprintf("{\"flow\":%s,\"state\":%s,\"bytes\":%s,\"cut\":%s,\"synced\":%s,\"applied\":%s,\"acked\":%s,\"head\":%s,\"lag\":%s,\"silent\":%s,\"reconnects\":%s}",
        number(flow[f, "flow"]), text(flow[f, "state"]), number(flow[f, "bytes"]), truth(flow[f, "cut"]),
        truth(flow[f, "synced"]), number(flow[f, "applied"]), number(flow[f, "acked"]), number(flow[f, "head"]),
        number(flow[f, "lag"]), number(flow[f, "silent"]), number(flow[f, "reconnects"]))
}

# What the writer says: its counters of this run, and how the target is.
function target_json() {
    return sprintf("\"errors\":%s,\"not_carried_over\":%s,\"doubtful\":%s,\"evicted\":%s,\"target\":%s,\"target_seconds\":%s,\"target_why\":%s",
        number(session["errors"]), number(session["lost"]), number(session["doubtful"]), number(session["evicted"]),
        text(session["target"]), number(session["target_seconds"]), text(session["target_why"]))
}

function session_json() {
    if (asked != "ok")
        return "null"
    return sprintf("{\"phase\":%s,\"pid\":%s,\"epoch\":%s,\"flows\":%s,\"cut\":%s,\"synced\":%s,\"bytes\":%s,\"queued\":%s,\"source_reconnects\":%s,\"seconds\":%s,\"percent\":%s,\"eta_seconds\":%s,\"version\":%s,\"replid\":%s,\"verify\":%s,\"checked\":%s,\"missing\":%s,%s}",
        text(session["phase"]), number(session["pid"]), number(session["epoch"]), number(session["flows"]),
        number(session["cut"]), number(session["synced"]), number(session["bytes"]), number(session["queued"]), number(session["reconnects"]),
        number(session["seconds"]), number(session["percent"]), number(session["eta"]), text(session["version"]), text(session["replid"]),
        text(session["verify"]), number(session["checked"]), number(session["missing"]), target_json())
}

function put_json(   f, flows) {
    for (f = 0; f < nflows; f++)
        flows = flows (f ? "," : "") flow_json(f)
    printf "{\"task\":%s,\"command\":%s,\"phase\":%s,\"running\":%s,\"healthy\":%s,\"problems\":%s,", quote(name),
        text(st["command"]), quote(phase), truth(lock != "down"), truth(lock != "down" && problems == ""), list_json(problems)
    printf "\"since\":%s,\"since_seconds\":%s,\"started\":%s,\"pid\":%s,\"restarts\":%s,\"next_start\":%s,", time_json(since),
        whole(now - since), time_json(st["started"]), lock == "up" ? number(st["pid"]) : "null", number(st["restarts"]),
        time_json(st["next_start"])
    printf "\"last_status\":%s,\"last_error\":%s,\"source\":%s,\"target\":%s,\"log_file\":%s,", number(st["last_status"]),
        text(st["last_error"]), text(st["source"]), text(st["target"]), text(st["log_file"])
    printf "\"lag_entries\":%s,\"lag_bytes\":%s,\"lag_seconds\":%s,\"bytes_per_second\":%s,\"entries_per_second\":%s,",
        measure(in_bytes() ? "" : lag), measure(in_bytes() ? lag : ""), measure(lag_seconds), measure(bytes_rate),
        measure(in_bytes() ? "" : entries_rate)
    printf "\"session\":%s,\"flows\":[%s]}\n", session_json(), flows
}

END {
    bytes = applied = 0
    measure_lag()
    delivered = bytes - session["queued"]
    measure_rates()
    find_phase()
    if (asked == "ok")
        look_for_pause()
    if (form == "sample")
        put_progress()
    else if (form == "json")
        put_json()
    else
        put_line()
    for (i = 1; i <= nanswer && form == "text"; i++)
        print answer[i]
    exit lock == "down" ? 1 : problems == "" ? 0 : 3
}
