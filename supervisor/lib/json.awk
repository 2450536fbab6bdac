# A task as one JSON object; df2redis(1), Status.

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
    return sprintf("{\"phase\":%s,\"pid\":%s,\"epoch\":%s,\"flows\":%s,\"cut\":%s,\"synced\":%s,\"bytes\":%s,\"queued\":%s,\"source_reconnects\":%s,\"keys\":%s,\"total_keys\":%s,\"backlog_bytes\":%s,\"seconds\":%s,\"percent\":%s,\"eta_seconds\":%s,\"version\":%s,\"replid\":%s,\"verify\":%s,\"checked\":%s,\"missing\":%s,%s}",
        text(session["phase"]), number(session["pid"]), number(session["epoch"]), number(session["flows"]),
        number(session["cut"]), number(session["synced"]), number(session["bytes"]), number(session["queued"]), number(session["reconnects"]),
        number(session["keys"]), number(session["total_keys"]), number(session["backlog_bytes"]), number(session["seconds"]), number(session["percent"]), number(session["eta"]), text(session["version"]), text(session["replid"]),
        text(session["verify"]), number(session["checked"]), number(session["missing"]), target_json())
}

# What the processes count, field by field as they said it; a list of numbers is one.
function stage_json(i,   part, n, k, p, field_name, value, out) {
    n = split(stage_line[i], part, " ")
    for (k = 2; k <= n; k++) {
        p = index(part[k], "=")
        field_name = substr(part[k], 1, p - 1)
        value = substr(part[k], p + 1)
        if (field_name !~ /^[a-z0-9_.]+$/)
            continue
        if (value ~ /^[0-9]+(,[0-9]+)+$/)
            value = "[" value "]"
        else if (value !~ /^(0|[1-9][0-9]*)$/)
            value = text(value)
        out = out (out == "" ? "" : ",") quote(field_name) ":" value
    }
    return "{" out "}"
}

function fraction(x) { return x == "" || x < 0 ? "null" : sprintf("%.3f", x) }

function checks_json(   i, out) {
    for (i = 1; i <= nchecks; i++)
        out = out (i > 1 ? "," : "") sprintf("{\"name\":%s,\"level\":%s,\"part\":%s,\"text\":%s}", quote(check_name[i]),
            quote(check_level[i]), fraction(check_part[i]), quote(check_text[i]))
    return "[" out "]"
}

function explained_json(   n, part, i, out) {
    n = split(problems, part, ",")
    for (i = 1; i <= n; i++)
        out = out (i > 1 ? "," : "") sprintf("{\"problem\":%s,\"text\":%s,\"next\":%s}", quote(part[i]),
            quote(meaning(part[i])), todo_of[part[i]] == "" ? "null" : quote(todo_of[part[i]]))
    return "[" out "]"
}

function task_json(   f, i, flows, stages, out) {
    for (f = 0; f < nflows; f++)
        flows = flows (f ? "," : "") flow_json(f)
    for (i = 1; i <= nstages; i++)
        stages = stages (i > 1 ? "," : "") stage_json(i)
    out = sprintf("{\"task\":%s,\"command\":%s,\"phase\":%s,\"running\":%s,\"healthy\":%s,\"problems\":%s,\"explained\":%s,",
        quote(name), text(st["command"]), quote(phase), truth(lock != "down"), truth(lock != "down" && problems == ""),
        list_json(problems), explained_json())
    out = out sprintf("\"since\":%s,\"since_seconds\":%s,\"started\":%s,\"pid\":%s,\"restarts\":%s,\"next_start\":%s,",
        time_json(since), whole(now - since), time_json(st["started"]), lock == "up" ? number(st["pid"]) : "null",
        number(st["restarts"]), time_json(st["next_start"]))
    out = out sprintf("\"last_status\":%s,\"last_error\":%s,\"source\":%s,\"target\":%s,\"log_file\":%s,",
        number(st["last_status"]), text(st["last_error"]), text(st["source"]), text(st["target"]), text(st["log_file"]))
    out = out sprintf("\"lag_entries\":%s,\"lag_bytes\":%s,\"lag_seconds\":%s,\"bytes_per_second\":%s,\"entries_per_second\":%s,",
        measure(in_bytes() ? "" : lag), measure(in_bytes() ? lag : ""), measure(lag_seconds), measure(bytes_rate),
        measure(in_bytes() ? "" : entries_rate))
    out = out sprintf("\"keys_per_second\":%s,\"percent\":%s,\"eta_seconds\":%s,\"backlog_minutes\":%s,", measure(keys_rate),
        number(done_percent), number(done_eta), measure(backlog_minutes))
    out = out sprintf("\"bottleneck\":%s,\"bottleneck_text\":%s,\"checks\":%s,", text(bottleneck),
        bottleneck_words == "" ? "null" : quote(bottleneck_words), checks_json())
    return out sprintf("\"session\":%s,\"flows\":[", session_json()) flows "],\"stages\":[" stages "]}"
}
