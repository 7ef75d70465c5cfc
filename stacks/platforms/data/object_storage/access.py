"""An app's bucket and key pair in an object store: how they are made, and what the app may do with the bucket.

Buckets belong to the administrator, and an app is let in by its bucket's policy: the owner of a bucket could write
policies, and open it to everybody. The limit of a use is an object in a bucket that no app may read; the guard
(`guard`) finds it as a file on the volume.
"""

from __future__ import annotations

REGION = "us-east-1"
ADMIN = "admin"
ADMIN_PORT = 7071
# No account has this name: accounts' names have dots.
LIMITS = "wecity-limits"

# What an app may do in every state of its bucket: read, and make room.
KEEPING = (
    "AbortMultipartUpload",
    "DeleteObject",
    "DeleteObjectTagging",
    "GetBucketLocation",
    "GetObject",
    "GetObjectAttributes",
    "GetObjectTagging",
    "ListBucket",
    "ListBucketMultipartUploads",
    "ListMultipartUploadParts",
)
# What it may do as long as it holds less than its limit.
WRITING = ("PutObject", "PutObjectTagging")


def _policy(*actions: str) -> str:
    names = ",".join(f'"s3:{name}"' for name in actions)
    # The shell puts the account's name, which is the bucket's too, in the place of each %s.
    resources = '"arn:aws:s3:::%s","arn:aws:s3:::%s/*"'
    statement = f'"Effect":"Allow","Principal":{{"AWS":["%s"]}},"Action":[{names}],"Resource":[{resources}]'
    return f'{{"Version":"2012-10-17","Statement":[{{{statement}}}]}}'


# Shell functions. They take ADMIN_PASSWORD, and from CURL the options by which curl knows the server; they write into
# the working directory. Keys and passwords are in files and pipes: a command line is readable to every process.
#
# `call METHOD URL CODE...` sends its standard input as the administrator and sets `status` to that of the answer. It
# returns 1, with the answer as the message, when that is none of the codes. `policy open|read-only ACCOUNT` prints a
# policy.
FUNCTIONS = f"""
call() {{
  method=$1 url=$2
  shift 2
  cat > body
  status=$(printf 'user = "{ADMIN}:%s"\\n' "$ADMIN_PASSWORD" | curl --config - $CURL --silent --show-error --globoff \\
    --max-time 30 --retry 3 --retry-connrefused --aws-sigv4 aws:amz:{REGION}:s3 --request "$method" \\
    --header "x-amz-content-sha256: $(sha256sum < body | cut -d ' ' -f 1)" --data-binary @body \\
    --output answer --write-out '%{{http_code}}' "$url") || return 1
  rm -f body
  for code in "$@"; do
    [ "$status" != "$code" ] || return 0
  done
  echo "$method $url is answered by $status: $(cat answer)" >&2
  return 1
}}
policy() {{
  case $1 in
    open) printf '{_policy(*KEEPING, *WRITING)}' "$2" "$2" "$2" ;;
    *) printf '{_policy(*KEEPING)}' "$2" "$2" "$2" ;;
  esac
}}
"""

# How scripts begin. AUTHORITY is the file with the certificates by which they know the server, not set for a plain
# connection. Afterwards the server answers at `server`, its administrator's interface at `admin`.
CONNECT = f"""cd /tmp
scheme=http CURL=''
[ -z "${{AUTHORITY-}}" ] || scheme=https CURL="--cacert $AUTHORITY"
{FUNCTIONS}
server=$scheme://$HOST:$PORT admin=$scheme://$HOST:{ADMIN_PORT}
tries=0
until curl $CURL --silent --fail --max-time 5 --output answer "$server/health"; do
  tries=$((tries + 1))
  [ "$tries" -lt 60 ] || {{ curl $CURL --show-error --silent --fail --max-time 5 "$server/health"; exit 1; }}
  sleep 1
done
"""

# Runs as the administrator in a Job, with APP_ROLE, APP_SECRET_KEY and STORAGE (bytes).
PROVISION = f"""set -euf
umask 077
{CONNECT}# A pipe's last part is a process of its own, which keeps what it learns; files are read here.
printf '<Account><Access>%s</Access><Secret>%s</Secret><Role>user</Role></Account>' "$APP_ROLE" "$APP_SECRET_KEY" > user
call PATCH "$admin/create-user" 201 409 < user
if [ "$status" = 409 ]; then
  # A number is when the user was locked, see `deprovision`.
  printf '<MutableProps><Secret>%s</Secret><Role>user</Role><UserID>0</UserID></MutableProps>' \
    "$APP_SECRET_KEY" > user
  call PATCH "$admin/update-user?access=$APP_ROLE" 200 < user
fi
rm -f user
call PUT "$server/$APP_ROLE" 200 409 < /dev/null
policy open "$APP_ROLE" | call PUT "$server/$APP_ROLE?policy=" 204
call PUT "$server/{LIMITS}" 200 409 < /dev/null
# Last: a limit that was written anew is what the guard looks at the bucket for, whatever it knew of it.
echo "$STORAGE" | call PUT "$server/{LIMITS}/$APP_ROLE" 200
"""
