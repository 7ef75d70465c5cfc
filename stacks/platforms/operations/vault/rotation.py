"""Changes the administrator's password in the vault, which takes it from its environment at its first start alone.

Its environment is that of `stacks.platforms.rotation`. Tokens of before end by themselves within minutes (`program`).
"""

from __future__ import annotations

from stacks.platforms.operations.vault.access import ADMIN, CONNECT

ROTATE = f"""{CONNECT}wanted=$ADMIN_PASSWORD
if ! sign_in 2> refused; then
  for ADMIN_PASSWORD in $PREVIOUS_PASSWORDS; do
    ! sign_in 2> /dev/null || break
  done
  if [ -z "$token" ]; then
    cat refused >&2
    echo "none of the passwords that were replaced is the administrator's either" >&2
    exit 1
  fi
fi
if [ "$ADMIN_PASSWORD" != "$wanted" ]; then
  printf '%s' "$wanted" | jq -R '{{password: .}}' | call POST auth/userpass/users/{ADMIN} 200 204
  ADMIN_PASSWORD=$wanted
  sign_in
fi
echo "the administrator has the password of the secret store"
"""
