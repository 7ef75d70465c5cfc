"""How an account's streams are backed up and restored: as NATS' own snapshots of them, one after the other.

A restore is not atomic: a stream has its name, and the server makes none beside the one that is there.
"""

from __future__ import annotations

from stacks.platforms.application.messaging.access import OPTIONS, SERVER
from stacks.platforms.backups import BackupScripts

_COPY = f'{SERVER} "$ACCOUNT" "$OWNER"\nexec messaging'

SCRIPTS = BackupScripts(f"{_COPY} dump {OPTIONS}\n", f"{_COPY} restore {OPTIONS}\n", atomic=False)
