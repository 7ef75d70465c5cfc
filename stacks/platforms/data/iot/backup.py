"""How an account of the IoT access is backed up and restored: its devices and its retained messages.

The passwords of devices are derived from a key that the dump has, so a device has the same one after a restore. What is
queued for a session that is not connected is in no backup.
"""

from __future__ import annotations

from stacks.platforms.backups import BackupScripts
from stacks.platforms.data.iot.access import script

# The program's command `restore` ends with `OCCUPIED` for an account that has data.
SCRIPTS = BackupScripts(script("dump", "ACCOUNT"), script("restore", "ACCOUNT", "REPLACE", "CHANGED"), atomic=False)
