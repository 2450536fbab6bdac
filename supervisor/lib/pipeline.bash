# shellcheck shell=bash
# What a run consists of. Each function starts its stages and leaves the waiting to its caller.

make_fifo() { # path: false where it cannot, and then nothing is left to wait for
    mkfifo -m 600 "$1" 2>&7 && return
    worse 1
    kill_all TERM
    return 1
}

ask_flows() {
    local line
    line=$(ask 1 status | grep '^session ') || return 1
    [[ $line =~ \ flows=([0-9]+) ]] || return 1
    flows=${BASH_REMATCH[1]}
    [[ $flows -gt 0 ]]
}

# dfparse and rediswriter take the first signal as "go on to the end of the input": one that comes before they are
# ready for it would end them. So it would dfreader; what it misses is said again (say_stop).
no_early_signal() { trap '' INT TERM; }

flows_writer() {
    no_early_signal
    exec "$here/rediswriter" "${run_target_args[@]}" --listen "unix:$run_dir/writer.sock" --inputs "$flows" "$target_url"
}

session_reader() { # extra arguments
    no_early_signal
    exec "$here/dfreader" "${source_args[@]}" --session-only --control "$control" "$@" "$source_url"
}

# One dfreader that owns the session, a dfreader and a dfparse a flow, one rediswriter.
start_flows() { # extra arguments of the session's dfreader
    local owner writer i
    spawn dfreader-session session_reader "$@"
    owner=$!
    # It gives up by itself when the source does not answer.
    wait_for 3600 "$owner" ask_flows || return
    spawn rediswriter flows_writer
    writer=$!
    wait_for 60 "$writer" test -S "$run_dir/writer.sock" || [[ $stopping -eq 1 ]] || { kill_all TERM; return; }
    for ((i = 0; i < flows && stopping == 0; i++)); do
        make_fifo "$run_dir/$i.fifo" || return
        spawn "dfparse-$i" run_parser "$i"
        spawn "dfreader-$i" run_reader "$i"
    done
    [[ $i -eq $flows ]] || abandon "$owner"
}

# Both run in a process of their own; opening a FIFO waits for its other end.
run_reader() { exec "$here/dfreader" "${source_args[@]}" --flow "$1" --session "$control" "$source_url" >"$run_dir/$1.fifo"; }

run_parser() {
    local -a more=()
    [[ -n ${opt[report]-} ]] && more=(--report "${opt[report]}.$1")
    no_early_signal
    exec "$here/dfparse" "${parse_args[@]}" "${more[@]}" -o "unix:$run_dir/writer.sock" <"$run_dir/$1.fifo"
}

# One process per stage.
start_single() { # extra arguments of dfreader
    make_fifo "$run_dir/raw.fifo" && make_fifo "$run_dir/commands.fifo" || return
    spawn dfreader single_reader "$@"
    spawn dfparse single_parser
    spawn rediswriter single_writer
}

single_reader() { # extra arguments
    no_early_signal
    exec "$here/dfreader" "${source_args[@]}" --control "$control" "$@" "$source_url" >"$run_dir/raw.fifo"
}

single_parser() {
    local -a more=()
    [[ -n ${opt[report]-} ]] && more=(--report "${opt[report]}")
    no_early_signal
    exec "$here/dfparse" "${parse_args[@]}" "${more[@]}" <"$run_dir/raw.fifo" >"$run_dir/commands.fifo"
}

single_writer() {
    no_early_signal
    exec "$here/rediswriter" "${run_target_args[@]}" "$target_url" <"$run_dir/commands.fifo"
}

start_record() { # extra arguments of dfreader
    make_fifo "$run_dir/raw.fifo" && make_fifo "$run_dir/copy.fifo" || return
    spawn dfreader single_reader "$@"
    spawn tee record_tee
    spawn dfparse record_parser
}

# tee must not answer the terminal's Ctrl-C, or the file would lack its end.
record_tee() {
    trap '' INT TERM
    exec tee --output-error=exit -- "$target_url" <"$run_dir/raw.fifo" >"$run_dir/copy.fifo"
}

record_parser() {
    local -a more=()
    [[ -n ${opt[report]-} ]] && more=(--report "${opt[report]}")
    exec "$here/dfparse" "${parse_args[@]}" "${more[@]}" --null <"$run_dir/copy.fifo"
}

make_record_file() {
    refuse_foreign_link "$target_url"
    [[ $force -eq 1 || ! -e $target_url ]] || die 1 "$target_url exists (--force overwrites it)"
    (umask 077 && : >"$target_url") || die 1 "cannot write $target_url"
}

# One dfreader and one dfparse: all flows go into one file.
start_export() { # extra arguments of dfreader
    make_fifo "$run_dir/raw.fifo" || return
    spawn dfreader single_reader "$@"
    spawn dfparse export_parser
}

export_parser() {
    local -a more=()
    [[ -n ${opt[report]-} ]] && more=(--report "${opt[report]}")
    no_early_signal
    exec "$here/dfparse" "${parse_args[@]}" "${more[@]}" --rdb "$target_url" <"$run_dir/raw.fifo"
}

# The file takes its name when it is complete.
check_export_file() {
    [[ $target_url != - ]] || return 0
    [[ $force -eq 1 || ! -e $target_url ]] || die 1 "$target_url exists (--force overwrites it)"
}
