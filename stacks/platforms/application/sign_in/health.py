"""The end-to-end probe of sign-in: the service answers by the city's certificate, and knows nobody without a client.

Whether it has the clients of the city's routes, the entry stack's Job waits for (`stacks.entry.sign_in`).
"""

from __future__ import annotations

from stacks.platforms import tls
from stacks.platforms.sign_in_interface import CHECK, CLAIMS, DIGEST

PROBE = f"""set -euf
cd /tmp
ask() {{
  status=$(curl --silent --show-error --max-time 10 --cacert {tls.AUTHORITY} --output answer \\
    --write-out '%{{http_code}}' "https://$HOST:$PORT$1") || exit 1
}}
ask {DIGEST}
[ "$status" = 200 ] || {{ echo "GET {DIGEST} is answered by $status" >&2; exit 1; }}
for path in {CHECK} {CLAIMS}; do
  ask "$path"
  [ "$status" = 404 ] || {{ echo "GET $path without a client is answered by $status, not by 404" >&2; exit 1; }}
done
rm -f answer
echo "the service answers, and knows nobody without a client"
"""
