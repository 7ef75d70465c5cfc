"""The end-to-end probe of the registry: a blob is pushed in parts, pulled and deleted, and accounts are listed."""

from __future__ import annotations

from stacks.platforms.operations.registry.access import CITY, CONNECT
from stacks.platforms.probes import NAMED

# The blob's content is of this run alone, so that a registry that has lost what it is sent does not pass. What a
# killed probe has left is a few bytes that no manifest names: they go when garbage is collected.
PROBE = f"""set -euf
{NAMED}
{CONNECT}repository=$server/v2/{CITY}/probe
place() {{
  location=$(sed -n 's/^[Ll]ocation: *//p' headers | tr -d '\\r')
  case $location in
    /*) location=$server$location ;;
  esac
}}
trap 'exit 1' TERM INT
digest=sha256:$(printf %s "first $id" | sha256sum | cut -d ' ' -f 1)
call POST "$repository/blobs/uploads/" 202 < /dev/null
place
printf 'first ' | call PATCH "$location" 202
place
printf %s "$id" | call PUT "$location&digest=$digest" 201
call GET "$repository/blobs/$digest" 200 < /dev/null
found=$(head -c 300 answer)
[ "$found" = "first $id" ] || {{ echo "a blob that was pushed is pulled as '$found'" >&2; exit 1; }}
call DELETE "$repository/blobs/$digest" 202 < /dev/null
call GET "$repository/blobs/$digest" 404 < /dev/null
call GET "$admin/accounts" 200 < /dev/null
echo "a blob was pushed, pulled and deleted, and accounts were listed"
"""
