"""How the log store is backed up and restored: as a whole, by the image's program as a client (`image/go/ask`).

The whole, since lines are the city's and its tenants', and of no account. Accounts are not in it; provisioning makes
them. A restore adds the lines that are missing, so that those which have been written since stay, and none is there
twice. Each keeps its own time, from which the retention counts.
"""

from __future__ import annotations

from stacks.platforms.backups import IN_ONE_PIECE, BackupScripts

_RUN = """set -eu
: "$HOST" "$PORT" "$ADMIN_PASSWORD"
exec logs"""

SCRIPTS = BackupScripts(f"{_RUN} dump\n", f"{_RUN} restore\n", atomic=False, inventory=IN_ONE_PIECE, adds=True)
