"""An app's store and its way in: how they are made, and what the app may do there.

A store is a key-value engine of its own at `apps/<account>`. The app signs in by AppRole, with the account's name as
the role and a generated secret, and gets tokens of an hour. What such a token may do is read from the policy at each
request, so that a changed policy holds at once. The server knows no limit of size: the guard (`guard`) replaces the
policy of a store that has reached its limit. The limit stands in the description of the store.
"""

from __future__ import annotations

ADMIN = "admin"
# Takes snapshots and may do nothing else. Its password is the entry of this name in the administrator's Secret.
BACKUP = "backup"
# Bytes of one request and versions of an entry: what an entry can take at the most.
MAX_REQUEST, MAX_VERSIONS = 32 * 1024, 3
# Requests a second in one store.
RATE = 200

# What the administrator may do. It sees no entry of an app, but could give itself a policy that does.
ADMIN_POLICY = """\
path "sys/mounts" { capabilities = ["read"] }
path "sys/mounts/apps/*" { capabilities = ["create", "read", "update", "delete", "sudo"] }
path "sys/mounts/probe/*" { capabilities = ["create", "update", "delete", "sudo"] }
path "sys/policies/acl/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "sys/quotas/rate-limit/*" { capabilities = ["create", "read", "update", "delete"] }
path "sys/metrics" { capabilities = ["read"] }
path "sys/storage/raft/snapshot" { capabilities = ["create", "update"] }
path "auth/approle/role/*" { capabilities = ["create", "read", "update", "delete", "list"] }
path "auth/userpass/users/admin" { capabilities = ["read", "update"] }
path "auth/userpass/users/backup" { capabilities = ["create", "read", "update"] }
path "apps/+/config" { capabilities = ["create", "read", "update"] }
path "probe/*" { capabilities = ["create", "read", "update", "delete", "list"] }
"""

BACKUP_POLICY = """\
path "sys/storage/raft/snapshot" { capabilities = ["read"] }
"""

# Shell functions. They take ADMIN_PASSWORD, and from CURL the options by which curl knows the server; they write into
# the working directory. Passwords and tokens are in files and pipes: a command line is readable to every process.
#
# `call METHOD PATH CODE...` sends its standard input and sets `status` to that of the answer, which is in `answer`. It
# returns 1 if that is none of the codes, and says what the server said. `sign_in [USER]` makes `call` the
# administrator's, or another user's whose password is in ADMIN_PASSWORD.
# `policy open|read-only ACCOUNT` prints what an app may do as the body that sets it.
FUNCTIONS = f"""
token=''
call() {{
  method=$1 path=$2
  shift 2
  cat > body
  status=$(printf 'header = "X-Vault-Token: %s"\\n' "$token" | curl --config - $CURL --silent --show-error --globoff \\
    --max-time 30 --retry 3 --retry-connrefused --request "$method" --header 'Content-Type: application/json' \\
    --data-binary @body --output answer --write-out '%{{http_code}}' "$server/v1/$path") || return 1
  : > body
  for code in "$@"; do
    [ "$status" != "$code" ] || return 0
  done
  echo "$method $path is answered by $status: $(jq -r '.errors | join("; ")' answer 2> /dev/null)" >&2
  return 1
}}
sign_in() {{
  token=''
  printf '%s' "$ADMIN_PASSWORD" | jq -R '{{password: .}}' | call POST "auth/userpass/login/${{1-{ADMIN}}}" 200 ||
    return 1
  token=$(jq -r .auth.client_token answer)
  : > answer
}}
policy() {{
  case $1 in
    open) writing='"create", "update", "patch", ' ;;
    *) writing='' ;;
  esac
  jq -n --arg rules "
path \\"apps/$2/data/*\\" {{ capabilities = [$writing\\"read\\", \\"delete\\"] }}
path \\"apps/$2/metadata/\\" {{ capabilities = [\\"list\\"] }}
path \\"apps/$2/metadata/*\\" {{ capabilities = [\\"read\\", \\"list\\", \\"delete\\"] }}
path \\"apps/$2/delete/*\\" {{ capabilities = [\\"create\\", \\"update\\"] }}
path \\"apps/$2/undelete/*\\" {{ capabilities = [\\"create\\", \\"update\\"] }}
path \\"apps/$2/destroy/*\\" {{ capabilities = [\\"create\\", \\"update\\"] }}
" '{{policy: $rules}}'
}}
"""

# How scripts begin. AUTHORITY is the file with the certificates by which they know the server, not set for a plain
# connection. Afterwards the server is open for the administrator.
CONNECT = f"""set -euf
umask 077
cd /tmp
scheme=http CURL=''
[ -z "${{AUTHORITY-}}" ] || scheme=https CURL="--cacert $AUTHORITY"
{FUNCTIONS}
server=$scheme://$HOST:$PORT
tries=0
until curl $CURL --silent --fail --max-time 5 --output answer "$server/v1/sys/health"; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || {{ curl $CURL --show-error --silent --fail --max-time 5 "$server/v1/sys/health"; exit 1; }}
  sleep 1
done
"""

# Runs as the administrator in a Job, with APP_ROLE, APP_SECRET_ID, OWNER and STORAGE (bytes). The description of the
# store says whose it is, what it may hold, and since when it is locked.
PROVISION = f"""{CONNECT}sign_in
describe() {{ jq -n --arg text "$OWNER $STORAGE -" "$1"; }}
call GET sys/mounts 200 < /dev/null
if jq -e --arg path "apps/$APP_ROLE/" 'has($path)' answer > /dev/null; then
  describe '{{description: $text}}' | call POST "sys/mounts/apps/$APP_ROLE/tune" 200 204
else
  describe '{{type: "kv", options: {{version: "2"}}, description: $text}}' |
    call POST "sys/mounts/apps/$APP_ROLE" 200 204
fi
# A new engine is not ready for a moment.
tries=0
until echo '{{"max_versions": {MAX_VERSIONS}}}' | call POST "apps/$APP_ROLE/config" 200 204 2> refused; do
  tries=$((tries + 1))
  [ "$tries" -lt 20 ] || {{ cat refused >&2; exit 1; }}
  sleep 1
done
jq -n --arg path "apps/$APP_ROLE" '{{path: $path, rate: {RATE}}}' |
  call POST "sys/quotas/rate-limit/$APP_ROLE" 200 204
policy open "$APP_ROLE" | call POST "sys/policies/acl/$APP_ROLE" 200 204
jq -n --arg name "$APP_ROLE" '{{token_policies: [$name], token_ttl: "1h", token_max_ttl: "24h", token_type: "batch",
  token_no_default_policy: true, secret_id_num_uses: 0}}' | call POST "auth/approle/role/$APP_ROLE" 200 204
jq -n --arg name "$APP_ROLE" '{{role_id: $name}}' | call POST "auth/approle/role/$APP_ROLE/role-id" 200 204
# The new secret is there before the old ones go. It may be there already: what is the same is told as an error.
printf '%s' "$APP_SECRET_ID" | jq -R '{{secret_id: .}}' > wanted
call POST "auth/approle/role/$APP_ROLE/secret-id/lookup" 200 204 < wanted
if [ "$status" = 204 ]; then
  call POST "auth/approle/role/$APP_ROLE/custom-secret-id" 200 < wanted
  call POST "auth/approle/role/$APP_ROLE/secret-id/lookup" 200 < wanted
fi
: > wanted
kept=$(jq -r .data.secret_id_accessor answer)
call GET "auth/approle/role/$APP_ROLE/secret-id?list=true" 200 < /dev/null
for accessor in $(jq -r '.data.keys[]' answer); do
  [ "$accessor" = "$kept" ] || jq -n --arg it "$accessor" '{{secret_id_accessor: $it}}' |
    call POST "auth/approle/role/$APP_ROLE/secret-id-accessor/destroy" 200 204
done
"""
