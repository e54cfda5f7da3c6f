#!/usr/bin/env bash
# Stop the broker processes that kafka-up.sh started for this KAFKA_PORT, by their recorded pids.
#   kafka-down.sh            all nodes        kafka-down.sh node 2    one node
# KAFKA_KILL=1: kill -9 at once. KAFKA_WIPE=1: delete the data too (all nodes).
set -euo pipefail
. "$(dirname "$0")/env.sh"
stop() { # stop PIDFILE
  [ -s "$1" ] || return 0
  local p; p=$(cat "$1")
  if [ "${KAFKA_KILL:-0}" = 1 ]; then kill -9 "$p" 2>/dev/null || true; else kill "$p" 2>/dev/null || true; fi
  for _ in $(seq 300); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
  kill -9 "$p" 2>/dev/null || true; rm -f "$1"
}
if [ "${1:-}" = node ]; then
  [ "$2" = 1 ] && f="$KAFKA_DATA/pid" || f="$KAFKA_DATA/node$2/pid"
  stop "$f"; echo "kafka node $2 down"; exit 0
fi
stop "$KAFKA_DATA/node2/pid"; stop "$KAFKA_DATA/pid"
if [ "${KAFKA_WIPE:-0}" = 1 ]; then rm -rf "${KAFKA_DATA:?}"; fi
echo "kafka down"
