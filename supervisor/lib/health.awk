# What is wrong with a task, and what to do about it: the rules that status, metrics, the page of df2redis-monitor and the
# alerts share. dfreader(1) has those that need its eyes (Alarms); they come in here by their names.

function problem(what) { problems = problems (problems == "" ? "" : ",") what }

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


# ---- thresholds ----

# One row of the health table. level: healthy, warning, critical.
function check(what, level, part, said) {
    nchecks++
    check_name[nchecks] = what
    check_level[nchecks] = level
    check_part[nchecks] = part
    check_text[nchecks] = said
}

function level_of(x, warning, critical) { return x > critical ? "critical" : x >= warning ? "warning" : "healthy" }

function stage_of(i) { return stage[i, "stage"] (stage[i, "flow"] != "" ? " of flow " stage[i, "flow"] : "") }

# Part of a second that a stage spent with it, by its counters, over the last five to ten seconds; -1: not known.
function share(i, what,   key, dt) {
    key = stage[i, "stage"] ":" stage[i, "flow"] ":" stage[i, "pid"]
    if (!(key in base_at))
        return -1
    dt = now - base_at[key]
    if (dt < 2)
        return -1
    dt = (stage[i, what] - base[key, what]) / 1e6 / dt
    return dt < 0 ? -1 : dt > 1 ? 1 : dt
}

function processor(i,   user, kernel) {
    user = share(i, "cpu_user_us")
    kernel = share(i, "cpu_system_us")
    return user < 0 || kernel < 0 ? -1 : user + kernel
}

# The stage of that name with most of it.
function most(name, what,   i, x, best) {
    most_share = -1
    for (i = 1; i <= nstages; i++) {
        if (stage[i, "stage"] != name)
            continue
        x = what == "cpu" ? processor(i) : share(i, what)
        if (x > most_share) {
            most_share = x
            best = i
        }
    }
    return best
}

function percent(x) { return sprintf("%.0f %%", 100 * x) }

function found(where, said) {
    bottleneck = where
    bottleneck_words = said
}

# Where the time goes: in bottleneck and bottleneck_words.
function find_bottleneck(   i, name, part, waits) {
    bottleneck = bottleneck_words = ""
    if (nstages == 0)
        return
    most("rediswriter", "waited_output_us")
    waits = most_share
    if (phase == "streaming" && lag != "" && lag + 0 == 0 && worst_pipe < 0.5)
        return found("none", "nothing: what the source sends is applied at once")
    if (waits >= 0.5)
        return found("target", "the target: rediswriter waits for its replies " percent(waits) " of the time")
    split("rediswriter dfparse dfreader", part, " ")
    for (name = 1; name <= 3; name++) {
        i = most(part[name], "cpu")
        if (most_share >= 0.75)
            return found(part[name], stage_of(i) ": it uses " percent(most_share) " of a processor core")
    }
    most("dfreader", "waited_input_us")
    if (most_share >= 0.5)
        return found("source", "the source, or the way to it: dfreader waits for it " percent(most_share) " of the time")
    if (waits >= 0)
        found("none", "no stage stands out")
}

# A dfparse that is blocked in a write says nothing: its line is old though something waits for it. Then the pipe behind
# it is full, and all that time it has waited.
function correct_blocked(   i, j, age) {
    for (i = 1; i <= nstages; i++) {
        age = stage[i, "age_us"] + 0
        if (stage[i, "stage"] != "dfparse" || age < 3e6)
            continue
        for (j = 1; j <= nstages; j++)
            if (stage[j, "stage"] == "dfreader" && stage[j, "flow"] == stage[i, "flow"] && stage[j, "pipe_bytes"] > 65536) {
                stage[i, "pipe_bytes"] = stage[i, "pipe_size_bytes"]
                stage[i, "waited_output_us"] += age
                sub(/ pipe_bytes=[0-9]+/, " pipe_bytes=" stage[i, "pipe_size_bytes"], stage_line[i])
                sub(/ waited_output_us=[0-9]+/, " waited_output_us=" whole(stage[i, "waited_output_us"]), stage_line[i])
            }
    }
}

function check_pipes(   i, fill, which) {
    worst_pipe = -1
    for (i = 1; i <= nstages; i++) {
        if (stage[i, "pipe_size_bytes"] + 0 == 0)
            continue
        fill = stage[i, "pipe_bytes"] / stage[i, "pipe_size_bytes"]
        if (fill > worst_pipe) {
            worst_pipe = fill
            which = i
        }
    }
    if (worst_pipe < 0)
        return
    if (worst_pipe > 1)
        worst_pipe = 1
    check("pipes", level_of(worst_pipe, 0.5, 0.8), worst_pipe,
        "the fullest, behind " stage_of(which) ", is " percent(worst_pipe) " full" (worst_pipe > 0.8 ? ": what comes next is slower" : ""))
}

function check_writer(   i, part, wait) {
    for (i = 1; i <= nstages; i++) {
        if (stage[i, "stage"] != "rediswriter")
            continue
        if (stage[i, "window_size_bytes"] + 0 > 0) {
            part = stage[i, "window_bytes"] / stage[i, "window_size_bytes"]
            check("transaction window", level_of(part, 0.7, 0.9), part,
                percent(part) " of the bytes that may be in flight are, in " (stage[i, "in_flight"] + 0) " units")
        }
        wait = stage[i, "batch_wait_us"] / 1e6
        check("batch wait", level_of(wait, 5, 10), "",
            stage[i, "in_flight"] + 0 == 0 ? "nothing waits for a reply" : sprintf("the last reply came %.1f s ago", wait))
        if (stage[i, "memory_limit_bytes"] + 0 > 0) {
            part = stage[i, "memory_bytes"] / stage[i, "memory_limit_bytes"]
            check("target memory", level_of(part, 0.85, 0.95), part, "the target uses " percent(part) " of its maxmemory")
            if (part > 0.95)
                problem("target-nearly-full")
        }
    }
}

# The lag of some while ago, or -1. In lag_then_at: when.
function lag_before(   j, i, n, part, heads_sum) {
    for (j = nsamples; j > 0; j--) {
        if (now - at[j] < 20)
            continue
        n = split(heads_at[j], part, ",")
        if (n != nflows || applied_at[j] <= 0)
            return -1
        heads_sum = 0
        for (i = 1; i <= n; i++)
            heads_sum += part[i]
        lag_then_at = at[j]
        return heads_sum > applied_at[j] ? heads_sum - applied_at[j] : 0
    }
    return -1
}

# Bytes that the source still keeps for us, and when they are used up as the lag grows.
function check_backlog(   left, before, growth, minutes) {
    backlog_minutes = ""
    if (session["backlog_bytes"] + 0 == 0 || lag == "" || phase !~ /^(streaming|catching-up)$/)
        return
    left = session["backlog_bytes"] - lag
    if (left <= 0) {
        check("backlog of the source", "critical", 1, "it no longer has what the target lacks: after a restart only a full sync helps")
        problem("backlog-overflow")
        return
    }
    before = lag_before()
    growth = before < 0 ? 0 : (lag - before) / (now - lag_then_at)
    if (growth > 0) {
        minutes = left / growth / 60
        backlog_minutes = minutes
        check("backlog of the source", level_of(-minutes, -60, -10), lag / session["backlog_bytes"],
            sprintf("at this lag it overflows in %.0f min: a restart would then need a full sync", minutes))
        if (minutes < 10)
            problem("backlog-soon")
        return
    }
    check("backlog of the source", "healthy", lag / session["backlog_bytes"],
        percent(lag / session["backlog_bytes"]) " of it are used")
}

function check_counts(   n) {
    n = session["errors"] + session["lost"] + session["doubtful"] + session["evicted"]
    check("data", n > 0 ? "critical" : "healthy", "", n == 0 ? "no errors, and everything was carried over" : \
        (session["errors"] + 0) " errors, " (session["lost"] + 0) " not carried over, " (session["doubtful"] + 0) \
        " may have counted twice, " (session["evicted"] + 0) " evicted")
}

function check_all() {
    if (asked != "ok")
        return
    correct_blocked()
    check_pipes()
    check_writer()
    check_backlog()
    check_counts()
    find_bottleneck()
}

# ---- words ----

function explain(what, said, todo) {
    words_of[what] = said
    todo_of[what] = todo
}

BEGIN {
    explain("restarting", "the stages ended and will be started again", "see last_error; if it does not pass, stop the task")
    explain("orphaned", "the supervisor is gone, the stages still run", "start the task again, or stop it")
    explain("no-answer", "the session's dfreader does not answer", "look at the log; stop and start the task")
    explain("target-paused", "the target has accepted nothing for 10 seconds", "look at the target: CPU, SLOWLOG, network")
    explain("flow-silent", "a flow of the full sync does not move", "look at the source; the session ends after --stall-timeout")
    explain("master-silent", "the source does not answer", "look at the source and at the network")
    explain("barrier", "a FLUSH waits for flows that have not come to it", "look at the flows' lag; it ends after --barrier-timeout")
    explain("spool-full", "what waits for the target fills the spool", "make room or raise --spool-max, or make the target faster")
    explain("verify-failed", "not every key of the full sync could be verified", "compare source and target")
    explain("slots-open", "slots of the source cluster belong to nobody", "finish the resharding of the source")
    explain("source-link-down", "the source is a replica without its master", "mend its replication")
    explain("target-down", "the target cannot be reached", "start it, or look at the network; writing goes on by itself")
    explain("target-full", "the target refuses writes: out of memory", "raise its maxmemory; writing goes on by itself")
    explain("target-nearly-full", "the target has used 95 % of its maxmemory", "raise its maxmemory")
    explain("target-loading", "the target is loading its data", "wait")
    explain("target-readonly", "the target is a replica", "find out why it lost its role, or name the master")
    explain("target-refuses", "the target refuses writes", "see target_why")
    explain("target-silent", "the target does not reply", "look at the target: CPU, SLOWLOG, network")
    explain("target-replicas-missing", "fewer replicas confirm than --wait asks for", "mend the replicas of the target")
    explain("data-errors", "requests failed for good", "look at the keys in the log; --errors-to keeps them")
    explain("data-errors-before", "an earlier run of this task had data errors", "look at the log")
    explain("not-carried-over", "something could not be carried over", "--report FILE lists it")
    explain("doubtful", "changes may have counted twice", "compare the keys that the log names")
    explain("evictions", "the target removed keys to make room", "raise its maxmemory, set noeviction, begin anew")
    explain("backlog-overflow", "the source no longer has what the target lacks", "do not restart; raise repl-backlog-size")
    explain("backlog-soon", "the source's backlog overflows within 10 minutes", "raise repl-backlog-size, or make the target faster")
}

function meaning(what) { return what in words_of ? words_of[what] : what }
