"""Gives the administrator the password of today, and the account of backups what it is to have.

The server takes the administrator's password from its environment at its first start alone, and gives nobody else any
rights then. The environment is that of `stacks.platforms.rotation`. Tokens of before end by themselves within minutes
(`program`).
"""

from __future__ import annotations

from stacks.platforms.operations.vault.access import ADMIN, ADMIN_POLICY, BACKUP, BACKUP_POLICY, CONNECT

# Prints the password of the account of backups, which is the entry of its name in the administrator's Secret
# (`program`). Whoever has it does not have the administrator's.
_DERIVED = """printf 'backup:%s' "$ADMIN_PASSWORD" | sha256sum | cut -d ' ' -f 1"""

# The administrator's policy is written first: that of an earlier version may not let it make the account.
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
jq -n --arg rules '{ADMIN_POLICY}' '{{policy: $rules}}' | call POST sys/policies/acl/admin 200 204
if [ "$ADMIN_PASSWORD" != "$wanted" ]; then
  printf '%s' "$wanted" | jq -R '{{password: .}}' | call POST auth/userpass/users/{ADMIN} 200 204
  ADMIN_PASSWORD=$wanted
  sign_in
fi
jq -n --arg rules '{BACKUP_POLICY}' '{{policy: $rules}}' | call POST sys/policies/acl/{BACKUP} 200 204
{_DERIVED} | jq -R '{{password: ., token_policies: ["{BACKUP}"], token_no_default_policy: true,
  token_type: "batch", token_ttl: "30m"}}' | call POST auth/userpass/users/{BACKUP} 200 204
echo "the administrator has the password of the secret store"
"""
