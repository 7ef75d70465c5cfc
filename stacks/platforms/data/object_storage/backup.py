"""How a bucket is backed up and restored: by the image's program, as a client of the server (`image/go/copying`)."""

from __future__ import annotations

from stacks.platforms.backups import BackupScripts
from stacks.platforms.data.object_storage.access import ADMIN, CONNECT, REGION

_OPTIONS = f"--region {REGION} --access {ADMIN}"

_DUMP = f"exec object-storage dump {_OPTIONS}\n"

# A user who is not there is made locked: with a key that nobody knows, and the time in the number that `deprovision`
# explains. Provisioning gives it a key.
_RESTORE = f"""set -euf
umask 077
{CONNECT}
printf '<Account><Access>%s</Access><Secret>%s</Secret><Role>user</Role><UserID>%s</UserID></Account>' \\
  "$ACCOUNT" "$(cat /proc/sys/kernel/random/uuid)" "$(date +%s)" > user
call PATCH "$admin/create-user" 201 409 < user
rm -f user
call PUT "$server/$ACCOUNT" 200 409 < /dev/null
echo "bucket $ACCOUNT has objects of the backup beside others that it had, and may lack some of both" > "$CHANGED"
exec object-storage restore {_OPTIONS}
"""

SCRIPTS = BackupScripts(_DUMP, _RESTORE, atomic=False)
