"""How the metrics store is backed up and restored: as a whole, by the image's program as a client (`image/go/access`).

The whole, since its series are of the city and its tenants, and of no account: usage is counted from them for bills.
Accounts are not in it; provisioning makes them. A restore adds what is missing and doubles nothing, so that series
which have been written since go on.
"""

from __future__ import annotations

from stacks.platforms.backups import IN_ONE_PIECE, BackupScripts
from stacks.platforms.operations.metrics.program import RETENTION

_RUN = f"""set -eu
: "$HOST" "$PORT" "$ADMIN_PASSWORD"
export RETENTION_DAYS={RETENTION}
exec metrics-access"""

SCRIPTS = BackupScripts(f"{_RUN} dump\n", f"{_RUN} restore\n", atomic=False, inventory=IN_ONE_PIECE, adds=True)
