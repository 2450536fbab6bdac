#!/bin/sh
# Keep a master's full sync in a file, then replay it into a target: SOURCE FILE TARGET TARGET_VERSION.
set -eu
df2redis record --until synced "$1" "$2"
dfparse -t "$4" "$2" | rediswriter "$3"
