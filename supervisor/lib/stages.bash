# shellcheck shell=bash
# The processes of one run: started, waited for, ended together.

declare -A name_of=() # pid -> stage
stopping=0            # a signal or df2redis stop
stopped_at=0          # microseconds
unheard=0 # a stop that perhaps nobody has heard
timer_at= # microseconds
timer_for=
between_runs=0

new_run() {
    worst=0
    failed=() # "status name" of the stages that failed, in the order in which they were noticed
    first_status=
    crashed= # the first one that a signal killed which was not ours
    cause=   # the stage that is to blame, and how it ended
    session_status=
    writer_status=
    sent_kill=0
    spawned=0
    flows=0
    name_of=()
}

# A stage ends with the session: of a terminal that is gone it hears from the supervisor.
as_stage() { # command…
    trap '' HUP
    if [[ $(type -t "$1") == function ]]; then "$@"; else exec "$@"; fi
}

# In the background, its pid remembered, also in a file. Descriptor 9 is the lock, which every stage holds; 4, 5, 7 and
# 8 are ours.
spawn() { # name command…
    local name=$1 before=$stopping
    shift
    as_stage "$@" 2>&7 4>&- 5>&- 7>&- 8>&- &
    name_of[$!]=$name
    spawned=1
    echo $! >"$run_dir/$name.pid"
    log info "started name=$name pid=$!"
    # A signal that came before it was known here.
    [[ $stopping -eq "$before" ]] || { kill -TERM $! 2>/dev/null; unheard=1; }
    return 0
}

kill_all() { # signal
    local pid
    [[ $1 == KILL ]] && sent_kill=1
    for pid in "${!name_of[@]}"; do kill "-$1" "$pid" 2>/dev/null; done
    return 0
}

# The second signal kills. timeout(1), terminals and shells signal a process and its group: what comes within half a
# second is the same one, which the stages have got as well.
on_signal() {
    local now
    now_us
    if [[ $stopping -eq 1 ]]; then
        [[ $((now - stopped_at)) -lt 500000 ]] || kill_all KILL
        return
    fi
    stopping=1
    stopped_at=$now
    log info "stopping"
    put_state stopping
    [[ $between_runs -eq 0 ]] || return 0
    # It may be busy connecting; a signal reaches it also then.
    ask 2 stop >/dev/null && return
    kill_all TERM
    unheard=1
}

# A signal that came when a stage was not yet what it was to become is lost: say it to the session again, until it
# hears.
say_stop() {
    local pid
    unheard=0
    ask 2 stop >/dev/null && return
    for pid in "${!name_of[@]}"; do
        [[ ${name_of[$pid]} == dfreader-session || ${name_of[$pid]} == dfreader ]] || continue
        kill -TERM "$pid" 2>/dev/null
        unheard=1
    done
}

# A stage has ended. Orderly ends (done, with data errors, stopped early) let the others go on to theirs.
ended() { # pid status
    local name=${name_of[$1]} st=$2 how="ended with status $2"
    unset "name_of[$1]"
    rm -f -- "$run_dir/$name.pid"
    # Our signal to stop came before it could take one, a process of one flow: nothing of it had begun.
    [[ $st -ne 143 || $stopping -eq 0 || $sent_kill -eq 1 ]] || st=5 how="ended with status 5"
    worse "$st"
    case $name in
    rediswriter) writer_status=$st ;;
    dfreader-session | dfreader) session_status=$st ;;
    esac
    # Not by us: this may be the cause of a failure that was noticed before.
    if [[ $st -ge 128 ]]; then
        how="was killed by signal $((st - 128))"
        [[ $sent_kill -eq 1 || (${#failed[@]} -gt 0 && $st -eq 143) ]] || : "${crashed:=$name}"
    fi
    case $st in
    0 | 3 | 5) log info "ended name=$name status=$st" ;;
    *)
        failed+=("$st $name $how")
        [[ ${#failed[@]} -eq 1 ]] || { log debug "ended name=$name status=$st"; return 0; }
        first_status=$st
        log info "ended name=$name status=$st note=\"$name $how: ending the others\""
        kill_all TERM
        # They get a moment to finish what is in flight; a stage that hangs is no reason to hang.
        set_timer 1400
        ;;
    esac
}

# Of the stages that failed, the one that the others failed because of: one that was killed from outside; else one with
# the worst status; of several the one whose error was logged first; of those the first that was noticed. In cause.
find_cause() {
    local entry st name how worst_rank=-1 first= blamed=
    [[ -r $run_dir/error ]] && IFS= read -r first <"$run_dir/error"
    for entry in "${failed[@]}"; do
        read -r st name how <<<"$entry"
        [[ -z $crashed || $name == "$crashed" ]] || continue
        [[ $st -lt 128 ]] || st=75
        if [[ $(rank_of "$st") -gt $worst_rank ]]; then
            worst_rank=$(rank_of "$st")
            blamed=
        elif [[ $(rank_of "$st") -lt $worst_rank || -n $blamed || $first != "level=error stage=${name%%-*} "* ]]; then
            continue
        fi
        cause="$name $how"
        [[ $first != "level=error stage=${name%%-*} "* ]] || blamed=$name
    done
}

# When it runs out, whatever is left is killed, or what else it is for is done.
set_timer() { # milliseconds [for]
    local now
    now_us
    timer_at=$((now + $1 * 1000))
    timer_for=${2-kill}
}

clear_timer() { timer_at=; }

run_out() {
    local now
    now_us
    [[ -n $timer_at && $now -ge $timer_at ]]
}

# The status of a child that has ended, in st. Where a signal comes between, bash's wait gives -1, and the truth when
# asked again.
status_of() { # pid
    local _
    for _ in 1 2 3; do
        wait "$1"
        st=$?
        [[ $st -ge 0 ]] && return
    done
    st=75
}

# Those that have ended since the last look.
bury() {
    local pid st name
    for pid in "${!name_of[@]}"; do
        alive "$pid" && continue
        name=${name_of[$pid]}
        status_of "$pid"
        ended "$pid" "$st"
        # Without a writer nothing can follow.
        [[ $name != rediswriter || (-n $timer_at && $timer_for == kill) ]] || set_timer 5000
    done
}

wait_all() {
    while bury && [[ ${#name_of[@]} -gt 0 ]]; do
        [[ $unheard -eq 0 || -n $timer_at ]] || set_timer 1000 stop
        tick 0.1
        run_out || continue
        clear_timer
        if [[ $timer_for == stop ]]; then
            say_stop
            continue
        fi
        log error "stages_hang note=\"killing what is left\""
        worse 75
        kill_all KILL
    done
    clear_timer
}

wait_for() { # seconds pid command…: until the command succeeds; false when pid is gone or time is up
    local deadline=$((SECONDS + $1)) pid=$2
    shift 2
    until "$@"; do
        alive "$pid" || return 1
        [[ $SECONDS -lt $deadline && $stopping -eq 0 ]] || return 1
        tick 0.05
    done
}

# A stop that came before all flows were started: nothing was written, and the stages that wait for each other are
# only in the way. The session's own process ends in order.
abandon() { # pid of the session's dfreader
    local pid
    for pid in "${!name_of[@]}"; do
        [[ $pid == "$1" ]] && continue
        kill -KILL "$pid" 2>/dev/null
        wait "$pid" 2>/dev/null
        rm -f -- "$run_dir/${name_of[$pid]}.pid"
        unset "name_of[$pid]"
    done
}
