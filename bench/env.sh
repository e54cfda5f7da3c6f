# Shared settings of the bench scripts. Source it; every value can be overridden from the environment.
BENCH_DIR=${BENCH_DIR:-$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)}
BENCH_HOME=${BENCH_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/flott-bench}   # downloaded jars, run state, data; outside every checkout
KAFKA_VERSION=${KAFKA_VERSION:-4.3.1}
LOG4J_VERSION=${LOG4J_VERSION:-2.25.4}
FLINK_VERSION=${FLINK_VERSION:-2.2.1}
FLINK_KAFKA_CONNECTOR=${FLINK_KAFKA_CONNECTOR:-5.0.0-2.2}
ZOOKEEPER_VERSION=${ZOOKEEPER_VERSION:-3.9.4}
ZOOKEEPER_LIB=${ZOOKEEPER_LIB:-$BENCH_HOME/zookeeper}
KAFKA_LIBS=${KAFKA_LIBS:-$BENCH_HOME/kafka/libs}
KAFKA_PORT=${KAFKA_PORT:-19092}
KAFKA_DATA=${KAFKA_DATA:-$BENCH_HOME/run/kafka-$KAFKA_PORT}   # one folder an instance: several ports, several instances
KAFKA_HEAP=${KAFKA_HEAP:-320m}
KAFKA_NODES=${KAFKA_NODES:-1}                       # 2: a second node (broker only), for leader changes
KAFKA_SECURE=${KAFKA_SECURE:-0}                     # 1: SASL_PLAINTEXT, SSL and SASL_SSL listeners beside the plain one
KAFKA_PROXY=${KAFKA_PROXY:-0}                       # 1: a listener for proxy.py
KAFKA_TLS=${KAFKA_TLS:-$BENCH_HOME/tls}             # stores of the TLS listeners, made once by kafka-tls.sh
KAFKA_USER=${KAFKA_USER:-alice}                     # the one user of PLAIN and SCRAM
KAFKA_PASSWORD=${KAFKA_PASSWORD:-alice-secret}
MOTO_VERSION=${MOTO_VERSION:-5.2.1}
PYARROW_VERSION=${PYARROW_VERSION:-26.0.1}
S3_PORT=${S3_PORT:-15555}
S3_BUCKET=${S3_BUCKET:-flott}
S3_RUN=${S3_RUN:-$BENCH_HOME/run/s3-$S3_PORT}
FLINK_LIB=${FLINK_LIB:-$BENCH_HOME/flink/pyflink/lib}
FLINK_OPT=${FLINK_OPT:-$BENCH_HOME/flink/pyflink/opt}
FLINK_EXTRA=${FLINK_EXTRA:-$BENCH_HOME/flink/extra}
FLINK_RUN=${FLINK_RUN:-$BENCH_HOME/run/flink}
FLINK_REST_PORT=${FLINK_REST_PORT:-18081}
FLINK_RPC_PORT=${FLINK_RPC_PORT:-16123}
FLINK_GATEWAY_PORT=${FLINK_GATEWAY_PORT:-18083}
FLINK_JM_MEM=${FLINK_JM_MEM:-1g}
FLINK_TM_MEM=${FLINK_TM_MEM:-4g}
FLINK_TM_SLOTS=${FLINK_TM_SLOTS:-2}
FLINK_TMS=${FLINK_TMS:-1}
FLINK_PARALLELISM=${FLINK_PARALLELISM:-2}
FLINK_BACKEND=${FLINK_BACKEND:-hashmap}             # hashmap | rocksdb
FLINK_CHECKPOINT_MS=${FLINK_CHECKPOINT_MS:-0}       # 0: checkpoints off
BENCH_DATA=${BENCH_DATA:-$BENCH_HOME/data}
export BENCH_DIR BENCH_HOME

# persist COMMAND...: up to four times, with pauses between: what a network brings may be away for a moment
persist() { local n; for n in 5 15 30; do "$@" && return; echo "tried again in $n s: $*" >&2; sleep "$n"; done; "$@"; }

# cpu_s PID...: user+system CPU seconds consumed so far by those processes (all threads, plus reaped children)
cpu_s() {
  local hz t=0 p; hz=$(getconf CLK_TCK)
  for p in "$@"; do
    [ -r "/proc/$p/stat" ] && t=$((t + $(sed 's/^.*) //' "/proc/$p/stat" | awk '{print $12+$13+$14+$15}')))
  done
  awk -v t="$t" -v hz="$hz" 'BEGIN{printf "%.2f\n", t/hz}'
}
rss_mb() { awk '/^VmRSS/{printf "%d\n", $2/1024}' "/proc/$1/status"; }
now_s() { date +%s.%N; }
