"""The end-to-end probe of alerts: every rule is evaluated over the metrics, and none with an error."""

from __future__ import annotations

# Rules are evaluated every few seconds; a rule that has not been yet has the time of year 1.
PROBE = """set -euf
umask 077
cd /tmp
scheme=http CURL=''
[ ! -e /etc/tls/ca.crt ] || scheme=https CURL="--cacert /etc/tls/ca.crt"
printf 'user = "admin:%s"\\n' "$ADMIN_PASSWORD" > administrator
tries=0
while :; do
  curl --config administrator $CURL --silent --show-error --fail --max-time 5 --output answer \\
    "$scheme://$HOST:$PORT/api/v1/rules" || exit 1
  sed 's/"lastEvaluation":/\\n&/g' answer > rules
  [ "$(grep -c '"type":"alerting"' answer)" != 0 ] || { echo "there are no rules" >&2; exit 1; }
  grep -q '"lastEvaluation":"0001' rules || break
  tries=$((tries + 1))
  [ "$tries" -lt 12 ] || { echo "not all rules are evaluated" >&2; exit 1; }
  sleep 1
done
if grep -q '"health":"err"' answer; then
  sed 's/"lastError":"/\\n&/g' answer | grep -v '^"lastError":""' | head -n 3 | cut -c 1-300 >&2
  echo "a rule cannot be evaluated" >&2
  exit 1
fi
echo "all rules were evaluated"
"""
