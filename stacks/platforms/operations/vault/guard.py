"""A limit of storage for each store, which the server does not know, held by a guard beside it.

The guard is a shell script in the server's own image and pod. The server tells how many entries each store has, and an
entry takes at most as much as a request may carry, in each of its versions. A store whose entries could take more than
its limit gets the policy with which its app may read and delete, and gets the other one back below. What is written
between two looks is not held back.

When the volume is nearly full, all stores get that policy, until there is room again: a server that cannot write what
it needs itself ends, and does not start again.
"""

from __future__ import annotations

from stacks.platforms.operations.vault.access import FUNCTIONS, MAX_REQUEST, MAX_VERSIONS
from stacks.platforms.operations.vault.deprovision import COUNTS

# Seconds between two looks.
PERIOD = 10
# In percent of the limit: open again below.
OPEN = 95
# In percent of the volume: what is free when stores are closed, and when they are opened again. `VolumeNearFull` is
# told before.
RESERVE, ROOM = 5, 10


def script() -> str:
    """The guard's shell script.

    It takes ADMIN_PASSWORD, SERVER (the server's URL) and VOLUME (the directory of the volume) from its environment.
    The server is in the same pod: it is asked for no certificate, so that one that has run out does not lift the
    limits.
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
  # Blocks that are free, and all.
  stat -f -c '%a %b' "$VOLUME" > room
  read -r free all < room
  if [ $((free * 100)) -lt $((all * {RESERVE})) ]; then
    [ -e full ] || echo "guard: less than {RESERVE} % of the volume is free: all stores are read-only" >&2
    : > full
  elif [ $((free * 100)) -ge $((all * {ROOM})) ]; then
    rm -f full
  fi
  counts
  call GET sys/mounts 200 < /dev/null
  jq -r '.data // . | to_entries[] | select(.key | startswith("apps/"))
    | "\(.key | ltrimstr("apps/") | rtrimstr("/")) \(.value.description)"' answer > stores
  while read -r account owner limit since; do
    # A locked store has no policy.
    [ "$since" = - ] || continue
    state=unknown
    [ ! -f "states/$account" ] || state=$(cat "states/$account")
    entries=''
    while read -r name count; do
      [ "$name" != "$account" ] || entries=$count
    done < counts
    # A server that has just started has counted nothing yet.
    [ -n "$entries" ] || [ "$state" != unknown ] || continue
    used=$((${{entries:-0}} * {MAX_REQUEST * MAX_VERSIONS}))
    if [ -e full ] || [ "$used" -ge "$limit" ]; then
      wanted=read-only
    elif [ "$state" = open ] || {{ [ "$state" = read-only ] && [ "$used" -ge $((limit / 100 * {OPEN})) ]; }}; then
      continue
    else
      # What a guard before this one has closed is opened, too.
      wanted=open
    fi
    # Provisioning opens a store that is full, too: what is read-only is said again.
    policy "$wanted" "$account" | call POST "sys/policies/acl/$account" 200 204 || continue
    echo "$wanted" > "states/$account"
    # Its use may have ended since it was listed: a locked store has no policy (`deprovision`).
    if call GET "sys/mounts/apps/$account" 200 < /dev/null &&
      [ "$(jq -r '.data // . | .description' answer | cut -d ' ' -f 3)" != - ]; then
      call DELETE "sys/policies/acl/$account" 200 204 < /dev/null
      continue
    fi
    [ "$wanted,$state" = open,unknown ] || [ "$wanted" = "$state" ] ||
      echo "guard: store $account is $wanted with $entries entries of $((limit / {MAX_REQUEST * MAX_VERSIONS}))" >&2
  done < stores
  sleep {PERIOD}
done
"""
