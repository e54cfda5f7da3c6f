#!/usr/bin/env bash
# Ask real Flink for type and value of SQL expressions over constants (gen/ExpressionTable.java), without a cluster:
#   record_expressions.sh FILE [table.local-time-zone=Europe/Berlin ...] > FILE.tsv    (why one is refused or fails: stderr)
#   record_expressions.sh                                                             (what SHOW FUNCTIONS lists)
set -euo pipefail
. "$(dirname "$0")/env.sh"
opens=""
for p in java.lang java.net java.io java.nio sun.nio.ch java.lang.reflect java.text java.time java.util java.util.concurrent java.util.concurrent.atomic java.util.concurrent.locks; do opens+=" --add-opens=java.base/$p=ALL-UNNAMED"; done
out="$FLINK_RUN/expressions"; mkdir -p "$out"
source="$BENCH_DIR/gen/ExpressionTable.java"
[ "$out/ExpressionTable.class" -nt "$source" ] || javac -nowarn -d "$out" -cp "$FLINK_LIB/*" "$source"
# shellcheck disable=SC2086
exec java -Xmx700m $opens -cp "$out:$FLINK_LIB/*" -Dlog4j2.level=OFF ExpressionTable "$@"
