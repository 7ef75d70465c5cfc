"""The end-to-end probe of the vault: an entry that is written, read and deleted in a store of the probe's own."""

from __future__ import annotations

from stacks.platforms.operations.vault.access import FUNCTIONS
from stacks.platforms.probes import ABANDONED, NAMED

# The store has a name of its own for each run. One that a killed probe has left is deleted by a later one.
PROBE = rf"""set -euf
umask 077
cd /tmp
{NAMED}
scheme=http CURL=''
[ -z "${{AUTHORITY-}}" ] || scheme=https CURL="--cacert $AUTHORITY"
{FUNCTIONS}
server=$scheme://$HOST:$PORT
sign_in
store=probe/$now-$id
trap 'exit 1' TERM INT
echo '{{"type": "kv"}}' | call POST "sys/mounts/$store" 200 204
trap 'call DELETE "sys/mounts/$store" 200 204 < /dev/null > /dev/null 2>&1' EXIT
jq -n --arg value "$id" '{{value: $value}}' | call POST "$store/entry" 200 204
call GET "$store/entry" 200 < /dev/null
found=$(jq -r .data.value answer)
[ "$found" = "$id" ] || {{ echo "an entry that was written is read back as '$found'" >&2; exit 1; }}
call DELETE "$store/entry" 200 204 < /dev/null
call GET "$store/entry" 404 < /dev/null
call DELETE "sys/mounts/$store" 200 204 < /dev/null
trap - EXIT
call GET sys/mounts 200 < /dev/null
jq -r '.data // . | keys[] | select(startswith("probe/")) | rtrimstr("/") | ltrimstr("probe/")' answer > left
while read -r name; do
  [ "${{name%-*}}" -ge $((now - {ABANDONED})) ] || call DELETE "sys/mounts/probe/$name" 200 204 < /dev/null
done < left
echo "an entry was written, read and deleted"
"""
