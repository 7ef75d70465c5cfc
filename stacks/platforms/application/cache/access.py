"""The permissions of an app's user in a cache, and the script that sets them: commands, keys and channels.

Commands are allowed by name and never excluded by name, so new commands of later versions stay forbidden. In a shared
cache, every allowed command names keys or channels, which the server checks against the app's prefix, or affects only
the app's own connection. Not allowed are commands that work without a key (SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHALL,
INFO, MONITOR, CLIENT LIST and KILL, PUBSUB, WAIT, SWAPDB …), reveal server internals (OBJECT, COMMAND), use the storage
format (DUMP, RESTORE, MIGRATE), or compute for long on little data (SORT, LCS, COPY). Scripts and functions share one
namespace and one thread among all users, so only an app with a dedicated cache may use them.
"""

from __future__ import annotations

from stacks.platforms import tls

# Options with which the command line client verifies the server: the issuer of the certificate, but not the name.
TLS_OPTIONS = f"--tls --cacert {tls.AUTHORITY}"

# Commands by type of value. The server checks each of their keys against the prefix.
KEYED_COMMANDS = """
del exists expire expireat expiretime persist pexpire pexpireat pexpiretime pttl rename renamenx touch ttl type unlink
watch
append decr decrby get getdel getex getrange getset incr incrby incrbyfloat mget mset msetnx psetex set setex setnx
setrange strlen substr
bitcount bitfield bitfield_ro bitop bitpos getbit setbit
hdel hexists hget hgetall hincrby hincrbyfloat hkeys hlen hmget hmset hrandfield hscan hset hsetnx hstrlen hvals
blmove blmpop blpop brpop brpoplpush lindex linsert llen lmove lmpop lpop lpos lpush lpushx lrange lrem lset ltrim rpop
rpoplpush rpush rpushx
sadd scard sdiff sdiffstore sinter sintercard sinterstore sismember smembers smismember smove spop srandmember srem
sscan sunion sunionstore
bzmpop bzpopmax bzpopmin zadd zcard zcount zdiff zdiffstore zincrby zinter zintercard zinterstore zlexcount zmpop
zmscore zpopmax zpopmin zrandmember zrange zrangebylex zrangebyscore zrangestore zrank zrem zremrangebylex
zremrangebyrank zremrangebyscore zrevrange zrevrangebylex zrevrangebyscore zrevrank zscan zscore zunion zunionstore
geoadd geodist geohash geopos georadius georadius_ro georadiusbymember georadiusbymember_ro geosearch geosearchstore
pfadd pfcount pfmerge
xack xadd xautoclaim xclaim xdel xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xtrim
"""
# The server checks each channel of these commands against the prefix.
CHANNELS = (
    "publish",
    "psubscribe",
    "punsubscribe",
    "spublish",
    "ssubscribe",
    "subscribe",
    "sunsubscribe",
    "unsubscribe",
)
# Commands that affect only their own connection. SELECT is harmless: permissions do not depend on the database.
CONNECTION = (
    "auth",
    "client|getname",
    "client|id",
    "client|reply",
    "client|setname",
    "discard",
    "echo",
    "exec",
    "hello",
    "multi",
    "ping",
    "quit",
    "reset",
    "select",
    "time",
    "unwatch",
)
# Allowed only if one app has the whole server.
SCRIPTING = ("eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function", "script")

# A key that nobody can write. The app's limits are stored in its access list line as the permission to read this key.
LIMITS_KEY = "wecity.limits"


def permissions(*, scripting: bool) -> str:
    """The command permissions of an app's user, in the syntax of the access list."""
    names = (*KEYED_COMMANDS.split(), *CHANNELS, *CONNECTION, *(SCRIPTING if scripting else ()))
    return " ".join(("-@all", *(f"+{name}" for name in names)))


# Runs as the administrator in a Job. Environment: APP_ROLE, APP_PASSWORD_SHA256, PERMISSIONS, CONNECTIONS, MEMORY
# (bytes), SCRIPTING (yes, no), and TLS with the client's TLS options, unset for a plain connection. The access list
# stores only a hash of the password, and is saved on the cache's volume.
PROVISION = rf"""set -euf
export REDISCLI_AUTH="$ADMIN_PASSWORD"
cli() {{ valkey-cli --no-auth-warning -e ${{TLS-}} -h "$HOST" -p "$PORT" --user admin "$@"; }}
tries=0
until cli PING > /dev/null 2>&1; do
  tries=$((tries + 1)); [ "$tries" -lt 60 ] || {{ cli PING; exit 1; }}; sleep 1
done
cli ACL SETUSER "$APP_ROLE" reset on "#$APP_PASSWORD_SHA256" "%R~{LIMITS_KEY}:$CONNECTIONS:$MEMORY" \
  "~$APP_ROLE:*" "&$APP_ROLE:*" $PERMISSIONS
# What was loaded while others could is nobody's now.
[ "$SCRIPTING" = yes ] || cli FUNCTION FLUSH
cli ACL SAVE
"""
