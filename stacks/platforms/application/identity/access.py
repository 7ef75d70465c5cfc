"""An app's client in Keycloak: the realm that it is in, what it may do there, and how scripts speak to the server.

Each tenant has a realm: users, clients, roles and signing keys of its own, which no other tenant's clients reach. What
capabilities have is in a realm of the city, where people sign in at the entry point (`sign_in_clients`). An
app has a confidential client there, whose service account has no role of an administrator. The client's attribute
`ACCOUNT` has whose it is and whether it is locked, as the line that `inventory` prints.
"""

from __future__ import annotations

from wecityctl.model.requirements import CAPABILITY

# Keycloak's own name of the administrator's realm is `master`: a tenant may be called so, its realm may not.
REALM_PREFIX = "tenant-"
# The realm of the city's own capabilities, and of the people who sign in at the entry point.
CITY_REALM = "city"
# Below which the server answers. It is fixed in the image.
PATH = "/auth"
ADMIN = "admin"
ACCOUNT = "wecity.account"

# Seconds. How long an access token is valid, which other services may accept without asking the server; how long a
# user's sign-in lasts without use, and at most.
TOKEN_SECONDS, IDLE_SECONDS, SESSION_SECONDS = 300, 1800, 36000

# What a new realm has; administrators may change it, and provisioning leaves it. After ten wrong passwords a user
# waits, for longer each time. A refresh token is valid once. It is not in the city's realm: of several requests of one
# page, two refresh at once, and the token is known to the sign-in service alone.
_REALM = (
    '{"realm":"%s","enabled":true,"registrationAllowed":false,"resetPasswordAllowed":false,'
    '"bruteForceProtected":true,"failureFactor":10,"waitIncrementSeconds":60,"maxFailureWaitSeconds":900,'
    '"passwordPolicy":"length(12) and notUsername(undefined)",'
    '"offlineSessionMaxLifespanEnabled":true,"revokeRefreshToken":%s}'
)

# What provisioning sets whenever it runs. What is not named here stays, such as redirect addresses, roles and mappers.
# Without the full scope, an app's tokens have no roles of a user's in other clients.
_CLIENT = (
    '{"id":"%s","clientId":"%s","enabled":true,"protocol":"openid-connect","publicClient":false,'
    '"clientAuthenticatorType":"client-secret","secret":"%s","serviceAccountsEnabled":true,'
    '"standardFlowEnabled":true,"directAccessGrantsEnabled":true,"implicitFlowEnabled":false,'
    '"fullScopeAllowed":false,"attributes":{"' + ACCOUNT + '":"%s","pkce.code.challenge.method":"S256",'
    '"access.token.lifespan":"%s","client.session.idle.timeout":"%s","client.session.max.lifespan":"%s"}}'
)

# Shell functions. They take HOST, PORT and ADMIN_PASSWORD, and AUTHORITY, the file with the certificates by which they
# know the server, which is not set for a plain connection. They write into the working directory. Passwords, secrets
# and tokens are in files and pipes: a command line is readable to every process.
#
# `sign_in` gets a token of the administrator's, and the script's end gives it back. `call METHOD PATH CODE...` sends
# the file `body` and sets `status` to that of the answer, which is in the file `answer`. It returns 1, with the answer
# as the message, when that is none of the codes. `realm_of ACCOUNT` and `id_of ACCOUNT` print where a client is.
FUNCTIONS = f"""set -euf
umask 077
cd /tmp
scheme=http CURL='--silent --show-error --globoff --max-time 60'
[ -z "${{AUTHORITY-}}" ] || scheme=https CURL="$CURL --cacert $AUTHORITY"
server=$scheme://$HOST:$PORT{PATH} token='' refresh=''
tries=0
until curl $CURL --fail --output answer "$server/realms/master" 2> refused; do
  tries=$((tries + 1)); [ "$tries" -lt 60 ] || {{ cat refused >&2; exit 1; }}; sleep 1
done
# A handshake during which the server loads its certificate anew is cut, and begun once more: nothing was sent.
ask() {{ curl $CURL "$@" || {{ [ $? = 35 ] && sleep 1 && curl $CURL "$@"; }}; }}
field() {{ sed -n "s/.*\\"$1\\":\\"\\([^\\"]*\\)\\".*/\\1/p" answer; }}
sign_in() {{
  printf %s "$ADMIN_PASSWORD" > password
  status=$(ask --data grant_type=password --data client_id=admin-cli --data username={ADMIN} \\
    --data-urlencode password@password --output answer --write-out '%{{http_code}}' \\
    "$server/realms/master/protocol/openid-connect/token") || return 1
  status=${{status#000}}
  rm -f password
  [ "$status" = 200 ] || {{ echo "the administrator's sign-in is answered by $status: $(cat answer)" >&2; return 1; }}
  token=$(field access_token) refresh=$(field refresh_token)
}}
sign_out() {{
  [ -n "$refresh" ] || return 0
  printf %s "$refresh" > refresh
  curl $CURL --data client_id=admin-cli --data-urlencode refresh_token@refresh --output answer \\
    "$server/realms/master/protocol/openid-connect/logout" || :
}}
trap sign_out EXIT
send() {{
  printf 'header = "Authorization: Bearer %s"\\n' "$token" > header
  status=$(ask --config header --request "$1" \\
    --header 'Content-Type: application/json' --data-binary @body --output answer --write-out '%{{http_code}}' \\
    "$server/$2") || return 1
  status=${{status#000}}
}}
call() {{
  method=$1 path=$2
  shift 2
  send "$method" "$path" || return 1
  # The token is valid for a minute.
  [ "$status" != 401 ] || {{ sign_out; sign_in; send "$method" "$path" || return 1; }}
  for code in "$@"; do
    [ "$status" != "$code" ] || return 0
  done
  echo "$method $path is answered by $status: $(cat answer)" >&2
  return 1
}}
realm_of() {{ case $1 in {CAPABILITY}.*) printf {CITY_REALM} ;; *) printf '{REALM_PREFIX}%s' "${{1%%.*}}" ;; esac; }}
# Another character than a letter or digit would need an escape in addresses.
id_of() {{ printf %s "$1" | sha256sum | cut -c 1-36; }}
: > body
"""

# Runs as the administrator in a Job, with APP_ROLE, APP_CLIENT_SECRET, OWNER and how long tokens and sessions last.
PROVISION = f"""{FUNCTIONS}
realm=$(realm_of "$APP_ROLE") id=$(id_of "$APP_ROLE")
sign_in
[ "$realm" != {CITY_REALM} ] && once=true || once=false
printf '{_REALM}' "$realm" "$once" > body
call POST admin/realms 201 409
# A client may be another's whose names come to the same account.
: > body
call GET "admin/realms/$realm/clients/$id" 200 404
if [ "$status" = 200 ] && ! grep -q -F "\\"{ACCOUNT}\\":\\"$APP_ROLE $OWNER " answer; then
  echo "client $APP_ROLE is $(field {ACCOUNT}), not that of $OWNER: give the binding another name" >&2
  exit 1
fi
found=$status
printf '{_CLIENT}' "$id" "$APP_ROLE" "$APP_CLIENT_SECRET" "$APP_ROLE $OWNER 0 open -" \\
  "$TOKEN_SECONDS" "$IDLE_SECONDS" "$SESSION_SECONDS" > body
if [ "$found" = 404 ]; then
  call POST "admin/realms/$realm/clients" 201
else
  call PUT "admin/realms/$realm/clients/$id" 204
fi
rm -f body
"""
