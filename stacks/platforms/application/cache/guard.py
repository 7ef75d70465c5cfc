"""The guard, a container beside a cache server that enforces limits per user on connections and memory.

The server itself has only one limit for all users. The guard is a shell script in the server's image and pod. It keeps
one connection open, so that it still has access when no connection is free. It closes connections beyond an app's limit
and, when memory runs short, deletes keys of apps that hold more than their share. CPU time is not limited: a server has
one thread. The guard also makes the server reload a renewed certificate.
"""

from __future__ import annotations

from stacks.platforms import tls
from stacks.platforms.application.cache.access import LIMITS_KEY

# The interval between two checks, in seconds.
PERIOD = 1
# Unauthenticated clients may hold this many connections in total, each for this many seconds.
UNKNOWN_CONNECTIONS, UNKNOWN_SECONDS = 200, 5
# The health probe needs few connections, one query at a time.
PROBE_CONNECTIONS = 10
# Shares of memory are enforced above this percentage of use. Below it there is enough for all apps.
PRESSURE = 75

# KEYS: none. ARGV: database, cursor. Returns the next cursor, then users and the bytes of their keys in this step.
ACCOUNT = """
redis.call('SELECT', ARGV[1])
local step = redis.call('SCAN', ARGV[2], 'COUNT', 500)
local bytes, answer = {}, {'cursor ' .. step[1]}
for _, key in ipairs(step[2]) do
  local user = string.match(key, '^([^:]*):') or ''
  bytes[user] = (bytes[user] or 0) + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '5') or 0)
end
for user, sum in pairs(bytes) do
  if string.match(user, '^[%w._-]+$') then answer[#answer + 1] = 'bytes ' .. user .. ' ' .. string.format('%d', sum) end
end
return answer
"""

# ARGV: database, cursor, user, bytes to free. Returns the next cursor and the number of bytes freed.
TAKE = """
redis.call('SELECT', ARGV[1])
local step = redis.call('SCAN', ARGV[2], 'COUNT', 500)
local prefix, wanted, freed = ARGV[3] .. ':', tonumber(ARGV[4]), 0
for _, key in ipairs(step[2]) do
  if freed >= wanted then break end
  if string.sub(key, 1, #prefix) == prefix then
    freed = freed + (redis.call('MEMORY', 'USAGE', key, 'SAMPLES', '5') or 0)
    redis.call('UNLINK', key)
  end
end
return {'cursor ' .. step[1], 'freed ' .. string.format('%d', freed)}
"""

_SCRIPT = r"""set -eu
export REDISCLI_AUTH="$ADMIN_PASSWORD" LC_ALL=C
cd /tmp
cli() { valkey-cli --no-auth-warning ${TLS-} -h 127.0.0.1 -p "$PORT" --user admin "$@"; }
until cli PING 2> /dev/null | grep -q PONG; do sleep 1; done
account=$(printf '%s' "$ACCOUNT" | cli -x SCRIPT LOAD)
take=$(printf '%s' "$TAKE" | cli -x SCRIPT LOAD)

# One connection for good. Lines about clients and users are cut down to what is used of them. The limits of locked
# users count too, as their keys take memory.
rm -f asked answered
mkfifo asked answered
cli < asked | sed -u -n -e 's/\r$//;t cut' -e ':cut' \
  -e 's/^id=\([0-9]*\) .* age=\([0-9]*\) .* user=\([^ ]*\) .*/client \1 \2 \3/p;t' \
  -e 's/^user \([^ ]*\) o[nf]* .*%R~LIMITS_KEY:\([0-9]*\):\([0-9]*\) .*/limit \1 \2 \3/p;t' \
  -e '/^user /d' -e p > answered &
exec 3> asked 4< answered

# Prints the answer. A server that is gone, or was started anew without the scripts, ends the script.
ask() {
  printf '%s\nECHO end-of-answer\n' "$*" >&3
  while :; do
    IFS= read -r line <&4 || exit 1
    case $line in
      end-of-answer) return 0 ;;
      ERR* | NOSCRIPT* | NOAUTH* | Error* | 'Could not connect'*) echo "guard: $1: $line" >&2; exit 1 ;;
      ?*) printf '%s\n' "$line" ;;
    esac
  done
}

# The number behind `name:` in a section of INFO.
figure() { ask INFO "$1" | sed -n "s/^$2:\([0-9]*\).*/\1/p"; }

close_connections() {
  ask CLIENT LIST > clients
  {
    sed -n 's/^limit \([^ ]*\) \([0-9]*\) .*/\1 0 \2/p' limits
    echo "default 0 UNKNOWN_CONNECTIONS"
    echo "probe 0 PROBE_CONNECTIONS"
    while read -r _ id age user; do echo "$user $id $age"; done < clients
  } | sort -k1,1 -k2,2n | {
    current='' left=0 closed=0
    while read -r user id last; do
      if [ "$id" = 0 ]; then current=$user left=$last; continue; fi
      [ "$user" = "$current" ] || continue
      left=$((left - 1))
      if [ "$left" -lt 0 ] || { [ "$user" = default ] && [ "$last" -ge UNKNOWN_SECONDS ]; }; then
        echo "CLIENT KILL ID $id" >&3
        closed=$((closed + 1))
      fi
    done
    [ "$closed" = 0 ] || echo "guard: closed $closed connections beyond their users' limits" >&2
  }
  # The answers to what was closed.
  ask PING > /dev/null
}

databases() { ask INFO keyspace | sed -n 's/^db\([0-9]*\):.*/\1/p'; }

share_memory() {
  : > usage
  for database in $(databases); do
    cursor=0
    while :; do
      ask EVALSHA "$account" 0 "$database" "$cursor" > step
      while read -r word user bytes; do
        case $word in cursor) cursor=$user ;; bytes) echo "$user 1 $bytes" >> usage ;; esac
      done < step
      [ "$cursor" != 0 ] || break
    done
  done
  sed -n 's/^limit \([^ ]*\) [0-9]* \([0-9]*\)$/\1 0 \2/p' limits >> usage
  sort -k1,1 -k2,2n usage | {
    current='' over=0
    while read -r user kind bytes; do
      if [ "$kind" = 0 ]; then
        [ -z "$current" ] || echo "$current $over"
        current=$user over=$((0 - bytes))
      elif [ "$user" = "$current" ]; then
        over=$((over + bytes))
      fi
    done
    [ -z "$current" ] || echo "$current $over"
  } > over
  while read -r user bytes; do
    [ "$bytes" -le 0 ] || take_from "$user" "$bytes"
  done < over
}

take_from() {
  freed=0
  for database in $(databases); do
    cursor=0
    while [ "$freed" -lt "$2" ]; do
      ask EVALSHA "$take" 0 "$database" "$cursor" "$1" $(($2 - freed)) > step
      while read -r word number; do
        case $word in cursor) cursor=$number ;; freed) freed=$((freed + number)) ;; esac
      done < step
      [ "$cursor" != 0 ] || break
    done
  done
  echo "guard: took $freed bytes from $1, which held $2 more than its share" >&2
}

# Once at the start as well: it may have been renewed while no guard was there.
take_certificate() {
  certificate=$(cksum < TLS_CERTIFICATE)
  [ "$certificate" != "$loaded" ] || return 0
  ask CONFIG SET tls-cert-file TLS_CERTIFICATE tls-key-file TLS_KEY > /dev/null
  [ -z "$loaded" ] || echo "guard: the server takes over its renewed certificate" >&2
  loaded=$certificate
}

round=0 loaded=''
while :; do
  # Users and their limits change when an app comes, goes or is given others.
  [ $((round % 10)) != 0 ] || ask ACL LIST > limits
  [ -z "${TLS-}" ] || [ $((round % 10)) != 0 ] || take_certificate
  round=$((round + 1))
  lowest=$(sed -n 's/^limit [^ ]* \([0-9]*\) .*/\1/p' limits | sort -n | head -n 1)
  [ "$(figure clients connected_clients)" -le "${lowest:-5}" ] || close_connections
  [ $(($(figure memory used_memory) * 100 / MAXMEMORY)) -lt PRESSURE ] || share_memory
  sleep PERIOD
done
"""


def script(maxmemory: int) -> str:
    """The guard's shell script for a server of `maxmemory` bytes.

    Its environment has ADMIN_PASSWORD, PORT, ACCOUNT and TAKE, and TLS with the client's TLS options, unset for a plain
    connection.
    """
    values = {
        "LIMITS_KEY": LIMITS_KEY.replace(".", r"\."),
        "UNKNOWN_CONNECTIONS": UNKNOWN_CONNECTIONS,
        "UNKNOWN_SECONDS": UNKNOWN_SECONDS,
        "PROBE_CONNECTIONS": PROBE_CONNECTIONS,
        "MAXMEMORY": maxmemory,
        "PRESSURE": PRESSURE,
        "PERIOD": PERIOD,
        "TLS_CERTIFICATE": tls.CERTIFICATE,
        "TLS_KEY": tls.KEY,
    }
    text = _SCRIPT
    for name, value in values.items():
        text = text.replace(name, str(value))
    return text
