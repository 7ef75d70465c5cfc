"""Counts the requests that the gateway passes on, by app, the Service that they go to, and the class of the answer.

nginx has no counters of its own for that. It writes a line for each request to a file, which the loader reads once a
second, adds up and empties; nginx serves the sums on a port of their own, which only scrapers reach. The other way, a
program that nginx sends to, would need another image, or would lose requests when it is slow.
"""

from __future__ import annotations

from stacks.platforms.application.gateway import TYPE

METRICS = next(port for port in TYPE.ports if port.metrics)
REQUESTS, COUNTED_AT, COUNTING_SINCE = (
    "wecity_gateway_requests_total",
    "wecity_gateway_counted_time_seconds",
    "wecity_gateway_counting_since_seconds",
)

# The variable that a route sets to the tenant and the app whose requests it passes on, with a slash between.
APP = "$counted_app"

# Part of nginx's block http. `$proxy_host` is the address that a request was dealt to, from the configuration alone. It
# is empty for what the gateway answers by itself, which is not counted. The variable has to be set somewhere also where
# there are no routes yet.
SERVER = f"""  log_format counted '$proxy_host {APP} $status';
  access_log /tmp/requests.log counted buffer=32k flush=1s if=$proxy_host;
  server {{
    listen {METRICS.number};
    access_log off;
    set {APP} '';
    location = {METRICS.metrics_path} {{ default_type text/plain; alias /tmp/metrics; }}
    location / {{ return 404; }}
  }}
"""

# Functions of the loader, in bash. A loader that starts begins at zero, as a scraper expects of a counter, and leaves
# out what was written before. Lines that are written between the last look and the emptying are lost: microseconds,
# once in LONGEST lines.
COUNT = rf"""declare -A requests=()
since=$(date +%s) rest= lines=0
LONGEST=20000
: > /tmp/requests.log
exec 3< /tmp/requests.log
count() {{
  local line= key
  while IFS= read -r line <&3; do
    line=$rest$line rest= lines=$((lines + 1))
    key=${{line%??}}xx
    requests[$key]=$((${{requests[$key]:-0}} + 1))
  done
  rest=$rest$line
  if [ "$lines" -gt "$LONGEST" ] && [ -z "$rest" ]; then
    : > /tmp/requests.log
    exec 3< /tmp/requests.log
    lines=0
  fi
  tell > /tmp/metrics.new && mv /tmp/metrics.new /tmp/metrics
}}
tell() {{
  local key address app service namespace
  echo '# TYPE {REQUESTS} counter'
  for key in "${{!requests[@]}}"; do
    address=${{key%% *}} app=${{key#* }} app=${{app% *}} service= namespace=
    # Routes of an older version do not say whose they are.
    case $app in */*) ;; *) app=/ ;; esac
    case $address in
      *.svc.cluster.local|*.svc.cluster.local:*)
        service=${{address%%.*}} namespace=${{address#*.}} namespace=${{namespace%%.*}} ;;
      *) service=$address ;;
    esac
    printf '{REQUESTS}{{tenant="%s",app="%s",service="%s",service_namespace="%s",code="%s"}} %s\n' \
      "${{app%%/*}}" "${{app#*/}}" "$service" "$namespace" "${{key##* }}" "${{requests[$key]}}"
  done
  echo '# TYPE {COUNTED_AT} gauge'
  printf '{COUNTED_AT} %(%s)T\n' -1
  echo '# TYPE {COUNTING_SINCE} gauge'
  printf '{COUNTING_SINCE} %s\n' "$since"
}}
"""
