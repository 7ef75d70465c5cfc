"""What becomes of a client in Keycloak whose use has ended: locked, listed, deleted.

The scripts run as the administrator in a Job, with ACCOUNTS (a line for each: the client, and whose it is). A client is
touched only where its attribute says that it is that very owner's.
"""

from __future__ import annotations

from stacks.platforms.application.identity.access import ACCOUNT, CITY_REALM, FUNCTIONS, REALM_PREFIX

# What a repetition keeps is the time of the first lock. Tokens from before are not taken again, even when the client is
# opened later. The secret is one that nobody has.
_LOCK = f"""{FUNCTIONS}
sign_in
printf '%s\\n' "$ACCOUNTS" > accounts
: > listed
while read -r account owner; do
  [ -n "$account" ] || continue
  realm=$(realm_of "$account") id=$(id_of "$account")
  : > body
  call GET "admin/realms/$realm/clients/$id" 200 404
  [ "$status" = 200 ] && grep -q -F "\\"{ACCOUNT}\\":\\"$account $owner " answer || continue
  since=$(sed -n 's/.*"{ACCOUNT}":"[^"]* locked \\([0-9]*\\)".*/\\1/p' answer) now=$(date +%s)
  printf '{{"clientId":"%s","enabled":false,"notBefore":%s,"secret":"%s","attributes":{{"{ACCOUNT}":"%s"}}}}' \\
    "$account" "$((now + 1))" "$(cat /proc/sys/kernel/random/uuid)" "$account $owner 0 locked ${{since:-$now}}" > body
  call PUT "admin/realms/$realm/clients/$id" 204
  echo "$account" >> listed
done < accounts
: > body
"""

DEPROVISION = _LOCK

# Users are the realm's, not a client's: they go with the last client that was provisioned.
DELETE = f"""{_LOCK}
while read -r account; do
  realm=$(realm_of "$account")
  call DELETE "admin/realms/$realm/clients/$(id_of "$account")" 204 404
  call GET "admin/realms/$realm/clients" 200
  grep -q -F '"{ACCOUNT}":"' answer || call DELETE "admin/realms/$realm" 204 404
done < listed
"""

# Prints what `stacks.platforms.provisioner` says. The server does not tell how much of its database a client takes.
INVENTORY = f"""{FUNCTIONS}
sign_in
call GET 'admin/realms?briefRepresentation=true' 200
grep -o -E '"realm":"({REALM_PREFIX}[^"]*|{CITY_REALM})"' answer | cut -d '"' -f 4 > realms || :
while read -r realm; do
  call GET "admin/realms/$realm/clients" 200
  grep -o '"{ACCOUNT}":"[^"]*"' answer | cut -d '"' -f 4 | sed 's/^/account /' || :
done < realms
"""
