#!/bin/sh
# Watch both streams of a full sync on their way: SOURCE TARGET FOLDER. Afterwards FOLDER/raw can be parsed again,
# FOLDER/commands replayed, and FOLDER/commands.json read.
set -eu
dfreader --until synced "$1" | tee "$3/raw" | dfparse | tee "$3/commands" | rediswriter "$2"
dfparse --json "$3/raw" >"$3/commands.json"
