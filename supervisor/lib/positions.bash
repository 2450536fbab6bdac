# shellcheck shell=bash
# For cutover: how far the flows of the task are at the target, and how far its masters.

# The session's answer: session, the line's end; of each flow what is applied, and its master in a cluster. False: it
# does not answer.
session=
declare -A applied=() flow_replid=()
ask_task() {
    local answer line name value
    answer=$(ask 2 status) || return 1
    applied=() flow_replid=() session=
    while IFS= read -r line; do
        case $line in
        session\ *) session=${line#session } ;;
        flow\ *)
            word_of flow "$line"
            name=$value
            word_of applied "$line"
            applied[$name]=$value
            word_of replid "$line"
            [[ -z $value ]] || flow_replid[$name]=${value,,}
            ;;
        esac
    done <<<"$answer"
    [[ -n $session ]]
}

session_word() { # name
    word_of "$1" "$session"
}

# Data errors and the like, as one text that changes when there are more.
trouble() {
    local name text=
    for name in errors lost doubtful evicted; do
        session_word "$name"
        text+="$name=${value:-0} "
    done
    trouble=$text
}

declare -A want=() # flow -> position of its master that the target is to reach

# The positions of dfhold's last answer, in want. False: some master has no flow, in fault.
want_positions() {
    local node
    want=()
    if [[ ${#flow_replid[@]} -eq 0 ]]; then
        want_of_server "${nodes[0]}"
        return
    fi
    for node in "${nodes[@]}"; do want_of_master "$node" || return; done
}

# The ids of a master, in replid and before.
replids_of() { # node
    word_of replid "$1"
    replid=${value,,}
    word_of replid2 "$1"
    before=${value,,}
}

# One server: the flows are its shards, or there is one.
want_of_server() { # node
    local replid before i list
    replids_of "$1"
    session_word replid
    value=${value,,}
    if [[ -z $value || ($value != "$replid" && $value != "$before") ]]; then
        fault="the source is not the master that the task follows"
        return 1
    fi
    word_of at "$1"
    IFS=, read -ra list <<<"$value"
    if [[ ${#list[@]} -ne ${#applied[@]} ]]; then
        fault="the source has ${#list[@]} flows, the task ${#applied[@]}"
        return 1
    fi
    for i in "${!list[@]}"; do want[$i]=${list[i]}; done
}

# A master of a cluster: one of the flows follows it.
want_of_master() { # node
    local replid before i
    replids_of "$1"
    for i in "${!flow_replid[@]}"; do
        [[ ${flow_replid[$i]} == "$replid" || ${flow_replid[$i]} == "$before" ]] || continue
        word_of at "$1"
        want[$i]=$value
        return 0
    done
    word_of address "$1"
    fault="no flow follows the master $value"
    return 1
}

# Has the target applied all of want? What is missing, in behind.
is_reached() {
    local flow
    behind=0
    for flow in "${!want[@]}"; do
        [[ ${applied[$flow]:-0} -ge ${want[$flow]} ]] || behind=$((behind + want[$flow] - ${applied[$flow]:-0}))
    done
    session_word slots_open # of a cluster: slots that are on their way from one flow to another
    [[ $behind -eq 0 && ${value:-0} -eq 0 ]]
}
