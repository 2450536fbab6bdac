# shellcheck shell=bash disable=SC2154 # what tests/peers/run has
# How each tool is started. file_TOOL takes an RDB file and ends; live_TOOL follows a server until it is stopped. Each sets
# $command; what a tool writes besides goes to $dir, which is new for each run. All options are those of the tools' own
# documentation for this purpose, or their defaults.

file_df2redis() { # file target-port
    command=(df2redis migrate "$1" "redis://127.0.0.1:$2")
}

live_df2redis() { # source-port target-port
    command=(df2redis replicate "redis://127.0.0.1:$1" "redis://127.0.0.1:$2")
}

live_dragonfly_df2redis() {
    command=(df2redis replicate "dragonfly://127.0.0.1:$1" "redis://127.0.0.1:$2")
}

shake() { # reader-section target-port
    cat >"$dir/shake.toml" <<END
$1
[redis_writer]
address = "127.0.0.1:$2"
[advanced]
dir = "$dir"
log_interval = 5
rdb_restore_command_behavior = "rewrite"
END
    command=("${path[redisshake]}" "$dir/shake.toml")
}

file_redisshake() {
    shake "[rdb_reader]
filepath = \"$1\"" "$2"
}

live_redisshake() {
    shake "[sync_reader]
address = \"127.0.0.1:$1\"
sync_rdb = true
sync_aof = true" "$2"
}

file_gunyu() {
    command=("${path[gunyu]}" -cmd=rdb -rdb.action=load -rdb.rdbPath="$1" -rdb.load.redis.addresses="127.0.0.1:$2"
        -rdb.load.redis.type=standalone)
}

live_gunyu() {
    local port
    port=$(random_port)
    cat >"$dir/gunyu.yaml" <<END
server:
  listen: 127.0.0.1:$port
  listenPeer: 127.0.0.1:$port
  gracefullStopTimeout: 1s
input:
  redis:
    addresses: [127.0.0.1:$1]
    type: standalone
  syncFrom: master
channel:
  storer:
    dirPath: $dir/store
    maxSize: 4294967296
output:
  replay:
    keyExists: replace
    targetDb: -1
    replayTransaction: true
  redis:
    addresses: [127.0.0.1:$2]
    type: standalone
log:
  level: info
  handler:
    stdout: true
END
    mkdir -p "$dir/store"
    command=("${path[gunyu]}" -conf="$dir/gunyu.yaml")
}

# Writes the commands of an append-only file, which redis-cli sends.
file_hdt() {
    # shellcheck disable=SC2016 # for the inner shell
    command=(bash -c 'set -o pipefail; "$1" -c aof -o /dev/fd/3 "$2" 3>&1 >/dev/null | redis-cli -p "$3" --pipe'
        hdt "${path[hdt]}" "$1" "$2")
}

# Its path is that of rmt.
file_rdbcli() {
    command=("${path[rdbcli]}" -s "$1" -m "redis://127.0.0.1:$2" -r)
}

# Reads Dragonfly only. Its configuration has to name a file and a program for another command, and it looks for templates
# where it runs: $DFGO_HOME is its source tree.
live_dragonfly_dfgo() {
    cat >"$dir/dfgo.yaml" <<END
taskName: peers
stateDir: $dir
statusFile: $dir/status.json
source:
  type: dragonfly
  addr: 127.0.0.1:$1
target:
  type: redis-standalone
  addr: 127.0.0.1:$2
dashboard:
  addr: ""
checkpoint:
  enabled: true
  intervalSeconds: 10
log:
  dir: "$dir"
  level: info
  consoleEnabled: true
conflict:
  policy: overwrite
advanced:
  qps: 0
  batchSize: 500
migrate:
  snapshotPath: $dir/none.rdb
  shakeBinary: /bin/true
END
    command=(env -C "${DFGO_HOME:-.}" "${path[dfgo]}" replicate --config "$dir/dfgo.yaml")
}
