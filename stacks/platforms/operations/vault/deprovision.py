"""What becomes of a store in the vault whose use has ended: locked, listed with size and age, deleted.

The scripts run as the administrator in a Job, with ACCOUNTS (a line for each: the account, and whose it is). A locked
store has no policy and no role: tokens that were given out open nothing from then on. Its description keeps when it was
locked.
"""

from __future__ import annotations

from stacks.platforms.operations.vault.access import CONNECT, MAX_REQUEST, MAX_VERSIONS

# `stores` writes a line `<account> <owner> <limit> <time of the lock or ->` for each.
_BEGIN = rf"""{CONNECT}sign_in
stores() {{
  call GET sys/mounts 200 < /dev/null
  jq -r '.data // . | to_entries[] | select(.key | startswith("apps/"))
    | "\(.key | ltrimstr("apps/") | rtrimstr("/")) \(.value.description)"' answer > stores
}}
"""

# A repetition keeps the time of the first lock. An owner that is not known, `-`, is anybody.
_LOCK = rf"""{_BEGIN}stores
printf '%s\n' "$ACCOUNTS" | while read -r account owner; do
  while read -r name whose limit since; do
    [ "$name" = "$account" ] || continue
    [ "$owner" = - ] || [ "$owner" = "$whose" ] || continue
    echo "$name $whose $limit $since"
  done < stores
done > listed
while read -r account owner limit since; do
  call DELETE "sys/policies/acl/$account" 200 204 < /dev/null
  call DELETE "auth/approle/role/$account" 200 204 < /dev/null
  [ "$since" != - ] || since=$(date +%s)
  jq -n --arg text "$owner $limit $since" '{{description: $text}}' | call POST "sys/mounts/apps/$account/tune" 200 204
  # The guard may have given it one that had not yet read that the store is locked.
  call DELETE "sys/policies/acl/$account" 200 204 < /dev/null
done < listed
"""

DEPROVISION = _LOCK

# The store goes last: what was killed in between is listed, and deleted by the next try.
DELETE = rf"""{_LOCK}
while read -r account owner limit since; do
  call DELETE "sys/quotas/rate-limit/$account" 200 204 404 < /dev/null
  call DELETE "sys/mounts/apps/$account" 200 204 < /dev/null
done < listed
"""

# A figure of the server's, which it takes anew every few seconds (`program`): entries by store.
COUNTS = r"""
counts() {
  call GET 'sys/metrics?format=prometheus' 200 < /dev/null
  sed -n 's/^[a-z_]*secret_kv_count{.*mount_point="apps\/\([^"]*\)\/".*} \([0-9]*\)$/\1 \2/p' answer > counts
}
"""

# Prints what `stacks.platforms.provisioner` says; the bytes are the most that the entries could take.
INVENTORY = rf"""{_BEGIN}{COUNTS}
stores
counts
while read -r account owner limit since; do
  entries=0
  while read -r name count; do
    [ "$name" != "$account" ] || entries=$count
  done < counts
  [ "$since" = - ] && state='open -' || state="locked $since"
  echo "account $account $owner $((entries * {MAX_REQUEST * MAX_VERSIONS})) $state"
done < stores
"""
