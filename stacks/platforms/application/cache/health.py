"""The end-to-end probe of the cache: a value that is written, read and removed, and the access list saved."""

from __future__ import annotations

from stacks.platforms.probes import NAMED

# The key expires by itself should the probe be killed. No app's keys start like it: their names have three parts.
# Saving the access list, which does not change it, writes to the volume; values are there only after minutes.
PROBE = f"""set -euf
{NAMED}
export REDISCLI_AUTH="$ADMIN_PASSWORD"
cli() {{ valkey-cli --no-auth-warning -e ${{TLS-}} -h "$HOST" -p "$PORT" --user admin "$@" < /dev/null; }}
key=wecity.probe:$id
cli SET "$key" "$id" EX 60 > /dev/null
found=$(cli GET "$key")
[ "$found" = "$id" ] || {{ echo "a value that was written is read back as '$found'" >&2; exit 1; }}
cli DEL "$key" > /dev/null
[ -z "$(cli GET "$key")" ] || {{ echo "a value that was removed is still there" >&2; exit 1; }}
cli ACL SAVE > /dev/null
echo "a value was written, read and removed, and the access list saved"
"""
