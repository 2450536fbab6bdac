#!/bin/sh
# Write what a source or a file holds into an RDB file for a server of that version, and show its largest keys:
# SOURCE FILE VERSION.
set -eu
df2redis --target-version "$3" export "$1" "$2" || [ $? -eq 3 ] # 3: something that RDB has no type for was named
df2redis inspect --top 20 "$2"
