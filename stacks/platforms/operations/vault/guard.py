"""A limit of storage for each store, which the server does not know, held by a guard beside it.

The guard is a shell script in the server's own image and pod. The server tells how many entries each store has, and an
entry takes at most as much as a request may carry, in each of its versions. A store whose entries could take more than
its limit gets the policy with which its app may read and delete, and gets the other one back below. What is written
between two looks is not held back.
"""

from __future__ import annotations

from stacks.platforms.operations.vault.access import FUNCTIONS, MAX_REQUEST, MAX_VERSIONS
from stacks.platforms.operations.vault.deprovision import COUNTS

# Seconds between two looks.
PERIOD = 10
# In percent of the limit: open again below.
OPEN = 95


def script() -> str:
    """The guard's shell script.

    It takes ADMIN_PASSWORD and SERVER, the server's URL, from its environment. The server is in the same pod: it is
    asked for no certificate, so that one that has run out does not lift the limits.
    """
    return rf"""set -eu
umask 077
mkdir -p /tmp/states
cd /tmp
CURL=--insecure server=$SERVER
{FUNCTIONS}{COUNTS}
until curl $CURL --silent --fail --max-time 5 --output answer "$server/v1/sys/health"; do sleep 1; done
sign_in
while :; do
  counts
  call GET sys/mounts 200 < /dev/null
  jq -r '.data // . | to_entries[] | select(.key | startswith("apps/"))
    | "\(.key | ltrimstr("apps/") | rtrimstr("/")) \(.value.description)"' answer > stores
  while read -r account owner limit since; do
    # A locked store has no policy.
    [ "$since" = - ] || continue
    entries=0
    while read -r name count; do
      [ "$name" != "$account" ] || entries=$count
    done < counts
    used=$((entries * {MAX_REQUEST * MAX_VERSIONS}))
    state=open
    [ ! -f "states/$account" ] || state=read-only
    if [ "$used" -ge "$limit" ]; then
      wanted=read-only
    elif [ "$state" = read-only ] && [ "$used" -lt $((limit / 100 * {OPEN})) ]; then
      wanted=open
    else
      continue
    fi
    # Provisioning opens a store that is full, too: what is read-only is said again.
    policy "$wanted" "$account" | call POST "sys/policies/acl/$account" 200 204 || continue
    if [ "$wanted" = open ]; then rm -f "states/$account"; else : > "states/$account"; fi
    [ "$wanted" = "$state" ] ||
      echo "guard: store $account is $wanted with $entries entries of $((limit / {MAX_REQUEST * MAX_VERSIONS}))" >&2
  done < stores
  sleep {PERIOD}
done
"""
