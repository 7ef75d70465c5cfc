"""The scripts by which accounts of the notification server are made, locked, deleted and listed.

The program of the image (`image/go`) does it all, as a client of the server's administrator's interface. Its variables
are those that `stacks.platforms.provisioner` explains.
"""

from __future__ import annotations

ADMIN = "admin"
ADMIN_PORT = 8444
OPTIONS = f"-admin {ADMIN_PORT} -tries 60"

# The program reads its variables itself; the shell says which are missing.
SERVER = 'set -eu\n: "$HOST" "$PORT" "$ADMIN_PASSWORD"'
_ACCOUNT = f"exec notification account {OPTIONS}"
_CHANGE = f'{SERVER} "$ACCOUNTS"\n{_ACCOUNT}'

PROVISION = f"""{SERVER} "$APP_ROLE" "$APP_PASSWORD" "$OWNER" "$CONNECTIONS" "$STORAGE"
{_ACCOUNT} put
"""
DEPROVISION = f"{_CHANGE} lock\n"
# Templates and messages go with the account.
DELETE = f"{_CHANGE} delete\n"
INVENTORY = f"{SERVER}\n{_ACCOUNT} list\n"
