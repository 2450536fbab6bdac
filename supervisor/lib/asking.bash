# shellcheck shell=bash
# Commands to tasks from outside: status, top, list, stop, limit, remove, monitor; and check, which asks servers.

# Is the task running? In held: up, orphaned (its stages without their supervisor), down.
look_at_lock() {
    held=down
    is_locked || return 1
    held=orphaned
    supervisor=$(supervisor_pid) && held=up
    return 0
}

show_task() { # form
    local answer='' asked=none
    look_at_lock
    if [[ $held != down && -S $control ]]; then
        asked=silent
        answer=$(ask 3 counters) && asked=ok
    fi
    describe "$1" "$asked" "$held" <<<"$answer"
}

# Does a person read what we say? By --log-format, else on a terminal.
wants_words() {
    [[ $raw -eq 0 && $log_format != logfmt && ($log_format == human || -t 1) ]]
}

status_command() {
    local form=text
    ! wants_words || form=human
    [[ $json -eq 1 ]] && form=json
    [[ ${#words[@]} -eq 1 ]] || die 2 "status takes no arguments (but --task or --run-dir)"
    if [[ ! -e $run_dir/state && $json -eq 0 ]]; then
        die 1 "task $task is not running (there is no $run_dir/state)"
    fi
    show_task "$form"
    exit $?
}

# The task and its flows, anew every second until q is pressed or the task has ended; once where nobody watches.
top_command() {
    local key frame st='' every=1
    [[ ${#words[@]} -eq 1 ]] || die 2 "top takes no arguments (but --task or --run-dir)"
    [[ -e $run_dir/state ]] || die 1 "task $task is not running (there is no $run_dir/state)"
    if [[ ! -t 0 || ! -t 1 ]]; then
        show_task top
        exit $?
    fi
    trap 'printf "\e[?7h\e[?25h\e[?1049l"' EXIT # lines go on in the next one, the cursor, and the screen as it was
    trap 'exit 0' INT TERM HUP
    printf '\e[?1049h\e[?25l\e[?7l'
    while :; do
        frame=$(show_task top)
        st=$?
        # Over the last frame, line by line: nothing flickers.
        printf '\e[H%s\e[K\n\e[J\n%s' "${frame//$'\n'/$'\e[K\n'}" "q ends"
        read -rsn 1 -t "$every" key && [[ $key == [qQ] ]] && break
        [[ $st -ne 1 ]] || break
    done
    exit "$st"
}

# One line per task, of those that have left a directory; status 0 where there are none, too.
list_command() {
    local dir form=line places=("$base")
    [[ $json -eq 1 ]] && form=json
    [[ ${#words[@]} -eq 1 && -z ${opt[run-dir]-} ]] || die 2 "list takes no arguments"
    [[ $base == /run/df2redis ]] || places+=(/run/df2redis)
    list_kept "${places[@]}"
    for base in "${places[@]}"; do
        for dir in "$base"/*/; do
            [[ -r ${dir}state && ($EUID -eq 0 || -O $dir) ]] || continue
            run_dir=${dir%/}
            task=${run_dir##*/}
            control=$run_dir/control.sock
            # In a process of its own, which may become another user.
            (become_owner && show_task "$form") | head -n 1
        done
    done
    exit 0
}

# The task of --task and --run-dir, or those that are named.
remove_command() {
    local name
    if [[ ${#words[@]} -eq 1 ]]; then
        remove_task
        exit 0
    fi
    [[ -z ${opt[run-dir]-}${opt[task]-} ]] || die 2 "remove takes names, or --task, or --run-dir"
    for name in "${words[@]:1}"; do
        task=$name
        check_task
        choose_run_dir
        remove_task
    done
    exit 0
}

remove_task() {
    local kept_too=0
    find_run_dir
    look_at_lock || ! forget_kept || kept_too=1
    [[ $kept_too -eq 0 || -e $run_dir/state ]] || return 0
    # In a process of its own, which may become another user, who cannot remove the directory itself.
    (become_owner && empty_run_dir) || exit $?
    [[ $run_dir == . ]] || rmdir -- "$run_dir" || die 1 "$run_dir stays: it holds other files"
}

# What writes the positions of a plain pipeline is not ours to ask.
check_final() {
    local value
    value_of command "$run_dir/state"
    [[ $value != watch ]] || die 2 "task $task is a plain pipeline: stop it, and remove its positions by rediswriter --forget"
}

stop_command() {
    local limit=${opt[timeout]}
    [[ ${#words[@]} -eq 1 ]] || die 2 "stop takes no arguments (but --task, --run-dir and --timeout)"
    look_at_lock || die 1 "task $task is not running ($run_dir is not locked)"
    if [[ $held == orphaned ]]; then
        end_orphans "$limit" || die 1 "task $task does not end"
        [[ $final -eq 0 ]] || die 1 "task $task: its supervisor was gone: the positions stay (rediswriter --forget)"
        exit 0
    fi
    [[ $final -eq 0 ]] || check_final
    if [[ $final -eq 1 ]]; then : >"$run_dir/final" || die 1 "task $task: cannot write $run_dir/final"; fi
    kill -TERM "$supervisor" 2>/dev/null || die 1 "task $task: cannot signal its supervisor (pid $supervisor)"
    gone_within "$limit" && exit 0
    log warn "stop_timeout seconds=$limit note=\"killing what is left\""
    # The second signal.
    kill -TERM "$supervisor" 2>/dev/null
    gone_within 5 || { kill_orphans KILL; gone_within 5; }
    exit 75
}

# A number with k, m or g, in bytes: in number.
plain_size() {
    local shift=0
    case $1 in
    *[kK]) shift=10 ;;
    *[mM]) shift=20 ;;
    *[gG]) shift=30 ;;
    esac
    decimal "${1%[kKmMgG]}" $((most >> shift)) || die 2 "$1: not a size of at most 1000000000000 bytes (a number, optionally with k, m or g)"
    number=$((number << shift))
}

put_limit() { # name value
    if ! echo "$2" >"$run_dir/limit.$1.new" || ! mv -fT -- "$run_dir/limit.$1.new" "$run_dir/limit.$1"; then
        die 1 "cannot write to $run_dir"
    fi
}

# All tasks over HTTP.
monitor_command() {
    local -a args=()
    [[ ${#words[@]} -eq 1 ]] || die 2 "monitor takes no arguments (but --listen, --config)"
    [[ -z ${opt[task]-}${opt[run-dir]-} ]] || die 2 "monitor shows all tasks: neither --task nor --run-dir belongs to it"
    [[ -z $config ]] || args+=(-c "$config")
    [[ -z ${opt[listen]-} ]] || args+=(--listen "${opt[listen]}")
    [[ $log_format == auto ]] || args+=(--log-format "$log_format")
    for ((; verbose > 0; verbose--)); do args+=(-v); done
    exec "$here/df2redis-monitor" "${args[@]}"
}

# They hold for the runs that follow, too, until the task ends.
limit_command() {
    local ops=${opt[max-ops]-} bytes=${opt[max-bytes]-} what=() number most=1000000000000
    [[ ${#words[@]} -eq 1 ]] || die 2 "limit takes no arguments (but --task, --run-dir, --max-ops and --max-bytes)"
    if [[ -n $ops ]]; then
        decimal "$ops" 2147483647 || die 2 "--max-ops $ops: no number up to 2147483647"
        ops=$number
        what+=("ops=$ops")
    fi
    if [[ -n $bytes ]]; then
        plain_size "$bytes"
        bytes=$number
        what+=("bytes=$bytes")
    fi
    [[ ${#what[@]} -gt 0 ]] || die 2 "limit takes --max-ops N, --max-bytes SIZE or both"
    look_at_lock
    [[ $held == up ]] || die 1 "task $task is not running ($run_dir is not locked)"
    [[ -z $ops ]] || put_limit max-ops "$ops"
    [[ -z $bytes ]] || put_limit max-bytes "$bytes"
    [[ -S $control ]] || exit 0
    exec "$here/dfreader" --ask "$control" limit "${what[@]}"
}

# ---- what a file or a source holds: no task ----

inspect_command() {
    local form=text until=(--until synced) parts
    [[ $json -eq 0 ]] || form=json
    [[ $csv -eq 0 ]] || form=csv
    [[ $json -eq 0 || $csv -eq 0 ]] || die 2 "--json and --csv exclude each other"
    [[ ${#words[@]} -le 2 ]] || die 2 "inspect takes SOURCE or FILE (df2redis --help)"
    source_url=${words[1]-$source_url}
    [[ -n $source_url ]] || die 2 "inspect takes SOURCE or FILE (df2redis --help)"
    check_source
    source_args=("${both_args[@]}" "${source_args[@]}")
    stage_options
    [[ -z ${opt[top]-} ]] || parse_args+=(--top "${opt[top]}")
    [[ $source_is_file -eq 0 ]] || until=()
    "$here/dfreader" "${source_args[@]}" "${until[@]}" "$source_url" | "$here/dfparse" "${parse_args[@]}" --inspect "$form"
    parts=("${PIPESTATUS[@]}")
    worse "${parts[0]}"
    worse "${parts[1]}"
    exit "$worst"
}

# Options of the connections of one end, as df2redis-check has them; those of other programs are left out.
check_end() { # source or target, option…
    local side=$1 name
    shift
    while [[ $# -gt 0 ]]; do
        name=${1#--}
        connection_option "$name" "$side"
        case $? in
        0)
            [[ $name == reconnect-timeout || $name == reply-timeout ]] || check_args+=("--$side-$name=$2")
            shift
            ;;
        1) check_args+=("--$side-$name") ;;
        esac
        shift
    done
}

# A task that is named and runs writes to the target: its positions are asked for.
check_of_task() {
    [[ -n ${opt[task]-} && $source_url == *://* && $target_url == *://* ]] || return 0
    find_run_dir
    [[ ! -S $control ]] || check_args+=("--task=$control")
}

check_command() {
    local i
    case ${#words[@]} in
    1) ;;
    3)
        source_url=${words[1]}
        target_url=${words[2]}
        ;;
    *) die 2 "check takes SOURCE and TARGET (df2redis --help)" ;;
    esac
    [[ -n $source_url && -n $target_url ]] || die 2 "check takes SOURCE and TARGET (df2redis --help)"
    is_secure "$source_url" && check_end source "${both_args[@]}"
    is_secure "$target_url" && check_end target "${both_args[@]}"
    check_end source "${source_args[@]}"
    check_end target "${target_args[@]}"
    check_of_task
    [[ -n $config ]] && check_args=(-c "$config" "${check_args[@]}")
    for ((i = 0; i < verbose; i++)); do check_args+=(-v); done
    exec "$here/df2redis-check" "${check_args[@]}" "$source_url" "$target_url"
}
