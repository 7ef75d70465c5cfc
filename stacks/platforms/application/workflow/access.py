"""Accounts of the workflow engine: how they are made, locked, listed and deleted, by scripts of the administrator.

The program `image/go` keeps them, in the database that the engine uses. An account's name is the tenant, in the
engine's words, of all that is its own: definitions, instances, tasks and their history.
"""

from __future__ import annotations

ADMIN = "admin"
ADMIN_PORT = 8081
# Below which the engine's interface is.
PATH = "/process-api"

# How scripts begin. AUTHORITY is the file with the certificates by which they know the server, not set for a plain
# connection. `call METHOD URL CODE...` sends its standard input as the administrator, of the type in `kind`; the answer
# is in the file `answer`, and its code in `status`. The password is in a file: a command line is readable to every
# process.
CONNECT = f"""umask 077
cd /tmp
scheme=http CURL='' kind=application/json
[ -z "${{AUTHORITY-}}" ] || scheme=https CURL="--cacert $AUTHORITY"
server=$scheme://$HOST:$PORT admin=$scheme://$HOST:{ADMIN_PORT}
printf 'user = "{ADMIN}:%s"\\n' "$ADMIN_PASSWORD" > administrator
call() {{
  method=$1 url=$2
  shift 2
  status=$(curl --config administrator $CURL --silent --show-error --globoff --max-time 120 --retry 5 \\
    --retry-connrefused --request "$method" --header "Content-Type: $kind" --data-binary @- \\
    --output answer --write-out '%{{http_code}}' "$url") || return 1
  for code in "$@"; do
    [ "$status" != "$code" ] || return 0
  done
  echo "$method $url is answered by $status: $(head -c 300 answer)" >&2
  return 1
}}
"""

# Runs as the administrator in a Job, with APP_ROLE, APP_PASSWORD, OWNER, REQUESTS (at a time) and STORAGE (bytes).
PROVISION = f"""set -euf
{CONNECT}printf %s "$APP_PASSWORD" |
  call PUT "$admin/accounts/$APP_ROLE?owner=$OWNER&requests=$REQUESTS&storage=$STORAGE" 204
echo "$APP_ROLE has definitions and instances of its own"
"""

_EACH = """printf '%s\\n' "$ACCOUNTS" | while read -r account owner; do
  [ -n "$account" ] || continue
"""

# Instances stay as they are, and timers pass. Tasks that they have addressed to other apps are told to nobody.
DEPROVISION = f"""set -euf
{CONNECT}{_EACH}  call POST "$admin/accounts/$account/lock?owner=$owner" 204 < /dev/null
done
"""

# The server deletes for half a minute, and says by 202 that there is more.
DELETE = f"""set -euf
{CONNECT}{_EACH}  status=202
  while [ "$status" = 202 ]; do
    call DELETE "$admin/accounts/$account?owner=$owner" 204 202 < /dev/null
  done
done
"""

INVENTORY = f"""set -euf
{CONNECT}call GET "$admin/accounts" 200 < /dev/null
cat answer
"""
