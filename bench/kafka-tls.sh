#!/usr/bin/env bash
# Make the stores of the TLS tests with the JDK's keytool, once: an authority, a broker key for localhost and 127.0.0.1, a client key.
#   ca.pem client.pem client-key.pem    PEM (ssl.truststore.type=PEM, ssl.keystore.type=PEM)
#   truststore.p12 client.p12 broker.p12   PKCS12, password "changeit"
#   truststore.jks                      the old format, which a client without a JVM has to refuse
#   other-ca.pem                        an authority that signed nothing: connecting with it must fail
set -euo pipefail
. "$(dirname "$0")/env.sh"
[ -s "$KAFKA_TLS/done" ] && exit 0
rm -rf "$KAFKA_TLS"; mkdir -p "$KAFKA_TLS"; chmod 700 "$KAFKA_TLS"; cd "$KAFKA_TLS"
exec 3>&2 2> "$KAFKA_TLS.log" # keytool tells its progress on standard error
trap 'cat "$KAFKA_TLS.log" >&3' ERR
K=(keytool -storepass changeit -noprompt -J-XX:TieredStopAtLevel=1)
key() { "${K[@]}" -genkeypair -keystore "$1" -storetype PKCS12 -alias "$2" -dname "CN=$3" -keyalg RSA -keysize 2048 -validity 3650 "${@:4}"; }
key ca.p12 ca "Flott test authority" -ext bc:c
key other-ca.p12 ca "Another authority" -ext bc:c
"${K[@]}" -exportcert -rfc -keystore ca.p12 -alias ca -file ca.pem
"${K[@]}" -exportcert -rfc -keystore other-ca.p12 -alias ca -file other-ca.pem
for who in broker client; do
  key $who.p12 $who "$who" -ext san=dns:localhost,ip:127.0.0.1
  "${K[@]}" -certreq -keystore $who.p12 -alias $who -file $who.csr
  "${K[@]}" -gencert -rfc -keystore ca.p12 -alias ca -infile $who.csr -outfile $who.pem -validity 3650 -ext san=dns:localhost,ip:127.0.0.1
  "${K[@]}" -importcert -keystore $who.p12 -alias ca -file ca.pem
  "${K[@]}" -importcert -keystore $who.p12 -alias $who -file $who.pem
done
"${K[@]}" -importcert -keystore truststore.p12 -storetype PKCS12 -alias ca -file ca.pem
"${K[@]}" -importcert -keystore truststore.jks -storetype JKS -alias ca -file ca.pem
java -XX:TieredStopAtLevel=1 "$BENCH_DIR/gen/PemKey.java" client.p12 client changeit > client-key.pem
rm -f ./*.csr
touch done; echo ok > done
