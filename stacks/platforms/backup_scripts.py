"""The shell scripts of the Jobs that back capabilities up, list, read back and restore.

A pod has the capability's own image, into which an init container copies restic, a static program. restic runs the
type's script itself and makes a snapshot only if the script ends with 0. So no stream is joined by hand, and a dump
that was cut is never a snapshot, whatever was killed.

What a Job tells is in lines of its log that begin with `wecity`: `saved ACCOUNT OWNER SNAPSHOT BYTES`, `failed ACCOUNT
OWNER`, `problem WHAT`, `occupied`, `restored ACCOUNT`, `verified`, `snapshots TOTAL SHA256 PART`. The log has what the
target and the server answer, too, who may write such lines as well. So the Job of a command has a secret word in MARK,
which follows `wecity` in its own lines; `own_lines` tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Task = Literal["backup", "list", "verify", "restore"]
# Seconds within which the target has to answer.
_PATIENCE = 45
# The exit code of a restore script that has found data where it was not to replace any.
OCCUPIED = 3
TOOLS = "/tools"
# Bytes of a list of snapshots that one Job prints: in base64, less than what a node keeps of a log (10 MiB, rotated).
PAGE = 3 * 2**20

# `reach` sets `code` to 0 for a repository that opens, to 10 if there is none. What others have printed may not end
# with a newline.
_BEGIN = f"""set -u
umask 077
mkdir -p /tmp/wecity
export HOME=/tmp
mark=${{MARK:+$MARK }}
unset MARK
restic="{TOOLS}/restic --no-cache --retry-lock 5m --cacert ${{AUTHORITY_OF_TARGET:-{TOOLS}/ca-certificates.crt}}"
tell() {{ printf '\\nwecity %s%s\\n' "$mark" "$*"; }}
problem() {{
  [ ! -s /tmp/wecity/error ] || cat /tmp/wecity/error
  tell "problem $1"
  exit 1
}}
reach() {{
  code=0
  timeout {_PATIENCE} $restic --no-lock cat config > /tmp/wecity/config 2> /tmp/wecity/error || code=$?
  case $code in
    0 | 10) : > /tmp/wecity/error ;;
    12) problem "the password does not open the backups" ;;
    124) problem "the target has not answered within {_PATIENCE} s" ;;
    *) problem "the target cannot be read" ;;
  esac
}}
"""

# What `init` says of a repository whose configuration is not there: it writes the key first, then the configuration.
_HALF_MADE = "repository already contains"

# What is half restored is no backup. RESTORING is empty unless a restore was under way as the pod began.
# A first backup makes the repository. Should two be the first at once, one of them fails, and tries again.
_BACKUP = f"""{_BEGIN}
[ -z "${{RESTORING:-}}" ] || problem "a restore is under way: job $RESTORING"
reach
if [ "$code" = 10 ]; then
  $restic init > /tmp/wecity/config 2> /tmp/wecity/error || {{
    reach
    [ "$code" = 10 ] || problem "another one has just made the repository"
    $restic init > /tmp/wecity/config 2> /tmp/wecity/error || {{
      ! grep -q "{_HALF_MADE}" /tmp/wecity/error || problem "the repository has a key and no configuration"
      problem "the target takes no repository"
    }}
  }}
fi
# Of those who were killed.
$restic unlock > /tmp/wecity/unlocked 2>&1 || :
/bin/sh -c "$INVENTORY" > /tmp/wecity/accounts || problem "the accounts could not be listed"
failed=0
while read -r word account owner size state since; do
  [ "$word" = account ] || continue
  export ACCOUNT="$account" OWNER="$owner"
  if $restic backup --json --quiet --host "$CITY" --tag "$TAGS,account=$account,owner=$owner" \\
    --stdin-filename "/$CAPABILITY/$account" --stdin-from-command -- /bin/sh -c "$DUMP" \\
    > /tmp/wecity/summary 2> /tmp/wecity/error < /dev/null
  then
    told=$(sed -n 's/.*"total_bytes_processed":\\([0-9]*\\).*"snapshot_id":"\\([0-9a-f]*\\)".*/\\2 \\1/p' \\
      /tmp/wecity/summary)
    tell "saved $account $owner $told"
  else
    cat /tmp/wecity/error
    tell "failed $account $owner"
    failed=1
  fi
done < /tmp/wecity/accounts
: > /tmp/wecity/error
[ "$failed" = 0 ] || exit 1
# By number and not by age, so that a clock that jumps makes nothing old. A lock of who was killed is not waited for as
# long as it may last: the next backup removes them.
$restic forget --retry-lock 1m --quiet --prune --host "$CITY" --group-by host,paths --keep-last 1 \\
  --keep-daily "$DAILY" --keep-weekly "$WEEKLY" --keep-monthly "$MONTHLY" > /tmp/wecity/forgotten 2>&1 || {{
  cat /tmp/wecity/forgotten
  tell "note older backups could not be removed"
}}
"""

# A page of the list, from byte FROM on. A node keeps only so much of a log, and passes over what came before.
_LIST = f"""{_BEGIN}
reach
list=/tmp/wecity/snapshots
if [ "$code" = 10 ]; then
  printf '[]' > $list
else
  $restic --no-lock snapshots --json > $list 2> /tmp/wecity/error || problem "the backups cannot be listed"
fi
page=$(tail -c "+$((FROM + 1))" $list | head -c "$PAGE" | base64 -w 0)
tell "snapshots $(wc -c < $list) $(sha256sum < $list | cut -d ' ' -f 1) $page"
"""

_VERIFY = f"""{_BEGIN}
reach
[ "$code" != 10 ] || problem "there are no backups"
$restic unlock > /tmp/wecity/unlocked 2>&1 || :
$restic check --read-data-subset "$SUBSET" > /tmp/wecity/checked 2> /tmp/wecity/error ||
  problem "the backups are damaged, or were tampered with"
tell "verified"
"""

# What has read the snapshot to its end leaves its exit code; WHOLE waits for it. What a script that is not atomic has
# done is in CHANGED.
_RESTORE = f"""{_BEGIN}
reach
[ "$code" != 10 ] || problem "there are no backups"
dump="$restic --no-lock dump"
damaged="the backup is damaged, or was tampered with"
if [ "$ATOMIC" = no ]; then
  $dump "$SNAPSHOT" "$SOURCE" 2> /tmp/wecity/error > /dev/null || problem "$damaged: nothing was changed"
fi
mkfifo /tmp/wecity/stream
(
  read=0
  $dump "$SNAPSHOT" "$SOURCE" > /tmp/wecity/stream 2> /tmp/wecity/error || read=$?
  echo "$read" > /tmp/wecity/read.new
  mv /tmp/wecity/read.new /tmp/wecity/read
) &
export WHOLE='until [ -f /tmp/wecity/read ]; do sleep 0.1; done; [ "$(cat /tmp/wecity/read)" = 0 ]'
export CHANGED=/tmp/wecity/changed
code=0
/bin/sh -c "$RESTORE" < /tmp/wecity/stream || code=$?
[ "$code" != {OCCUPIED} ] || {{ tell "occupied"; exit 1; }}
changed="nothing was changed"
[ ! -s $CHANGED ] || changed=$(head -n 1 $CHANGED)
# A script that stops reading ends the reader with a broken pipe, which is not the backup's fault.
[ "$code" = 0 ] || /bin/sh -c "$WHOLE" || [ "$(cat /tmp/wecity/read)" = 141 ] ||
  grep -q -i 'broken pipe' /tmp/wecity/error || problem "$damaged: $changed"
[ "$code" = 0 ] || {{ : > /tmp/wecity/error; problem "the capability has not taken the backup: $changed"; }}
tell "restored $ACCOUNT"
"""

_SCRIPTS: Mapping[Task, str] = {"backup": _BACKUP, "list": _LIST, "verify": _VERIFY, "restore": _RESTORE}


def script(task: Task) -> str:
    """The shell script of a task's Job."""
    return _SCRIPTS[task]
