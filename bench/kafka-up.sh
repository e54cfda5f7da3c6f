#!/usr/bin/env bash
# Start Apache Kafka (KRaft) on loopback. First time: format its log folder. Prints pids, start-up seconds, resident memory.
#   kafka-up.sh            all nodes of this instance (KAFKA_NODES=1 or 2)
#   kafka-up.sh node 2     one node only, e.g. after kafka-down.sh node 2
# Node 1 is broker and controller, node 2 a broker only: stopping node 2 moves its leaders to node 1, starting it moves them back.
# Ports, counted from KAFKA_PORT: +0 PLAINTEXT, +1 controller, +5 PLAINTEXT of node 2; with KAFKA_SECURE=1 also
#   +2 SASL_PLAINTEXT (PLAIN, SCRAM-SHA-256, SCRAM-SHA-512), +3 SSL (client certificate requested), +4 SASL_SSL; node 2: +6 +7 +8.
# KAFKA_PROXY=1: a listener at +9 that tells clients to come to +10, where proxy.py stands (one node only).
# KAFKA_EXTRA: more broker properties, lines separated by \n. KAFKA_JVM: more JVM options.
set -euo pipefail
. "$(dirname "$0")/env.sh"
nodes=$(seq "$KAFKA_NODES"); [ "${1:-}" = node ] && nodes=$2
[ "$KAFKA_SECURE" = 1 ] && "$BENCH_DIR/kafka-tls.sh"
mkdir -p "$KAFKA_DATA"
# any 16 random bytes, base64url without padding
[ -s "$KAFKA_DATA/cluster-id" ] || head -c16 /dev/urandom | base64 | tr '+/=' 'AA ' | tr -d ' -' > "$KAFKA_DATA/cluster-id"

dir_of() { [ "$1" = 1 ] && echo "$KAFKA_DATA" || echo "$KAFKA_DATA/node$1"; }

configure() { # configure NODE DIR
  local node=$1 dir=$2 at=$((KAFKA_PORT + 5 * ($1 - 1))) names advertised roles=broker,controller
  names="PLAINTEXT://127.0.0.1:$at"
  if [ "$KAFKA_SECURE" = 1 ]; then
    local s=$((KAFKA_PORT + 2 + 4 * (node - 1)))
    names+=",SASL_PLAINTEXT://127.0.0.1:$s,SSL://127.0.0.1:$((s + 1)),SASL_SSL://127.0.0.1:$((s + 2))"
  fi
  advertised=$names
  if [ "$KAFKA_PROXY" = 1 ] && [ "$node" = 1 ]; then
    names+=",PROXIED://127.0.0.1:$((KAFKA_PORT + 9))"
    advertised+=",PROXIED://127.0.0.1:$((KAFKA_PORT + 10))"
  fi
  if [ "$node" = 1 ]; then names+=",CONTROLLER://127.0.0.1:$((KAFKA_PORT + 1))"; else roles=broker; fi
  cat <<P
process.roles=$roles
node.id=$node
listeners=$names
advertised.listeners=$advertised
controller.listener.names=CONTROLLER
controller.quorum.bootstrap.servers=127.0.0.1:$((KAFKA_PORT + 1))
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL,PROXIED:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=$dir/logs
num.partitions=${KAFKA_PARTITIONS:-4}
default.replication.factor=$KAFKA_NODES
offsets.topic.replication.factor=$KAFKA_NODES
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=$KAFKA_NODES
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
share.coordinator.state.topic.replication.factor=$KAFKA_NODES
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
leader.imbalance.check.interval.seconds=3
leader.imbalance.per.broker.percentage=0
broker.session.timeout.ms=4000
broker.heartbeat.interval.ms=1000
log.retention.hours=-1
log.segment.bytes=268435456
transaction.max.timeout.ms=3600000
P
  if [ "$KAFKA_SECURE" = 1 ]; then
    cat <<P
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512
ssl.keystore.type=PKCS12
ssl.keystore.location=$KAFKA_TLS/broker.p12
ssl.keystore.password=changeit
ssl.key.password=changeit
ssl.truststore.type=PKCS12
ssl.truststore.location=$KAFKA_TLS/truststore.p12
ssl.truststore.password=changeit
ssl.client.auth=${KAFKA_CLIENT_AUTH:-requested}
P
    for l in sasl_plaintext sasl_ssl; do
      echo "listener.name.$l.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_$KAFKA_USER=\"$KAFKA_PASSWORD\";"
      for m in 256 512; do echo "listener.name.$l.scram-sha-$m.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;"; done
    done
  fi
  [ -n "${KAFKA_EXTRA:-}" ] && printf '%b\n' "$KAFKA_EXTRA"
  true
}

start() { # start NODE
  local node=$1 dir; dir=$(dir_of "$1"); mkdir -p "$dir"
  if [ -s "$dir/pid" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; then echo "node $node already up: pid $(cat "$dir/pid")"; return; fi
  configure "$node" "$dir" > "$dir/server.properties"
  cat > "$dir/log4j2.properties" <<P
status = error
appender.f.type = File
appender.f.name = F
appender.f.fileName = $dir/server.log
appender.f.append = false
appender.f.layout.type = PatternLayout
appender.f.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = ${KAFKA_LOG_LEVEL:-INFO}
rootLogger.appenderRef.f.ref = F
P
  local j=(java -Xms64m "-Xmx$KAFKA_HEAP" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:+ExitOnOutOfMemoryError -Djava.awt.headless=true
    "-Dlog4j2.configurationFile=file:$dir/log4j2.properties" -cp "$KAFKA_LIBS/*")
  # shellcheck disable=SC2206
  j+=(${KAFKA_JVM:-})
  local t0 t1 t2 pid
  t0=$(now_s)
  if [ ! -f "$dir/logs/meta.properties" ]; then
    local how=(--no-initial-controllers); [ "$node" = 1 ] && how=(--standalone)
    for m in 256 512; do how+=(--add-scram "SCRAM-SHA-$m=[name=$KAFKA_USER,password=$KAFKA_PASSWORD]"); done
    "${j[@]}" kafka.tools.StorageTool format -t "$(cat "$KAFKA_DATA/cluster-id")" -c "$dir/server.properties" "${how[@]}" \
      >"$dir/format.out" 2>&1 || { cat "$dir/format.out"; exit 1; }
  fi
  t1=$(now_s)
  rm -f "$dir/server.log"
  setsid "${j[@]}" kafka.Kafka "$dir/server.properties" >"$dir/stdout" 2>&1 < /dev/null &
  pid=$!; echo "$pid" > "$dir/pid"
  for _ in $(seq 1200); do
    grep -q 'Kafka Server started' "$dir/server.log" 2>/dev/null && (exec 3<>"/dev/tcp/127.0.0.1/$((KAFKA_PORT + 5 * (node - 1)))") 2>/dev/null && break
    kill -0 "$pid" 2>/dev/null || { tail -n 20 "$dir/stdout" "$dir/server.log"; exit 1; }
    sleep 0.05
  done
  t2=$(now_s)
  awk -v n="$node" -v a="$t0" -v b="$t1" -v c="$t2" -v p="$pid" -v r="$(rss_mb "$pid")" -v cpu="$(cpu_s "$pid")" \
    'BEGIN{printf "kafka node %d up: pid %d, format %.2f s, start %.2f s, cpu %.2f s, rss %d MB\n", n, p, b-a, c-b, cpu, r}'
}
for n in $nodes; do start "$n"; done
