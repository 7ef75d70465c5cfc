"""A limit of storage for each bucket, which the server does not know, held by a guard beside it.

The guard is a shell script in the server's own image and pod, with the volume. It adds up what each bucket takes of
the volume, unfinished uploads included. A bucket that has reached its limit gets the policy with which its app may read
and delete, and gets the other one back below. What is written between two looks is not held back.
"""

from __future__ import annotations

from stacks.platforms.data.object_storage.access import FUNCTIONS, LIMITS

# Seconds between two looks at the least, and how many times as long as a look took: it reads every directory.
PERIOD, PAUSE = 2, 4
# In percent of the limit: open again below.
OPEN = 95


def script(buckets: str) -> str:
    """The guard's shell script for the buckets in the directory `buckets`.

    It takes ADMIN_PASSWORD and SERVER, the server's URL, from its environment. The server is in the same pod: it is
    asked for no certificate, so that one that has run out does not lift the limits.
    """
    return f"""set -eu
umask 077
mkdir -p /tmp/states
cd /tmp
CURL=--insecure
{FUNCTIONS}
until curl $CURL --silent --fail --max-time 5 --output answer "$SERVER/health"; do sleep 1; done
while :; do
  began=$(date +%s)
  for file in {buckets}/{LIMITS}/*; do
    [ -f "$file" ] || continue
    bucket=${{file##*/}}
    limit=$(cat "$file") version=$(stat --format='%i %y' "$file")
    # Files may go while it looks: that is no error, and what it has found by then is what it prints.
    used=$(du --summarize --block-size=1 "{buckets}/$bucket" 2> /dev/null | cut -f 1)
    [ -n "$used" ] || continue
    state=unknown known=''
    [ ! -f "states/$bucket" ] || {{ read -r state; read -r known; }} < "states/$bucket"
    # Provisioning has opened the bucket.
    [ "$known" = "$version" ] || state=unknown
    if [ "$used" -ge "$limit" ]; then
      wanted=read-only
    elif [ "$state" != read-only ] || [ "$used" -lt $((limit / 100 * {OPEN})) ]; then
      wanted=open
    else
      continue
    fi
    [ "$wanted" != "$state" ] || continue
    # One that cannot be changed, such as that of a user who is gone, is tried again and keeps nobody from his.
    policy "$wanted" "$bucket" | call PUT "$SERVER/$bucket?policy=" 204 || continue
    printf '%s\\n' "$wanted" "$version" > "states/$bucket"
    [ "$state $wanted" = 'unknown open' ] || echo "guard: bucket $bucket is $wanted with $used of $limit bytes" >&2
  done
  took=$(($(date +%s) - began))
  sleep $((took * {PAUSE} > {PERIOD} ? took * {PAUSE} : {PERIOD}))
done
"""
