#!/usr/bin/env bash
# Start an S3-compatible server (moto's) on loopback with an empty bucket, and print its address. What it holds goes with it.
#   export FLOTT_S3_ENDPOINT=$(bench/s3-up.sh)
# S3_PORT (15555), S3_BUCKET (flott), S3_RUN (a folder of its own). Installed once into a Python environment in $BENCH_HOME.
set -euo pipefail
. "$(dirname "$0")/env.sh"
server=$BENCH_HOME/moto/bin/moto_server
if [ ! -x "$server" ]; then
  python3 -m venv "$BENCH_HOME/moto" >&2
  persist "$BENCH_HOME/moto/bin/pip" install -q "moto[server]==$MOTO_VERSION" >&2
fi
mkdir -p "$S3_RUN"
if ! { [ -s "$S3_RUN/pid" ] && kill -0 "$(cat "$S3_RUN/pid")" 2>/dev/null; }; then
  setsid "$server" -H 127.0.0.1 -p "$S3_PORT" >"$S3_RUN/log" 2>&1 < /dev/null &
  pid=$!; echo "$pid" > "$S3_RUN/pid"
  for _ in $(seq 2400); do
    (exec 3<>"/dev/tcp/127.0.0.1/$S3_PORT") 2>/dev/null && break
    kill -0 "$pid" 2>/dev/null || { cat "$S3_RUN/log" >&2; exit 1; }
    sleep 0.05
  done
fi
python3 - "http://127.0.0.1:$S3_PORT/$S3_BUCKET" <<'P'
import sys, urllib.request
urllib.request.build_opener(urllib.request.ProxyHandler({})).open(urllib.request.Request(sys.argv[1], method="PUT"), timeout=20)
P
echo "http://127.0.0.1:$S3_PORT"
