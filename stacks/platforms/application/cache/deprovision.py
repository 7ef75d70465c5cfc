"""What becomes of a cache's user whose use has ended: locked, listed with size and age, removed with its keys.

The scripts run as the administrator in a Job, with ACCOUNTS (a line for each: the user, and whose it is); TLS has the
options by which they know the server. The user's own line of the access list keeps when it was locked, as it keeps the
limits: as the right to read a key that nobody can write. Its name says whose it is.
"""

from __future__ import annotations

from stacks.platforms.application.cache.access import LIMITS_KEY
from stacks.platforms.application.cache.guard import ACCOUNT
from stacks.platforms.provisioner import IS_OF

LEFT_KEY = "wecity.left"
# As a regular expression of `sed`.
_LIMITS, _LEFT = (key.replace(".", "[.]") for key in (LIMITS_KEY, LEFT_KEY))

BEGIN = r"""set -euf
export REDISCLI_AUTH="$ADMIN_PASSWORD" LC_ALL=C
cli() { valkey-cli --no-auth-warning -e ${TLS-} -h "$HOST" -p "$PORT" --user admin "$@" < /dev/null; }
tries=0
until cli PING > /dev/null 2>&1; do
  tries=$((tries + 1)); [ "$tries" -lt 60 ] || { cli PING; exit 1; }; sleep 1
done
databases() { cli INFO keyspace | sed -n 's/^db\([0-9]*\):.*/\1/p'; }
"""

# The users among those of ACCOUNTS that provisioning made: each line of theirs has limits.
_LISTED = rf"""{IS_OF}
cli ACL LIST | sed -n 's/^user \([^ ]*\) \(on\|off\) .*%R~{_LIMITS}:.*/\1 \2/p' > /tmp/users
printf '%s\n' "$ACCOUNTS" | while read -r account owner; do
  is_of "$account" "$owner" || continue
  grep -F -x -e "$account on" -e "$account off" /tmp/users || :
done > /tmp/listed
"""

# A repetition keeps the time of the first lock.
_LOCK = rf"""{BEGIN}{_LISTED}
while read -r account state; do
  [ "$state" = off ] || cli ACL SETUSER "$account" off resetpass "%R~{LEFT_KEY}:$(date +%s)"
  cli CLIENT KILL USER "$account"
done < /tmp/listed
cli ACL SAVE
"""

DEPROVISION = _LOCK

# ARGV: database, cursor, user. Answers the next cursor.
TAKE_ALL = """
redis.call('SELECT', ARGV[1])
local step = redis.call('SCAN', ARGV[2], 'COUNT', 1000)
local prefix = ARGV[3] .. ':'
for _, key in ipairs(step[2]) do
  if string.sub(key, 1, #prefix) == prefix then redis.call('UNLINK', key) end
end
return step[1]
"""

# The user goes last: what was killed in between is listed, and removed by the next try. A snapshot without the keys
# follows, as a server that crashes reads the last one.
DELETE = rf"""{_LOCK}
while read -r account state; do
  for database in $(databases); do
    cursor=0
    while :; do
      cursor=$(cli EVAL "{TAKE_ALL}" 0 "$database" "$cursor" "$account")
      [ "$cursor" != 0 ] || break
    done
  done
  cli ACL DELUSER "$account"
done < /tmp/listed
cli ACL SAVE
[ ! -s /tmp/listed ] || cli BGSAVE SCHEDULE
"""

# Prints what `stacks.platforms.provisioner` says; the bytes are an estimate from samples, as the guard's.
INVENTORY = rf"""{BEGIN}
cli ACL LIST > /tmp/users
: > /tmp/usage
for database in $(databases); do
  cursor=0
  while :; do
    cli EVAL "{ACCOUNT}" 0 "$database" "$cursor" > /tmp/step
    while read -r word user bytes; do
      case $word in cursor) cursor=$user ;; bytes) echo "$user $bytes" >> /tmp/usage ;; esac
    done < /tmp/step
    [ "$cursor" != 0 ] || break
  done
done
sed -n 's/^user \([^ ]*\) \(on\|off\) .*%R~{_LIMITS}:.*/\1 \2 &/p' /tmp/users |
  while read -r account state line; do
    sum=0
    while read -r user bytes; do
      [ "$user" != "$account" ] || sum=$((sum + bytes))
    done < /tmp/usage
    left=-
    if [ "$state" = off ]; then
      found=$(printf '%s\n' "$line" | sed -n 's/.*%R~{_LEFT}:\([0-9]*\).*/\1/p')
      left=${{found:--}}
    fi
    [ "$state" = on ] && word=open || word=locked
    echo "account $account - $sum $word $left"
  done
"""
