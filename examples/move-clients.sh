#!/bin/sh
# For df2redis cutover --switch: the clients of a HAProxy go to the target from now on. A backend has the servers "source"
# and "target"; SOCKET is its "stats socket ... level admin". Connections to the source are ended: their clients come again.
set -eu
BACKEND=${BACKEND:-redis}
SOCKET=${SOCKET:-/run/haproxy/admin.sock}

order() {
    answer=$(printf '%s\n' "$1" | socat -t 5 - "UNIX-CONNECT:$SOCKET")
    case $answer in
    *[![:space:]]*)
        echo "move-clients: $1: $answer" >&2
        exit 1
        ;;
    esac
}

order "set server $BACKEND/source state maint"
order "set server $BACKEND/target state ready"
order "shutdown sessions server $BACKEND/source"
