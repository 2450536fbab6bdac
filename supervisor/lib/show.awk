# A task in words, and as a table of its flows.

function span(s) {
    s = int(s)
    if (s < 120)
        return s " s"
    if (s < 7200)
        return int(s / 60) " min"
    if (s < 172800)
        return int(s / 3600) " h " int(s % 3600 / 60) " min"
    return int(s / 86400) " d " int(s % 86400 / 3600) " h"
}

function size(n) {
    n += 0
    if (n < 1e4)
        return whole(n) " B"
    if (n < 1e6)
        return sprintf("%.1f kB", n / 1e3)
    if (n < 1e9)
        return sprintf("%.1f MB", n / 1e6)
    return sprintf("%.1f GB", n / 1e9)
}

function grouped(n,   out) { # 1234567 is 1,234,567
    n = whole(n)
    while (length(n) > 3) {
        out = "," substr(n, length(n) - 2) out
        n = substr(n, 1, length(n) - 3)
    }
    return n out
}

# Nothing that a terminal would take for a command.
function plain(s) {
    s = unescape(s)
    gsub(/[^ -~]/, "?", s)
    return s
}

function row(label, value) { if (value != "") printf "  %-12s %s\n", label, value }

function health_word() {
    return lock == "down" ? "" : problems == "" ? ", healthy" : ", " (problems ~ /,/ ? "with problems" : "with a problem")
}

function moved_words(   s) {
    if (session["keys"] + 0 > 0)
        s = grouped(session["keys"]) " keys" (session["total_keys"] + 0 >= session["keys"] + 0 ? " of " grouped(session["total_keys"]) : "") ", "
    s = s size(bytes) " read"
    if (bytes_rate != "")
        s = s ", now " size(bytes_rate) "/s"
    if (keys_rate + 0 > 0)
        s = s ", " grouped(keys_rate) " keys/s"
    return s
}

function part_words() {
    if (done_percent == "" || phase != "full-sync")
        return ""
    return done_percent " %" (done_eta == "" ? "" : ", about " span(done_eta) " left")
}

function lag_words() {
    if (lag == "" || phase !~ /^(streaming|catching-up|verifying|stopping)$/)
        return ""
    if (lag + 0 == 0)
        return "nothing: the target has everything"
    return (in_bytes() ? size(lag) : grouped(lag) " entries") ", " span(lag_seconds + 0)
}

# One line, for a terminal and the log.
function progress_words(   s) {
    s = phase
    if (part_words() != "")
        s = s "  " part_words()
    if (asked == "ok")
        s = s "  " moved_words()
    if (lag != "" && phase ~ /^(streaming|catching-up)$/)
        s = s "  behind: " lag_words()
    return s (problems == "" ? "" : "  (" problems ")")
}

function put_problems(   n, part, i) {
    n = split(problems, part, ",")
    for (i = 1; i <= n; i++) {
        row(i == 1 ? "PROBLEM" : "", part[i] ": " meaning(part[i]))
        row("", todo_of[part[i]] == "" ? "" : "-> " todo_of[part[i]])
    }
    if (session["target_why"] != "")
        row("target says", plain(session["target_why"]))
}

# Of the health table what is not well, and all of it in top.
function put_checks(all,   i) {
    for (i = 1; i <= nchecks; i++)
        if (all || (check_level[i] != "healthy" && check_name[i] != "data"))
            row(check_level[i], check_name[i] ": " check_text[i])
}

function put_head() {
    printf "task %s: %s for %s%s\n", name, phase, span(now - since), health_word()
    row("from", plain(st["source"]))
    row("to", plain(st["target"]))
    if (asked == "ok") {
        row("moved", moved_words())
        row("done", part_words())
        row("behind", lag_words())
    }
    put_problems()
    if (st["restarts"] + 0 > 0)
        row("restarts", st["restarts"] (phase == "restarting" ? ", the next in " span(st["next_start"] - now > 0 ? st["next_start"] - now : 0) : ""))
    if (phase ~ /^(failed|restarting)$/ || st["restarts"] + 0 > 0)
        row("last error", plain(st["last_error"]))
    if (phase == "stopped" && st["last_status"] != "")
        row("ended", ended_words(st["last_status"]))
    row("bottleneck", bottleneck_words)
}

# By the exit status of a task that was stopped or is done: df2redis(7).
function ended_words(status) {
    if (status == 0)
        return "in order: the target has everything that was read"
    if (status == 3)
        return "in order, but not everything was carried over (status 3): its log and reports name it"
    if (status == 5)
        return "before the full sync was complete (status 5)"
    return "with status " status
}

function put_human() {
    put_head()
    put_checks(0)
    row("log", plain(st["log_file"]))
}

# ---- top ----

function find_stage(what, f,   i) {
    for (i = 1; i <= nstages; i++)
        if (stage[i, "stage"] == what && (stage[i, "flow"] == f || stage[i, "flow"] == "") && stage[i, "pipe_size_bytes"] != "")
            return i
    return 0
}

function fill(i) { return i ? sprintf("%.0f%%", 100 * stage[i, "pipe_bytes"] / stage[i, "pipe_size_bytes"]) : "-" }
function used(i) { return i && processor(i) >= 0 ? sprintf("%.0f%%", 100 * processor(i)) : "-" }

function put_top(   f, r, p, w, i, id) {
    put_head()
    put_checks(1)
    for (i = 1; i <= nstages; i++)
        if (stage[i, "stage"] == "rediswriter")
            w = i
    if (w)
        printf "\nwriter: %s requests, %s sent, %d units in flight%s\n", grouped(stage[w, "requests"]),
            size(stage[w, "out_bytes"]), stage[w, "in_flight"], (processor(w) < 0 ? "" : sprintf(", %.0f %% of a core", 100 * processor(w)))
    if (nflows > 0)
        printf "\n%5s %-8s %10s %7s %6s %7s %6s %12s %14s %6s\n", "FLOW", "STATE", "READ", "READER", "PIPE", "PARSER", "PIPE", "LAG", "APPLIED", "SILENT"
    for (f = 0; f < nflows; f++) {
        id = flow[f, "flow"]
        r = find_stage("dfreader", id)
        p = find_stage("dfparse", id)
        printf "%5s %-8s %10s %7s %6s %7s %6s %12s %14s %6s\n", id, flow[f, "synced"] + 0 ? "synced" : flow[f, "cut"] + 0 ? "cut" : flow[f, "state"],
            size(flow[f, "bytes"]), used(r), fill(r), used(p), fill(p), flow[f, "lag"], flow[f, "applied"], flow[f, "silent"]
    }
}
