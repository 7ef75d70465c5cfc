"""Accounts of the registry: how they are made, locked, listed and deleted, by scripts that run as administrator.

The program `image/go` keeps them. An account pushes to and pulls from the repositories of its tenant, which are those
whose names begin with the tenant's and a slash. The city's own are below `CITY`.
"""

from __future__ import annotations

from wecityctl.model.images import CITY_REPOSITORIES

ADMIN, NODE, CITY = "admin", "node", CITY_REPOSITORIES
ADMIN_PORT = 5001

# How scripts begin. AUTHORITY is the file with the certificates by which they know the server, not set for a plain
# connection. `call METHOD URL CODE...` sends its standard input as the administrator; the answer is in the file
# `answer`, and its headers in `headers`. The password is in a file: a command line is readable to every process.
CONNECT = f"""umask 077
cd /tmp
scheme=http CURL=''
[ -z "${{AUTHORITY-}}" ] || scheme=https CURL="--cacert $AUTHORITY"
server=$scheme://$HOST:$PORT admin=$scheme://$HOST:{ADMIN_PORT}
printf 'user = "{ADMIN}:%s"\\n' "$ADMIN_PASSWORD" > administrator
call() {{
  method=$1 url=$2
  shift 2
  status=$(curl --config administrator $CURL --silent --show-error --globoff --max-time 60 --retry 5 \\
    --retry-connrefused --request "$method" --header 'Content-Type: application/octet-stream' --data-binary @- \\
    --output answer --dump-header headers --write-out '%{{http_code}}' "$url") || return 1
  for code in "$@"; do
    [ "$status" != "$code" ] || return 0
  done
  echo "$method $url is answered by $status: $(head -c 300 answer)" >&2
  return 1
}}
"""

# Runs as the administrator in a Job, with APP_ROLE, APP_PASSWORD, OWNER and STORAGE (bytes).
PROVISION = f"""set -euf
{CONNECT}tenant=${{OWNER%%/*}}
printf %s "$APP_PASSWORD" |
  call PUT "$admin/accounts/$APP_ROLE?owner=$OWNER&tenant=$tenant&storage=$STORAGE" 204
echo "$APP_ROLE may push to and pull from $tenant/"
"""

_EACH = """printf '%s\\n' "$ACCOUNTS" | while read -r account owner; do
  [ -n "$account" ] || continue
"""

DEPROVISION = f"""set -euf
{CONNECT}{_EACH}  call POST "$admin/accounts/$account/lock?owner=$owner" 204 < /dev/null
done
"""

# The repositories of a tenant go with its last account; the layers, when garbage is collected.
DELETE = f"""set -euf
{CONNECT}{_EACH}  call DELETE "$admin/accounts/$account?owner=$owner" 204 < /dev/null
done
"""

INVENTORY = f"""set -euf
{CONNECT}call GET "$admin/accounts" 200 < /dev/null
cat answer
"""
