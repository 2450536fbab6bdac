# shellcheck shell=bash
# The command line and the file of --config.

args=("$@")
config=
verbose=0
single=0
force=0
final=0
plan=0
pause_all=0
reverse=0
help=0
json=0
csv=0
raw=0
resume=0
restart=0
from_saved=0 # a position is there, or the task does not run
words=()
word_at=() # where each of them stands in args
# Options with a value that stand in section [df2redis] of the file under the same name; what is unset is empty.
declare -A opt=()
valued=' on-existing on-full-resync restart-max restart-window task run-dir log-file log-format report max-ops max-bytes '
said_only=' until timeout top listen budget last-check hold switch then ' # on the command line only
# Options of the connections: of both ends, of dfreader, of rediswriter; and of dfparse.
both_args=()
source_args=()
target_args=()
parser_args=()
check_args=()

# Options that are handed on as they are: "stages value" or "stages flag", stages being r (dfreader), p (dfparse),
# w (rediswriter) and c (df2redis-check).
declare -A handed_on=(
    [spool]='r value' [spool-max]='r value' [spill-max]='r value' [buffer]='r value'
    [parser-timeout]='r value' [stall-timeout]='r value' [barrier-timeout]='r value' [ping-timeout]='r value'
    [scan]='r flag' [follow]='r flag' [set-notifications]='r flag' [scan-count]='r value' [scan-window]='r value'
    [scan-rate]='r value' [scan-bytes]='r value' [scan-large]='r value' [scan-values]='r value'
    [no-verify]='r flag' [verify-rate]='r value' [one-file]='r flag' [until-time]='r value' [truncated]='r value' [no-spool]='r flag' [from]='r value' [masters]='r value' [acknowledge]='r value'
    [spill-dir]='rw value'
    [include]='pc value' [exclude]='pc value' [rename-prefix]='pc value' [db-map]='pc value'
    [target-version]='p value' [target-modules]='p value' [unsupported]='p value' [restore-limit]='p value' [part-size]='p value'
    [max-bulk]='p value' [target-timeout]='p value' [eviction-hints]='p flag' [publish]='p flag' [no-reread]='p flag' [stats]='p flag'
    [on-source-flush]='w value' [position-file]='w value' [errors-to]='w value' [wait]='w value'
    [connections]='w value' [window]='w value' [barrier-spill-max]='w value' [input-timeout]='w value'
    [strict]='w flag' [no-mset]='w flag' [exactly-once]='w flag' [at-least-once]='w flag' [durable-target]='w flag'
    [takeover]='w flag'
    [mode]='c value' [sample]='c value' [ttl-tolerance]='c value' [no-ttl]='c flag' [rounds]='c value' [delay]='c value'
    [list]='c value' [output]='c value' [repair]='c value' [save]='c value' [known]='c value' [source-max-ops]='c value' [target-max-ops]='c value'
)

is_valued() { [[ $valued == *[[:space:]]"$1"[[:space:]]* ]]; }

# Is it an option of connections? 0: with a value, 1: without, 2: no.
connection_option() { # name without dashes, side
    case $1 in
    tls-ca | tls-cert | tls-key | tls-key-password-file | tls-server-name) return 0 ;;
    tls-insecure) return 1 ;;
    connect-timeout | reconnect-timeout | password-file | sentinel-user | sentinel-password-file) [[ $2 != both ]] && return 0 ;;
    reply-timeout) [[ $2 == target ]] && return 0 ;;
    esac
    return 2
}

# Which end a name is for, in side, and what is left of the name, in rest.
split_side() { # name
    side=both
    rest=$1
    case $1 in
    source-*) side=source rest=${1#source-} ;;
    target-*) side=target rest=${1#target-} ;;
    esac
}

need() { [[ $2 -ge 2 ]] || die 2 "$1 needs a value"; }

# An option of stages, for each that has it.
hand_on() { # stages word…
    local stages=$1
    shift
    [[ $stages != *r* ]] || source_args+=("$@")
    [[ $stages != *p* ]] || parser_args+=("$@")
    [[ $stages != *w* ]] || target_args+=("$@")
    [[ $stages != *c* ]] || check_args+=("$@")
}

# Take an option with a value, of a stage, or of connections: returns how many words it took, 0 none.
take_option() { # --name [value]
    local side rest name=${1#--}
    [[ -n $name ]] || return 0
    if [[ $said_only == *" $name "* ]] || is_valued "$name"; then
        need "$1" $#
        opt[$name]=$2
        return 2
    fi
    case ${handed_on[$name]-} in
    *value)
        need "$1" $#
        hand_on "${handed_on[$name]% *}" "--$name=$2"
        return 2
        ;;
    *flag)
        hand_on "${handed_on[$name]% *}" "--$name"
        return 1
        ;;
    esac
    split_side "$name"
    local -n list=${side}_args
    connection_option "$rest" "$side"
    case $? in
    0)
        need "$1" $#
        list+=("--$rest" "$2")
        return 2
        ;;
    1)
        list+=("--$rest")
        return 1
        ;;
    esac
    return 0
}

# An option without a value. False: it is none of those.
take_flag() { # --name
    case $1 in
    --single) single=1 ;;
    --force) force=1 ;;
    --final) final=1 ;;
    --plan) plan=1 ;;
    --pause-all) pause_all=1 ;;
    --reverse) reverse=1 ;;
    --json) json=1 ;;
    --csv) csv=1 ;;
    --raw) raw=1 ;;
    --resume) resume=1 ;;
    --from-saved) from_saved=1 ;;
    --restart) restart=1 ;;
    --no-restart) restart=-1 ;;
    -v | --verbose) verbose=$((verbose + 1)) ;;
    -h | --help) help=1 ;;
    --version)
        "$here/dfreader" --version | sed -n '1s/^dfreader/df2redis/p'
        exit 0
        ;;
    *) return 1 ;;
    esac
}

read_arguments() { # the words of the command line
    local taken
    while [[ $# -gt 0 ]]; do
        taken=1
        case $1 in
        -c | --config)
            need "$1" $#
            config=$2
            taken=2
            ;;
        --config=*) config=${1#*=} ;;
        --*=*)
            take_option "${1%%=*}" "${1#*=}"
            case $? in
            0)
                take_flag "${1%%=*}" || unknown_option "${1%%=*}"
                die 2 "${1%%=*} takes no value"
                ;;
            1) die 2 "${1%%=*} takes no value" ;;
            esac
            ;;
        -?*)
            if ! take_flag "$1"; then
                take_option "$@"
                taken=$?
                [[ $taken -ne 0 && $1 == --* ]] || unknown_option "$1"
            fi
            ;;
        *)
            words+=("$1")
            word_at+=($((${#args[@]} - $#)))
            ;;
        esac
        shift "$taken"
    done
}

# An option without an argument, in the file: yes or no.
yes_no() { # name value
    case $2 in
    yes) return 0 ;;
    no) return 1 ;;
    esac
    die 2 "$config: $1 in section [df2redis] is yes or no"
}

read_entry() { # name value: of section [df2redis]
    local side rest
    case $1 in
    '') return ;;
    source) source_url=$2 ;;
    target) target_url=$2 ;;
    kind) kind=$2 ;;
    single) yes_no "$@" && single=1 ;;
    resume) yes_no "$@" && resume=1 ;;
    restart) yes_no "$@" && [[ $restart -eq 0 ]] && restart=1 ;;
    source-password) export DF2REDIS_SOURCE_PASSWORD=$2 ;;
    target-password) export DF2REDIS_TARGET_PASSWORD=$2 ;;
    sentinel-password) export DF2REDIS_SENTINEL_PASSWORD=$2 ;;
    *)
        if is_valued "$1"; then
            opt[$1]=${opt[$1]-$2}
            return
        fi
        split_side "$1"
        connection_option "$rest" "$side"
        case ${handed_on[$1]-}$? in
        *value2 | 0) take_option "--$1" "$2" ;;
        *flag2 | 1) yes_no "$@" && take_option "--$1" ;;
        *) die 2 "$config: unknown name $1 in section [df2redis]" ;;
        esac
        ;;
    esac
}

source_url=
source_is_file=0
target_url=
read_config() {
    local entries name value list
    [[ -n $config ]] || return
    # What the command line says comes behind what the file says, and so counts.
    local said_both=("${both_args[@]}") said_source=("${source_args[@]}") said_target=("${target_args[@]}") \
        said_parser=("${parser_args[@]}") said_check=("${check_args[@]}")
    both_args=() source_args=() target_args=() parser_args=() check_args=()
    entries=$("$lib/dfconf" "$config" df2redis) || exit $?
    while IFS=$'\t' read -r name value; do read_entry "$name" "$value"; done <<<"$entries"
    both_args+=("${said_both[@]}") source_args+=("${said_source[@]}") target_args+=("${said_target[@]}")
    parser_args+=("${said_parser[@]}") check_args+=("${said_check[@]}")
}

number() { # name default: an option that is a number, in its place
    local value=${opt[$1]-$2}
    decimal "$value" 999999999 || die 2 "--$1 takes a number up to 999999999, not $value"
    opt[$1]=$number
}

check_options() {
    number restart-max 0
    number restart-window 600
    number timeout 60
    case ${opt[on-full-resync]-} in
    '' | fail | flush | overwrite) ;;
    *) die 2 "--on-full-resync is fail, flush or overwrite" ;;
    esac
    log_format=${opt[log-format]-auto}
    case $log_format in
    auto | human | logfmt) ;;
    json) [[ ${command-} != status ]] || json=1 ;;
    *) die 2 "--log-format is human, logfmt or json" ;;
    esac
    task=${opt[task]-default}
    check_task
}

check_task() {
    [[ $task =~ ^[A-Za-z0-9._-]+$ && $task != [.-]* ]] ||
        die 2 "a task's name must consist of letters, digits, dots, dashes and underscores, and not begin with a dot or dash"
}

# What the stages are given besides their own part.
stage_options() {
    local i name
    stage_args=()
    [[ -n $config ]] && stage_args+=(-c "$config")
    for ((i = 0; i < verbose; i++)); do stage_args+=(-v); done
    summary=
    # Where the writer's own summary goes elsewhere, it is read there.
    if [[ $restart -eq 1 ]]; then
        summary=$run_dir/summary
        [[ -z $config ]] || name=$("$lib/dfconf" "$config" writer | sed -n 's/^summary\t//p')
        if [[ -n ${name-} ]]; then summary=$name; else target_args+=(--summary "$summary"); fi
    fi
    if logs_to_terminal && [[ $log_format != logfmt ]]; then stage_args+=(--log-format human); else stage_args+=(--log-format logfmt); fi
    parse_args=("${stage_args[@]}" "${parser_args[@]}")
    [[ ${opt[on-existing]-} == skip || ${opt[on-existing]-} == fail ]] && parse_args+=(--on-existing "${opt[on-existing]}")
    source_args=("${stage_args[@]}" --no-progress "${source_args[@]}")
    target_args=("${stage_args[@]}" "${target_args[@]}" --task "$task" --on-existing "${opt[on-existing]:-refuse}")
    for name in max-ops max-bytes; do
        [[ -n ${opt[$name]-} ]] && target_args+=("--$name" "${opt[$name]}")
    done
    return 0
}

source_forms="It is one of
  redis://[user[:password]@]host[:port]         also valkey://; rediss://, valkeys:// over TLS
  unix://[user[:password]@]/path                a Unix socket
  redis-cluster://host[:port],host[:port]       a cluster, by any of its nodes; rediss-cluster:// over TLS
  sentinel://host[:port],host[:port]/name       sentinels:// over TLS
  dragonfly://[user[:password]@]host[:port]     dragonflys:// over TLS, dragonfly+unix:///path
  any of them with ?mode=scan                   where replication is not permitted"

# By --scan or by its URL. One process reads all nodes.
scans=0
check_scan() {
    local word follows=0
    for word in "${source_args[@]}"; do
        [[ $word != --scan ]] || scans=1
        [[ $word != --follow ]] || follows=1
    done
    [[ $source_url != *\?mode=scan ]] || scans=1
    if [[ $command == migrate && $scans -eq 0 ]]; then # there is no place to go on from
        [[ $going_on -eq 0 ]] || die 2 "--restart and --resume belong to replicate, and to migrate --scan"
        resume=0 restart=0
    fi
    [[ $scans -eq 1 ]] || return 0
    single=1
    case $command:$follows in
    replicate:0) die 2 "replicate --scan needs --follow: without it only what is there is read (df2redis migrate --scan)" ;;
    migrate:1) die 2 "migrate --scan ends when everything was read: --follow belongs to replicate" ;;
    esac
}

# What was typed is not repeated: without a scheme a password in it would not be known as one.
check_source() {
    case $source_url in
    dragonfly://* | dragonflys://* | dragonfly+unix://* | redis://* | rediss://* | valkey://* | valkeys://* | unix://* | \
        redis+unix://* | sentinel://* | sentinels://* | redis-cluster://* | rediss-cluster://*) return ;;
    file:* | [./]*) source_is_file=1 ;;
    *) [[ $source_url != *://* && -e $source_url ]] && source_is_file=1 ;;
    esac
    case $command:$source_is_file in
    migrate:1 | export:1 | inspect:1) single=1 ;;
    *:1) die 2 "SOURCE is a file, which has no later changes and is a record already: df2redis migrate FILE TARGET" ;;
    migrate:0 | export:0 | inspect:0) die 2 "SOURCE is neither an existing file nor a URL of a source. $source_forms
  FILE                                          a snapshot: .rdb, or any file of a .dfs set or its directory;
                                                an append-only file, its manifest or its directory" ;;
    *) die 2 "SOURCE is not a URL of a source. $source_forms" ;;
    esac
}

check_target() {
    case $target_url in
    redis://* | rediss://* | valkey://* | valkeys://* | unix://* | redis+unix://* | sentinel://* | sentinels://* | \
        redis-cluster://* | rediss-cluster://*) ;;
    *) die 2 "TARGET is not a URL of a target. It is one of
  redis://[user[:password]@]host[:port]         also valkey://; rediss://, valkeys:// over TLS
  redis-cluster://host[:port],host[:port]       rediss-cluster:// over TLS
  sentinel://host[:port],host[:port]/name       sentinels:// over TLS
  unix://[user[:password]@]/path                a Unix socket" ;;
    esac
}

# Is the second word a file?
is_to_file() { [[ $command == record || $command == export ]]; }

# Over TLS.
is_secure() { # url
    case $1 in
    dragonflys://* | rediss://* | valkeys://* | sentinels://* | rediss-cluster://*) return 0 ;;
    esac
    return 1
}

take_urls() { # what the second word is called: SOURCE and that from the command line or the file
    local secure=0
    case ${#words[@]} in
    1) ;;
    3)
        source_url=${words[1]}
        target_url=${words[2]}
        ;;
    *) die 2 "$command takes SOURCE and ${1} (df2redis help $command)" ;;
    esac
    [[ -n $source_url && -n $target_url ]] || die 2 "$command takes SOURCE and ${1} (df2redis help $command)"
    check_source
    check_scan
    is_to_file || check_target
    # Options for both ends go to those that use TLS.
    is_secure "$source_url" && source_args=("${both_args[@]}" "${source_args[@]}") secure=1
    is_secure "$target_url" && target_args=("${both_args[@]}" "${target_args[@]}") secure=1
    [[ ${#both_args[@]} -eq 0 || $secure -eq 1 ]] ||
        die 2 "--tls-* belongs to a source or target over TLS: rediss://, sentinels://, dragonflys://"
    [[ $command != replicate ]] || note_ends
    stage_options
}
