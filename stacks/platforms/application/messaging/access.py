"""The scripts by which accounts of messaging are made, locked, deleted, listed, backed up and restored.

The program of the image (`image/go`) does it all, as a client of the server's administrator's interface. Its variables
are those that `stacks.platforms.provisioner` explains.
"""

from __future__ import annotations

ADMIN_PORT = 4223
OPTIONS = f"-admin {ADMIN_PORT} -tries 60"

PROVISION = f"exec messaging account {OPTIONS} put\n"
DEPROVISION = f"exec messaging account {OPTIONS} lock\n"
DELETE = f"exec messaging account {OPTIONS} delete\n"
INVENTORY = f"exec messaging account {OPTIONS} list\n"
