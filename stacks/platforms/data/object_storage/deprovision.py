"""What becomes of a user and bucket of an object store whose use has ended: locked, listed with size and age, deleted.

The scripts run as the administrator in a Job, with ACCOUNTS (a line for each: the user, and whose it is); AUTHORITY is
as in `access`. A locked user has a secret key that nobody knows, and the time of the lock in the number that the server
keeps for the system's users (`--chuid`, which is not used). Its name says whose it is.
"""

from __future__ import annotations

from stacks.platforms.data.object_storage.access import CONNECT, LIMITS
from stacks.platforms.provisioner import IS_OF

# `users` writes a line `<user> <time of the lock or 0>` for each. `encode` prints an object's name, as it stands in
# XML, for an address: every byte but those that signatures take as they are.
_BEGIN = rf"""set -euf
umask 077
export LC_ALL=C
{CONNECT}users() {{
  call PATCH "$admin/list-users" 200 < /dev/null
  # The answer's last line has no end, and `read` wants one.
  {{ cat answer; echo; }} | sed 's/<Accounts>/\n/g' |
    sed -n 's/.*<Access>\([^<]*\)<.*<UserID>\([0-9]*\)<.*/\1 \2/p' > users
  rm -f answer
}}
page() {{
  call GET "$server/$1?${{2:+continuation-token=$2&}}list-type=2" 200 < /dev/null
  sed 's/<Contents>/\n/g' answer > page
}}
encode() {{
  printf %s "$1" | sed -e 's/&lt;/</g;s/&gt;/>/g;s/&#34;/"/g;s/&quot;/"/g' -e "s/&#39;/'/g;s/&apos;/'/g" \
    -e 's/&#x9;/\t/g;s/&#xA;/\n/g;s/&#xD;/\r/g;s/&amp;/\&/g' |
    od -An -v -tx1 | tr -s ' \n' '\n' | while read -r byte; do
      case $byte in
        '') ;;
        2d | 2e | 5f | 7e | 3[0-9] | 4[1-9a-f] | 5[0-9a] | 6[1-9a-f] | 7[0-9a])
          printf "\\$(printf %03o "0x$byte")" ;;
        *) printf %%%02X "0x$byte" ;;
      esac
    done
}}
"""

# A repetition keeps the time of the first lock. Requests that have begun go on to their end: each is a connection of
# its own, and an upload is not taken when its signature is checked again.
_LOCK = rf"""{_BEGIN}{IS_OF}
users
printf '%s\n' "$ACCOUNTS" | while read -r account owner; do
  is_of "$account" "$owner" || continue
  grep -F "$account " users | grep -x -e "$(printf %s "$account" | sed 's/[.]/[.]/g') [0-9]*" || :
done > listed
while read -r account since; do
  [ "$since" != 0 ] || since=$(date +%s)
  printf '<MutableProps><Secret>%s</Secret><Role>user</Role><UserID>%s</UserID></MutableProps>' \
    "$(cat /proc/sys/kernel/random/uuid)" "$since" > user
  call PATCH "$admin/update-user?access=$account" 200 < user
done < listed
rm -f user
"""

DEPROVISION = _LOCK

# The user goes last: what was killed in between is listed, and deleted by the next try. The server wants a digest of
# what is to be deleted, in base64.
DELETE = rf"""{_LOCK}
digest() {{
  hex=$(md5sum < "$1" | cut -c 1-32) bytes=''
  while [ -n "$hex" ]; do
    rest=${{hex#??}}
    bytes=$bytes\\$(printf %03o "0x${{hex%"$rest"}}") hex=$rest
  done
  printf "$bytes" | base64
}}
own=$CURL
while read -r account since; do
  # A bucket that is gone was deleted by a try that was killed afterwards.
  while call GET "$server/$account?list-type=2" 200 404 < /dev/null && [ "$status" = 200 ]; do
    sed 's/<Contents>/\n/g' answer | sed -n 's/.*\(<Key>.*<\/Key>\).*/<Object>\1<\/Object>/p' > objects
    [ -s objects ] || break
    {{ printf '<Delete><Quiet>true</Quiet>'; cat objects; printf '</Delete>'; }} > wanted
    CURL="$own --header content-md5:$(digest wanted)"
    call POST "$server/$account?delete=" 200 < wanted
    CURL=$own
    ! grep '<Error>' answer >&2 || exit 1
  done
  call DELETE "$server/$account" 204 404 < /dev/null
  call DELETE "$server/{LIMITS}/$account" 204 404 < /dev/null
  call PATCH "$admin/delete-user?access=$account" 200 < /dev/null
done < listed
"""

# Prints what `stacks.platforms.provisioner` says; the bytes are those of the objects, without unfinished uploads.
INVENTORY = rf"""{_BEGIN}
users
while read -r account since; do
  sum=0 next=''
  while :; do
    # A bucket that is gone has nothing.
    page "$account" "$next" 2> refused || {{ [ "$status" = 404 ] || {{ cat refused >&2; exit 1; }}; break; }}
    for size in $(sed -n 's/.*<Size>\([0-9]*\)<.*/\1/p' page); do sum=$((sum + size)); done
    grep -q '<IsTruncated>true<' page || break
    next=$(encode "$(tr -d '\n' < page | sed 's/.*<NextContinuationToken>\(.*\)<\/NextContinuationToken>.*/\1/')")
  done
  [ "$since" = 0 ] && state='open -' || state="locked $since"
  echo "account $account - $sum $state"
done < users
"""
