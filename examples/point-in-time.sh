#!/bin/sh
# The data set as it was at a moment, from the append-only file of a server that notes the times
# (aof-timestamp-enabled yes): DIRECTORY TIME TARGET, TIME in seconds or in UTC as 2026-11-30T10:00:00Z.
# The files are copied first: the server goes on writing, and may replace them.
set -eu
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
cp "$1"/* "$copy"
df2redis --until-time "$2" --truncated ok migrate "$copy" "$3"
