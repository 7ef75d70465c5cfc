"""How the vault is backed up and restored: as a whole, by the server's own snapshots of its storage.

A snapshot holds entries, roles and policies as the server stores them: encrypted with a key that the seal alone opens,
which is derived from the city's secret store. The pods of backups see no entry, and a snapshot is restored only into a
vault with the same seal: that of the same secret store. The server compares the seals and the checksums of all that it
is sent before it replaces anything.

The account of backups may do nothing but take snapshots. A restore takes the administrator's rights, and afterwards
gives both accounts their passwords of today (`rotation`), and locks the stores that were not in use before it.
"""

from __future__ import annotations

from stacks.platforms.backups import IN_ONE_PIECE, OCCUPIED, BackupScripts
from stacks.platforms.operations.vault.access import BACKUP, CONNECT
from stacks.platforms.operations.vault.deprovision import COUNTS, DEPROVISION
from stacks.platforms.operations.vault.rotation import ROTATE

# The client of the server's own, since it knows a snapshot that the server has not brought to its end.
_DUMP = f"""{CONNECT}sign_in {BACKUP}
BAO_ADDR=$server BAO_CACERT=${{AUTHORITY-}} BAO_TOKEN=$token
export BAO_ADDR BAO_CACERT BAO_TOKEN
rm -f snapshot
bao operator raft snapshot save snapshot >&2
cat snapshot
rm snapshot
"""

# The stores as objects with the account and the description, of which the last word says since when it is locked.
_STORES = """.data // . | to_entries[] | select(.key | startswith("apps/"))
  | {account: (.key | ltrimstr("apps/") | rtrimstr("/")), description: .value.description}"""

# The server counts entries anew every ten seconds, those of a store that it has just made too.
_HELD = f"""{COUNTS}
sleep 12
tries=0
while :; do
  call GET sys/mounts 200 < /dev/null
  jq -r '.data // . | keys[] | select(startswith("apps/")) | rtrimstr("/") | ltrimstr("apps/")' answer > stores
  counts
  unknown='' held=''
  while read -r store; do
    found=''
    while read -r name count; do
      [ "$name" != "$store" ] || found=$count
    done < counts
    case $found in
      '') unknown=$store ;;
      0) ;;
      *) held=$store ;;
    esac
  done < stores
  [ -z "$held" ] || {{ echo "store $held has entries" >&2; exit {OCCUPIED}; }}
  [ -n "$unknown" ] || break
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || {{ echo "the server does not say whether store $unknown has entries" >&2; exit 1; }}
  sleep 2
done
"""

# The server answers when the data is in its place, and signs nobody in for a moment. Its address for this sets no limit
# to what it is sent, as it does for all other requests; bytes that do not come for a minute will not come.
_RESTORE = f"""{CONNECT}sign_in
if [ "$REPLACE" = no ]; then
{_HELD}fi
# Those in use now.
call GET sys/mounts 200 < /dev/null
jq -r '{_STORES} | select(.description | endswith(" -")) | .account' answer > open
printf 'header = "X-Vault-Token: %s"\\n' "$token" > token
# Until the server has answered, nobody knows.
echo "the vault may have the data of the backup" > "$CHANGED"
status=$(curl --config token $CURL --silent --show-error --speed-limit 1 --speed-time 60 --request POST \\
  --upload-file - --output answer --write-out '%{{http_code}}' "$server/v1/sys/storage/raft/snapshot")
rm token
if [ "$status" != 204 ]; then
  : > "$CHANGED"
  jq -r '.errors | join("; ")' answer >&2 || :
  ! grep -q 'different autoseal key' answer || echo "the backup is of a vault with another seal: if this is that" \\
    "vault made anew, restore the city's states first (wecityctl state restore), and run wecityctl up" >&2
  exit 1
fi
echo "the vault has the data of the backup, and passwords of its time that are not in the city's secrets" > "$CHANGED"
cat > rotate <<'ROTATE'
{ROTATE}
ROTATE
tries=0
until sh rotate > rotated 2>&1 < /dev/null; do
  tries=$((tries + 1))
  [ "$tries" -lt 20 ] || {{ cat rotated >&2; exit 1; }}
  sleep 3
done
# A use that has ended since is not to be open again.
echo "the vault has the data of the backup, and stores of apps that do not use it any more may be open" > "$CHANGED"
sign_in
call GET sys/mounts 200 < /dev/null
ACCOUNTS=$(jq -r '{_STORES} | .account' answer | while read -r account; do
  grep -q -x -F -e "$account" open || echo "$account -"
done)
cat > lock <<'LOCK'
{DEPROVISION}
LOCK
[ -z "$ACCOUNTS" ] || ACCOUNTS=$ACCOUNTS sh lock < /dev/null
"""

SCRIPTS = BackupScripts(_DUMP, _RESTORE, atomic=True, inventory=IN_ONE_PIECE, dumped_by=BACKUP, with_accounts=True)
