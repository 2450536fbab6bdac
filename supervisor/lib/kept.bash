# shellcheck shell=bash
# Tasks that are kept under a name: create writes their configuration down, start runs them in the background.

kind= # of the configuration: what start does

kept_dir() {
    if [[ ${XDG_CONFIG_HOME-} == /* ]]; then
        kept_in=$XDG_CONFIG_HOME/df2redis
    elif [[ $EUID -eq 0 ]]; then
        kept_in=/etc/df2redis
    else
        [[ ${HOME-} == /* ]] || die 1 "neither XDG_CONFIG_HOME nor HOME says where tasks are kept"
        kept_in=$HOME/.config/df2redis
    fi
}

# status, top, stop, limit, cutover and start take the name of a task as a word, too.
take_name() {
    case ${words[0]-} in
    status | top | stop | limit | cutover | start) ;;
    *) return 0 ;;
    esac
    [[ ${#words[@]} -eq 2 ]] || return 0
    [[ -z ${opt[task]-} ]] || die 2 "${words[0]} takes a name, or --task"
    opt[task]=${words[1]}
    words=("${words[0]}")
}

# What is started has its configuration where create has put it.
take_kept_config() {
    [[ ${words[0]-} == start ]] || return 0
    [[ -z $config ]] || die 2 "start takes no --config: create keeps it"
    task=${opt[task]-}
    [[ -n $task ]] || die 2 "start takes the name of a task"
    check_task
    kept_dir
    config=$kept_in/$task.conf
    [[ -e $config ]] || die 1 "there is no task $task (no $config): df2redis create $task -c FILE"
}

# The command of a kind of task, in command.
command_of_kind() {
    case $kind in
    full | import) command=migrate ;;
    full+incremental | incremental) command=replicate ;;
    export) command='export' ;;
    '') die 2 "$config: kind in section [df2redis] is missing: full, full+incremental, incremental, import or export" ;;
    *) die 2 "$config: kind in section [df2redis] is full, full+incremental, incremental, import or export, not $kind" ;;
    esac
}

# SOURCE and TARGET of the configuration fit the kind.
take_kind() {
    local second=TARGET
    [[ -z ${opt[run-dir]-} ]] || die 2 "a task that is kept has its run directory by its name, without --run-dir"
    command_of_kind
    ! is_to_file || second=FILE
    take_urls "$second"
    [[ $kind != import || $source_is_file -eq 1 ]] || die 2 "$config: the source of an import is a file"
    [[ $kind == import || $kind == export || $source_is_file -eq 0 ]] || die 2 "$config: the source of kind $kind is a server"
}

create_command() {
    local new
    [[ ${#words[@]} -eq 2 ]] || die 2 "create takes a name"
    [[ -n $config ]] || die 2 "create needs --config FILE"
    task=${words[1]}
    check_task
    words=(create)
    choose_run_dir
    take_kind
    check_stages || exit "$worst"
    kept_dir
    [[ -d $kept_in ]] || (umask 077 && mkdir -p -- "$kept_in") || die 1 "cannot make $kept_in"
    refuse_foreign_link "$kept_in/$task.conf"
    [[ $force -eq 1 || ! -e $kept_in/$task.conf ]] || die 1 "task $task exists ($kept_in/$task.conf; --force overwrites it)"
    new=$(umask 077 && mktemp -- "$kept_in/.$task.XXXXXX") || die 1 "cannot write to $kept_in"
    if ! cat -- "$config" >"$new" || ! mv -fT -- "$new" "$kept_in/$task.conf"; then
        rm -f -- "$new"
        die 1 "cannot write to $kept_in"
    fi
    exit 0
}

# The options that its kind stands for.
kind_options() {
    case $kind in
    full+incremental) options=(--restart) ;;
    incremental) options=(--restart --from-saved) ;;
    export) [[ $force -eq 0 ]] || options=(--force) ;;
    esac
}

# It runs by itself from here on: without our terminal, our descriptors and our directory's later fate.
start_command() {
    local pid st options=() word=$command
    [[ ${#words[@]} -eq 1 ]] || die 2 "start takes the name of a task"
    take_kind
    word=$command
    kind_options
    ! look_at_lock || die 1 "task $task is running already ($run_dir is locked)"
    make_run_dir
    rm -f -- "$run_dir/state"
    [[ -n ${opt[log-file]-} ]] || options+=(--log-file "$run_dir/log")
    setsid "$self" -c "$config" --task "$task" "${options[@]}" "$word" </dev/null >/dev/null 2>"$run_dir/start.err" &
    pid=$!
    until is_begun; do
        alive "$pid" || break
        sleep 0.05
    done
    if alive "$pid"; then
        rm -f -- "$run_dir/start.err"
        exit 0
    fi
    wait "$pid"
    st=$?
    # A short one may be done, and has said all there is to say in its log.
    [[ ! -s $run_dir/start.err ]] || cat -- "$run_dir/start.err" >&2
    rm -f -- "$run_dir/start.err"
    if [[ -r $run_dir/state && $st -ne 0 && $st -ne 3 ]]; then
        value_of last_error "$run_dir/state"
        [[ -z $value ]] || printf 'df2redis: task %s: %s\n' "$task" "${value//%20/ }" >&2
    fi
    exit "$st"
}

# Its supervisor has checked everything, and runs its stages.
is_begun() {
    [[ -r $run_dir/state ]] || return 1
    value_of phase "$run_dir/state"
    [[ -n $value && $value != starting ]]
}

# Those that have no run directory yet: a line each.
list_kept() { # bases that were listed
    local file dir
    kept_dir
    for file in "$kept_in"/*.conf; do
        [[ -r $file ]] || continue
        task=${file##*/}
        task=${task%.conf}
        for dir in "$@"; do [[ ! -r $dir/$task/state ]] || continue 2; done
        if [[ $json -eq 1 ]]; then
            printf '{"task":"%s","phase":"created"}\n' "$task"
        else
            printf 'task name=%s phase=created\n' "$task"
        fi
    done
}

forget_kept() {
    kept_dir
    [[ -e $kept_in/$task.conf ]] || return 1
    rm -f -- "$kept_in/$task.conf" || die 1 "cannot remove $kept_in/$task.conf"
}
