"""The end-to-end probe of the gateway: requests through its Service that get the gateway's own answers.

Whether it serves the routes of the city, the entry stack's Job waits for (`stacks.entry`).
"""

from __future__ import annotations

from stacks.platforms.probes import NAMED

# Each request may be answered by another pod. The images have no HTTP client, but bash can open a connection.
PROBE = f"""set -eu
{NAMED}
export id
exec /bin/bash -s <<'END'
set -u
ask() {{
  exec 3<> "/dev/tcp/$HOST/$PORT" || return 1
  printf 'GET %s HTTP/1.0\\r\\nHost: %s\\r\\n\\r\\n' "$1" "$2" >&3
  timeout 5 cat <&3
  exec 3>&-
}}
expect() {{
  answer=$(ask "$1" "$2" 2>&1)
  case $answer in
    "HTTP/1."?" $3 "*"$4"*) ;;
    *) echo "GET $1 of host $2 is not answered by $3 and '$4', but by: ${{answer:0:300}}" >&2; exit 1 ;;
  esac
}}
for each in 1 2 3 4; do
  expect /-/health health 200 ok
  expect / "$id.invalid" 404 "no such service here"
done
echo "requests were answered as they have to be"
END
"""
