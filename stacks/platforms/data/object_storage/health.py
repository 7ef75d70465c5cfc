"""The end-to-end probe of the object store: a bucket with an object that is written, read and deleted."""

from __future__ import annotations

from stacks.platforms.data.object_storage.access import ADMIN_PORT, FUNCTIONS
from stacks.platforms.probes import ABANDONED, NAMED

# The bucket has a name of its own for each run. One that a killed probe has left is deleted by a later one. No app has
# such a bucket: their names have dots.
PROBE = f"""set -euf
umask 077
cd /tmp
{NAMED}
scheme=http CURL=''
[ -z "${{AUTHORITY-}}" ] || scheme=https CURL="--cacert $AUTHORITY"
{FUNCTIONS}
server=$scheme://$HOST:$PORT admin=$scheme://$HOST:{ADMIN_PORT}
bucket=wecity-probe-$now-$id
remove() {{
  call DELETE "$server/$1/object" 204 404 < /dev/null
  call DELETE "$server/$1" 204 404 < /dev/null
}}
trap 'exit 1' TERM INT
call PUT "$server/$bucket" 200 < /dev/null
trap 'remove "$bucket" > /dev/null 2>&1' EXIT
echo "$id" | call PUT "$server/$bucket/object" 200
call GET "$server/$bucket/object" 200 < /dev/null
if [ "$(cat answer)" != "$id" ]; then
  echo "an object that was written is read back as '$(head -c 200 answer)'" >&2
  exit 1
fi
remove "$bucket"
trap - EXIT
call GET "$server/$bucket/object" 404 < /dev/null
call PATCH "$admin/list-users" 200 < /dev/null
call GET "$server/" 200 < /dev/null
sed 's/<Name>/\\n/g' answer | sed -n 's/^wecity-probe-\\([0-9]*\\)-\\([0-9a-f]*\\)<.*/\\1 \\2/p' > buckets
while read -r made of; do
  [ "$made" -ge $((now - {ABANDONED})) ] || remove "wecity-probe-$made-$of"
done < buckets
echo "an object was written, read and deleted, and users were listed"
"""
