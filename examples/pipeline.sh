#!/bin/sh
# Replicate by hand, in a plain shell pipeline: SOURCE TARGET. Ends with Ctrl-C, which reaches all three: the source
# side stops, the rest drains.
set -eu
dfreader "$1" | dfparse | rediswriter "$2"
