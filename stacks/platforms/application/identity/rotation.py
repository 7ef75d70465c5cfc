"""Changes the administrator's password in Keycloak, which takes it from its environment at its first start alone.

Its environment is that of `stacks.platforms.rotation`.
"""

from __future__ import annotations

from stacks.platforms.application.identity.access import ADMIN, FUNCTIONS

# The sessions are ended in every run, as one that was killed may have changed the password and no more. Generated
# passwords have no character that JSON escapes.
ROTATE = f"""{FUNCTIONS}
wanted=$ADMIN_PASSWORD
if ! sign_in 2> refused; then
  for ADMIN_PASSWORD in $PREVIOUS_PASSWORDS; do
    ! sign_in 2> /dev/null || break
  done
  if [ -z "$token" ]; then
    cat refused >&2
    echo "none of the passwords that were replaced is the administrator's either: set it to that in the Secret" >&2
    exit 1
  fi
fi
call GET 'admin/realms/master/users?username={ADMIN}&exact=true&briefRepresentation=true' 200
id=$(field id)
if [ "$ADMIN_PASSWORD" != "$wanted" ]; then
  printf '{{"type":"password","value":"%s","temporary":false}}' "$wanted" > body
  call PUT "admin/realms/master/users/$id/reset-password" 204
  ADMIN_PASSWORD=$wanted
  : > body
fi
call POST "admin/realms/master/users/$id/logout" 204
refresh=''
sign_in
echo "the administrator has the password of the secret store, and no session of before"
"""
