"""The end-to-end probe of the metrics store: a series is written, read and deleted, and accounts are listed."""

from __future__ import annotations

from stacks.platforms.operations.metrics.access import CONNECT
from stacks.platforms.probes import NAMED

# Each question differs, because the store remembers for ten seconds that a filter has found nothing. What a killed
# probe has left is one value of a series, which goes with the retention.
PROBE = f"""set -euf
{NAMED}
{CONNECT}series=wecity_probe_$id
trap 'exit 1' TERM INT
echo "$series $now" | call POST "$server/api/v1/import/prometheus" 204
tries=0
until call GET "$server/api/v1/query?nocache=1&query={{__name__=~\\"$series|$tries\\"}}" 200 < /dev/null &&
  grep -q "\\"$now\\"" answer; do
  tries=$((tries + 1))
  [ "$tries" -lt 15 ] || {{ echo "a value that was written is not read: $(head -c 300 answer)" >&2; exit 1; }}
  sleep 1
done
call POST "$server/api/v1/admin/tsdb/delete_series?match[]=$series" 204 < /dev/null
call GET "$admin/accounts" 200 < /dev/null
echo "a series was written, read and deleted, and accounts were listed"
"""
