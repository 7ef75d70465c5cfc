"""How the registry is backed up and restored: as a whole, by its server, which alone sees its files (`image/go`).

The whole, since repositories are of tenants, of which one may have several accounts, and layers are there once for all.
Accounts are not in it; provisioning makes them. Layers come under their digests beside those that are there; then all
repositories of tenants are replaced in one step. To the city's own, images are added that are missing.
"""

from __future__ import annotations

from stacks.platforms.backups import IN_ONE_PIECE, OCCUPIED, BackupScripts
from stacks.platforms.operations.registry.access import CONNECT

_DUMP = f"""set -euf
{CONNECT}exec curl --config administrator $CURL --silent --show-error --fail "$admin/content"
"""

# What is read may be damaged at its end: the server takes it when `whole` comes after it.
_RESTORE = f"""set -euf
{CONNECT}if [ "$REPLACE" = no ]; then
  call GET "$admin/content/occupied" 204 409 < /dev/null
  [ "$status" = 204 ] || {{ cat answer >&2; exit {OCCUPIED}; }}
fi
status=$({{ cat && /bin/sh -c "$WHOLE" && echo whole; }} |
  curl --config administrator $CURL --silent --show-error --request POST --upload-file - --output answer \\
    --write-out '%{{http_code}}' "$admin/content") || status="no answer ($status)"
[ "$status" = 204 ] || {{ echo "the registry answers $status: $(head -c 300 answer)" >&2; exit 1; }}
"""

SCRIPTS = BackupScripts(_DUMP, _RESTORE, atomic=True, inventory=IN_ONE_PIECE)
