"""What an app's user may do in a cache: the commands by name, its keys and channels, and the line that says so.

A list of what is allowed, never of what is forbidden: the next version's new commands stay closed. In a shared cache
each command either names keys or channels, which the server holds against the app's prefix, or touches nothing but the
app's own connection. Left out is whatever works without a key (SCAN, KEYS, RANDOMKEY, DBSIZE, FLUSHALL, INFO, MONITOR,
CLIENT LIST and KILL, PUBSUB, WAIT, SWAPDB …), tells of the server's inside (OBJECT, COMMAND), takes bytes as they are
stored (DUMP, RESTORE, MIGRATE) or computes for long over little (SORT, LCS, COPY). Scripts and functions are one name
space and one thread for all users: only an app with a cache of its own has them.
"""

from __future__ import annotations

from stacks.platforms import tls

# By which the command line client knows the server; of its certificate it checks who has issued it, not the name.
TLS_OPTIONS = f"--tls --cacert {tls.AUTHORITY}"

# By kind of value. The server checks each key of these against the prefix.
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
# The server checks each channel of these against the prefix.
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
# These touch the connection that they come over, and nothing else. A database number is no border and opens none.
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
# Only where one app has the whole server.
SCRIPTING = ("eval", "eval_ro", "evalsha", "evalsha_ro", "fcall", "fcall_ro", "function", "script")

# A key that nobody can write. The right to read it carries an app's limits within its line of the access list.
LIMITS_KEY = "wecity.limits"


def permissions(*, scripting: bool) -> str:
    """The commands of an app's user as the access list writes them."""
    names = (*KEYED_COMMANDS.split(), *CHANNELS, *CONNECTION, *(SCRIPTING if scripting else ()))
    return " ".join(("-@all", *(f"+{name}" for name in names)))


# Runs as the administrator in a Job, with APP_ROLE, APP_PASSWORD_SHA256, PERMISSIONS, CONNECTIONS, MEMORY (bytes) and
# SCRIPTING (yes, no); TLS has the options by which it knows the server, and is not set for a plain connection. The
# access list stores a hash only, and is saved on the cache's own volume.
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
