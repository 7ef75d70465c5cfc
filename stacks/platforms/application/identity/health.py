"""The end-to-end probe of Keycloak: a sign-in by which a client gets a token, and a read with it.

Its environment has HOST, PORT, ADMIN_PASSWORD and what the provisioner's `connecting` gives. Sign-in and read go
through the database. The session ends with the script.
"""

from __future__ import annotations

from stacks.platforms.application.identity.access import FUNCTIONS

PROBE = f"""{FUNCTIONS}
sign_in
call GET admin/realms/master/keys 200
grep -q '"status":"ACTIVE"' answer
"""
