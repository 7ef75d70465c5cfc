"""How an app's keys in a cache are backed up and restored: as the server's own dumps of them, in hexadecimal digits.

A line for each key: database, key, when it expires in milliseconds since 1970 or 0, and its dump. No app may use dumps,
so what is restored was made by a server.
"""

from __future__ import annotations

from stacks.platforms.application.cache.access import LIMITS_KEY
from stacks.platforms.application.cache.deprovision import BEGIN, LEFT_KEY, TAKE_ALL
from stacks.platforms.backups import OCCUPIED, BackupScripts

# Keys that one step looks at: the server does nothing else meanwhile.
_STEP = 50

# ARGV: database, cursor, user. Answers the next cursor, and the lines.
_PAGE = f"""
redis.call('SELECT', ARGV[1])
local step = redis.call('SCAN', ARGV[2], 'COUNT', {_STEP})
local answer, prefix = {{step[1]}}, ARGV[3] .. ':'
local function hex(text)
  return (string.gsub(text, '.', function(c) return string.format('%02x', string.byte(c)) end))
end
for _, key in ipairs(step[2]) do
  if string.sub(key, 1, #prefix) == prefix then
    local dumped = redis.call('DUMP', key)
    if dumped then
      local expires = redis.call('PEXPIRETIME', key)
      if expires < 0 then expires = 0 end
      table.insert(answer, string.format('%s %s %.0f %s', ARGV[1], hex(key), expires, hex(dumped)))
    end
  end
end
return answer
"""

# ARGV: user, and the fields of a line.
_PUT = """
local function text(digits)
  return (string.gsub(digits, '..', function(pair) return string.char(tonumber(pair, 16)) end))
end
local key = text(ARGV[3])
if string.sub(key, 1, #ARGV[1] + 1) ~= ARGV[1] .. ':' then return redis.error_reply('a key of another user') end
redis.call('SELECT', ARGV[2])
return redis.call('RESTORE', key, ARGV[4], text(ARGV[5]), 'REPLACE', 'ABSTTL')
"""

# ARGV: database, cursor, user. Answers the next cursor, or `found`.
_FIND = """
redis.call('SELECT', ARGV[1])
local step = redis.call('SCAN', ARGV[2], 'COUNT', 1000)
local prefix = ARGV[3] .. ':'
for _, key in ipairs(step[2]) do
  if string.sub(key, 1, #prefix) == prefix then return 'found' end
end
return step[1]
"""

# `each SCRIPT` runs a script over all databases, and what it answers last is in `cursor`.
_EACH = """
each() {
  for database in $(databases); do
    cursor=0
    while :; do
      cli EVAL "$1" 0 "$database" "$cursor" "$ACCOUNT" > /tmp/step
      cursor=$(head -n 1 /tmp/step)
      [ "$cursor" != found ] || return 0
      tail -n +2 /tmp/step
      [ "$cursor" != 0 ] || break
    done
  done
}
"""

_DUMP = rf"""{BEGIN}{_EACH}
each "{_PAGE}"
echo end
"""

# A user who is not there is made locked, with limits of none: provisioning sets all of it.
_RESTORE = rf"""{BEGIN}{_EACH}
cursor=0
[ "$REPLACE" = yes ] || each "{_FIND}"
[ "$cursor" != found ] || {{ echo "user $ACCOUNT has keys" >&2; exit {OCCUPIED}; }}
cli ACL LIST | grep -q "^user $ACCOUNT " || {{
  cli ACL SETUSER "$ACCOUNT" off resetpass "%R~{LIMITS_KEY}:0:0" "%R~{LEFT_KEY}:$(date +%s)"
  cli ACL SAVE
}} > /dev/null
told() {{ echo "the keys of $ACCOUNT were deleted, and $(grep -c -x OK /tmp/answers) of the backup's are written"; }}
: > /tmp/answers
told > "$CHANGED"
trap 'told > "$CHANGED"' EXIT
each "{TAKE_ALL}"
put=$(cli SCRIPT LOAD "{_PUT}")
# One connection for all keys: the client reads commands, and prints an answer for each.
{{
  while read -r database key expires dumped; do
    [ "$database" != end ] || {{ echo end > /tmp/end; break; }}
    echo "EVALSHA $put 0 $ACCOUNT $database $key $expires $dumped"
  done
  cat > /dev/null
}} | valkey-cli --no-auth-warning ${{TLS-}} -h "$HOST" -p "$PORT" --user admin > /tmp/answers
if grep -v -x -e OK -e '' /tmp/answers > /tmp/refused; then head -n 3 /tmp/refused >&2; exit 1; fi
[ -f /tmp/end ] || {{ echo "the stream ends before its end" >&2; exit 1; }}
cli BGSAVE SCHEDULE > /dev/null
"""

SCRIPTS = BackupScripts(_DUMP, _RESTORE, atomic=False)
