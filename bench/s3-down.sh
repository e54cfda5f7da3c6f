#!/usr/bin/env bash
# Stop the server that s3-up.sh started for this S3_PORT, by its recorded pid.
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ -s "$S3_RUN/pid" ] || exit 0
p=$(cat "$S3_RUN/pid"); kill "$p" 2>/dev/null || true
for _ in $(seq 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
kill -9 "$p" 2>/dev/null || true; rm -f "$S3_RUN/pid"
