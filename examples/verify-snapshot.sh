#!/bin/sh
# Load a snapshot into a server, and prove that all of it is there: FILE TARGET REPORT. What the target has no type for
# is listed in REPORT, and is known then.
set -eu
df2redis --report "$3" migrate "$1" "$2" || [ $? -eq 3 ] # 3: something was not carried over, and is named
df2redis-check --known "$3" "$1" "$2"
