#!/bin/sh
# Create a task, start it, limit it, stop it and remove it, over HTTP:
#   df2redis monitor ... with token-file = /etc/df2redis-token in section [monitor]
#   tasks-over-http.sh http://127.0.0.1:8080 /etc/df2redis-token redis://source redis://target
set -eu
[ $# -eq 4 ] || { echo "usage: $0 URL TOKENFILE SOURCE TARGET" >&2; exit 2; }
tasks=$1/api/v1/tasks source=$3 target=$4

# The token is in no process list: curl reads the header from its standard input.
call() { # method path [json]
    printf 'Authorization: Bearer %s\n' "$(head -n 1 "$token")" |
        curl --silent --show-error --fail-with-body --header @- --request "$1" \
            ${3:+--header 'Content-Type: application/json' --data "$3"} "$tasks$2"
}
token=$2

call POST '' "{\"name\": \"example\", \"config\": {\"kind\": \"full+incremental\", \"source\": \"$source\", \"target\": \"$target\"}}"
call POST /example/start
until call GET /example | grep -q '"phase":"streaming"'; do sleep 1; done
call POST /example/limit '{"max-ops": 20000}'
call POST /example/stop '{"final": true}'
call GET /example
call DELETE /example
