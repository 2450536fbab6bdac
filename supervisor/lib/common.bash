# shellcheck shell=bash
# Messages, exit statuses, and what every other part needs.

messages=2 # the descriptor: 7 once there is a log, and then 2 is what bash itself has to say, which nobody reads

log_words=0 # on a terminal: as people say it, over a line of progress that may stand there
log_format=auto

say_words() { # level event [name=value…]
    local event=${2%% *} rest=${*:2} level=''
    rest=${rest#"$event"}
    case $1 in
    error) level='error: ' ;;
    warn) level='warning: ' ;;
    esac
    printf '\r\e[K%sdf2redis: %s%s\n' "$level" "${event//_/ }" "${rest:+:$rest}" >&"$messages"
}

log() { # level event [name=value…]
    local level=$1
    shift
    case $level in
    info) [[ $verbose -ge 1 ]] || return 0 ;;
    debug) [[ $verbose -ge 2 ]] || return 0 ;;
    esac
    if [[ $log_words -eq 1 ]]; then
        say_words "$level" "$@"
    else
        printf 'level=%s stage=df2redis event=%s\n' "${level/note/info}" "$*" >&"$messages"
    fi
}

die() { # status message
    printf 'df2redis: %s\n' "$2" >&"$messages"
    exit "$1"
}

# The same order as exit_worse in common/exits.h.
rank_of() {
    case $1 in
    0) echo 0 ;;
    3) echo 1 ;;
    5) echo 3 ;;
    75) echo 4 ;;
    4) echo 5 ;;
    2) echo 7 ;;
    *) echo 6 ;;
    esac
}

worst=0
worse() {
    local st=$1
    # What killed a stage is worth a retry.
    [[ $st -ge 128 ]] && st=75
    [[ $(rank_of "$st") -gt $(rank_of "$worst") ]] && worst=$st
    return 0
}

alive() { kill -0 "$1" 2>/dev/null; }

# A value as it stands in name=value lines: one word. In escaped.
escape() { # text
    escaped=${1//%/%25}
    escaped=${escaped// /%20}
    escaped=${escaped//$'\n'/%0a}
    escaped=${escaped//$'\t'/%09}
    escaped=${escaped//[[:cntrl:]]/?}
}

# A question to the session's dfreader. It must not hold what our stages hold.
ask() { # seconds question…
    local patience=$1
    shift
    timeout "$patience" "$here/dfreader" --ask "$control" "$@" 2>/dev/null 4>&- 5>&- 7>&- 8>&- 9>&-
}

# Let time pass. Not in bash's wait, nor with a child: a signal that comes when a child ends makes wait lose that child's
# status, and wait for ever. A signal is handled meanwhile.
tick() { # seconds
    local _
    read -r -t "$1" -u 4 _
    return 0
}

now_us() { now=${EPOCHREALTIME/./}; }

# A number from outside, in number, without the leading zeros that would make it octal. False: it is none, or more than
# max.
decimal() { # text max
    [[ $1 =~ ^0*([0-9]{1,18})$ ]] || return 1
    number=$((10#${BASH_REMATCH[1]}))
    [[ $number -le $2 ]]
}

# With too few descriptors whatever is started fails, and says something else.
check_descriptors() {
    local most
    ulimit -Sn hard 2>/dev/null
    most=$(ulimit -n) || most=0
    [[ $most == unlimited || $most -ge 64 ]] || die 1 "too many open files: raise the limit of $most (ulimit -n) to 64 or more"
}
