# shellcheck shell=bash
# A task from its start to its end: runs, and the pauses between them.

run_target_args=()
once_ready=0    # an earlier run, or this one, began its full sync
once_complete=0 # an earlier run, or this one, got through the full sync
data_errors=0   # in an earlier run: they stay visible in the exit status
restart_times=()
reached_applied=0   # sum of the positions that the run before got to
reached_delivered=0 # bytes of the longest full sync

# Where a report of an earlier run lies, the next one would overwrite it.
keep_reports() {
    local file
    [[ $restart -eq 1 && -n ${opt[report]-} ]] || return 0
    for file in "${opt[report]}" "${opt[report]}".*; do
        [[ -f $file && ($file == "${opt[report]}" || ${file##*.} =~ ^[0-9]+$) ]] || continue
        is_foreign_link "$file" || is_foreign_link "$file.earlier" || { cat -- "$file" >>"$file.earlier" && rm -f -- "$file"; }
    done
}

# What this run of the stages is told besides what all are told.
run_options() {
    local policy=${opt[on-full-resync]:-fail} name value
    reader_more=()
    run_target_args=("${target_args[@]}")
    for name in max-ops max-bytes; do # what df2redis limit has said
        [[ -r $run_dir/limit.$name ]] && read -r value <"$run_dir/limit.$name" && run_target_args+=("--$name" "$value")
    done
    [[ $resume -eq 1 ]] || return 0
    reader_more=(--resume --on-full-resync "$policy")
    run_target_args+=(--on-full-resync "$policy")
    # The target has been there, and has been written to: nothing there now means that something was lost.
    [[ $once_complete -eq 1 || ($once_ready -eq 1 && $policy != fail) ]] && run_target_args+=(--expect-saved)
    return 0
}

run_once() {
    new_run
    run_options
    keep_reports
    check_log
    rm -f -- "$run_dir/error"
    [[ $stopping -eq 0 ]] || return
    put_state running
    case $command:$single in
    replicate:0) start_flows "${reader_more[@]}" ;;
    replicate:1) start_single "${reader_more[@]}" ;;
    migrate:0) start_flows --until synced ;;
    migrate:1) if [[ $source_is_file -eq 1 ]]; then start_single; else start_single --until synced "${reader_more[@]}"; fi ;;
    record:*) start_record ${opt[until]:+--until "${opt[until]}"} ;;
    export:*) if [[ $source_is_file -eq 1 ]]; then start_export; else start_export --until synced; fi ;;
    esac
    wait_all
    # A writer that stops at an error lets those before it die of that: nothing that a retry would mend.
    [[ $writer_status == 3 && $worst -eq 75 && -z $crashed ]] && worst=3
    [[ -e $run_dir/ready ]] && once_ready=1
    [[ -e $run_dir/complete ]] && once_complete=1
    clear_run
    check_monitor
}

# What the writer's summary knows better: data errors and what may have counted twice in a run that ended for another
# reason, of which its status does not tell, and a full sync that was complete when nobody looked.
read_summary() {
    local text
    [[ $worst -eq 3 || $writer_status == 3 ]] && data_errors=1
    [[ -n $summary && -r $summary && $summary -nt $run_dir/pid ]] && text=$(<"$summary") || return 0
    [[ $text =~ \"(errors|reports_lost|doubtful)\":\ *[1-9] ]] && data_errors=1
    [[ $text == *'"synced": true'* && $text != *'"synced": false'* ]] && once_complete=1
    rm -f -- "$run_dir/summary"
}

# The options of every stage, before any of them connects: a wrong one of the last stage is not found in the midst of a
# session. What is wrong is said by the stage; in cause and worst. False: something is.
check_stages() {
    local reader=("${source_args[@]}") parser=("${parse_args[@]}")
    new_run
    run_options
    reader+=("${reader_more[@]}")
    [[ $command != record ]] || parser+=(--null)
    [[ $command != export ]] || parser+=(--rdb "$target_url")
    [[ $single -eq 1 ]] || is_to_file ||
        check_stage dfreader "${source_args[@]}" --flow 0 --session "$control" "$source_url" || return
    check_stage dfreader "${reader[@]}" "$source_url" || return
    check_stage dfparse "${parser[@]}" || return
    is_to_file || check_stage rediswriter "${run_target_args[@]}" "$target_url"
}

# Wrong options, or a file that they name and that cannot be read. Anything else shows when the stage runs.
check_stage() { # program arguments…
    local said st
    said=$(timeout -k 1 5 "$here/$1" --check-options "${@:2}" 2>&1 4>&- 5>&- 7>&- 8>&- 9>&-)
    st=$?
    [[ $stopping -eq 0 && ($st -eq 1 || $st -eq 2) ]] || return 0
    worst=$st
    printf '%s\n' "$said" >&"$messages"
    last_error=${said##*$'\n'}
    return 1
}

# ---- again? ----

# Usage, damage and data errors are not retryable, and what could not run will not run the next time. But a
# stage that was killed, or that lost its server, may have taken another with it that could not go on without.
worth_it() {
    [[ $restart -eq 1 && $stopping -eq 0 ]] || return 1
    case $worst in
    75) return 0 ;;
    1) [[ -n $crashed || ($first_status -eq 75 && $session_status != 1 && $writer_status != 1) ]] ;;
    *) return 1 ;;
    esac
}

within_limit() {
    local t kept=() max=${opt[restart-max]}
    for t in "${restart_times[@]}"; do
        [[ $((EPOCHSECONDS - t)) -lt ${opt[restart-window]} ]] && kept+=("$t")
    done
    restart_times=("${kept[@]}" "$EPOCHSECONDS")
    [[ $max -eq 0 || ${#kept[@]} -lt $max ]]
}

# Has the run got further than those before: positions of the target, or data of a full sync?
got_further() {
    local delivered=0 applied=0 number further=1
    [[ -r $run_dir/reached ]] && read -r delivered applied <"$run_dir/reached"
    rm -f -- "$run_dir/reached"
    decimal "$applied" 999999999999999999 || number=0
    [[ $number -le $reached_applied ]] || further=0
    reached_applied=$number
    decimal "$delivered" 999999999999999999 || number=0
    [[ $number -le $reached_delivered || $once_complete -eq 1 ]] || { further=0 reached_delivered=$number; }
    return "$further"
}

# 1 s, 2 s, 4 s ... and up to half as much again, at most 60 s; from the beginning after a run that got further, or a
# minute that went well.
choose_delay() { # seconds that the run lasted
    if got_further || [[ $1 -ge 60 ]]; then attempts=0; fi
    local base=$((attempts < 6 ? 1 << attempts : 40))
    [[ $base -gt 40 ]] && base=40
    attempts=$((attempts + 1))
    delay_ms=$((base * 1000 + base * 500 * RANDOM / 32768))
}

wait_a_while() { # milliseconds
    between_runs=1
    set_timer "$1" pause
    until [[ $stopping -eq 1 ]] || run_out; do tick 0.2; done
    clear_timer
    between_runs=0
}

# ---- all of it ----

run_task() {
    local began attempts=0 delay_ms reader_more reason
    started=$EPOCHSECONDS
    trap on_signal INT TERM
    enter_run_dir
    start_log
    put_state starting
    check_stages || end_task
    put_ends
    start_monitor
    while :; do
        began=$SECONDS
        next_start=
        run_once
        last_status=$worst
        read_summary
        if [[ ${#failed[@]} -gt 0 ]]; then
            find_cause
            reason= # where a stage was killed, the first error is that of another
            [[ -n $crashed ]] || explain "${cause%% *}"
            last_error=$cause$reason
        fi
        worth_it || break
        if ! within_limit; then
            last_error="$last_error; restarted ${opt[restart-max]} times within ${opt[restart-window]} seconds"
            log error "restarts_exhausted restarts=$restarts status=$worst"
            break
        fi
        choose_delay $((SECONDS - began))
        next_start=$((EPOCHSECONDS + (delay_ms + 500) / 1000))
        log warn "restart number=$((restarts + 1)) status=$worst in_ms=$delay_ms error=\"${last_error//\"/\'}\""
        put_state restarting
        wait_a_while "$delay_ms"
        [[ $stopping -eq 0 ]] || break
        restarts=$((restarts + 1))
    done
    end_task
}

# Nothing will go on from here: what the target keeps for that goes. After a failure it stays, so that it can.
remove_positions() {
    case $command:$worst in
    migrate:0 | migrate:3) ;;
    replicate:0 | replicate:3 | replicate:5 | migrate:5) [[ -e $run_dir/final ]] || return 0 ;;
    *) [[ -e $run_dir/final ]] && log warn "positions_kept status=$worst note=\"the task did not end in order\""
        return 0 ;;
    esac
    # It is no stage: nothing is left to be stopped.
    (no_early_signal && exec "$here/rediswriter" "${target_args[@]}" -q --forget "$target_url") 2>&7 4>&- 5>&- 7>&- 8>&- 9>&- ||
        log warn "positions_left note=\"they could not be removed from the target: rediswriter --forget\""
}

end_task() {
    if [[ $stopping -eq 1 && -n $next_start ]]; then
        # Between two runs nothing was under way: what counts is whether there has been a full sync.
        worst=$((once_complete == 1 ? 0 : 5))
    elif [[ $stopping -eq 1 && $spawned -eq 0 ]]; then
        worse 5
    fi
    [[ $data_errors -eq 1 ]] && worse 3
    remove_positions
    last_status=$worst
    next_start=
    # The last line, as the first error of all is the cause's own.
    case $worst in
    0 | 3 | 5)
        log info "end status=$worst"
        put_state stopped
        ;;
    *)
        log error "failed status=$worst error=\"${last_error//\"/\'}\""
        put_state failed
        ;;
    esac
    leave_run_dir
    stop_monitor
    stop_log
    exit "$worst"
}
