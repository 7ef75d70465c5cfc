"""The clients of apps at whose routes people sign in: one for each in the city's realm, which the sign-in service uses.

An app never gets its client's secret. The script makes the clients that there have to be and removes all others of its
own, so that it may run again at any time. It runs as the administrator, with CLIENTS (a line for each: name, secret,
origin, app), TENANTS (names, each a group), PUBLIC (the address of the server for browsers, which is the issuer's
beginning), and BACK_CHANNEL (below which the service is told that a session has ended). Then it waits until the service
answers with DIGEST at SERVICE: it has loaded the same clients.
"""

from __future__ import annotations

from stacks.platforms.application.identity.access import CITY_REALM, FUNCTIONS, SESSION_SECONDS, TOKEN_SECONDS

# The attribute of a client that says that it is ours, and its name. No owner's `ACCOUNT`: it is in no inventory.
_OURS = "wecity.sign-in"

# All that a token says of a person: an identifier, the name of the account, and the groups.
_MAPPERS = (
    '{"name":"user","protocol":"openid-connect","protocolMapper":"oidc-usermodel-attribute-mapper","config":{'
    '"user.attribute":"username","claim.name":"preferred_username","jsonType.label":"String","id.token.claim":"true"}},'
    '{"name":"groups","protocol":"openid-connect","protocolMapper":"oidc-group-membership-mapper","config":{'
    '"full.path":"true","claim.name":"groups","id.token.claim":"true"}}'
)
_CLIENT = (
    '{"id":"%s","clientId":"%s","secret":"%s","enabled":true,"protocol":"openid-connect","publicClient":false,'
    '"clientAuthenticatorType":"client-secret","standardFlowEnabled":true,"directAccessGrantsEnabled":false,'
    '"implicitFlowEnabled":false,"serviceAccountsEnabled":false,"fullScopeAllowed":false,"frontchannelLogout":false,'
    '"redirectUris":["%s/-/sign-in/%s/callback"],"webOrigins":[],'
    '"defaultClientScopes":["basic"],"optionalClientScopes":[],"attributes":{"' + _OURS + '":"%s",'
    '"pkce.code.challenge.method":"S256","post.logout.redirect.uris":"%s/-/sign-in/%s/signed-out",'
    '"backchannel.logout.url":"%s/%s","backchannel.logout.session.required":"true",'
    f'"access.token.lifespan":"{TOKEN_SECONDS}","client.session.max.lifespan":"{SESSION_SECONDS}"}},'
    f'"protocolMappers":[{_MAPPERS}]}}'
)

CLIENTS = f"""{FUNCTIONS}
realm={CITY_REALM}
sign_in
# The issuer is the city's own address, by whatever address the server is asked. There are always other attributes.
call GET "admin/realms/$realm" 200
if ! grep -q -F "\\"frontendUrl\\":\\"$PUBLIC\\"" answer; then
  if grep -q '"frontendUrl":"' answer; then
    sed "s|\\"frontendUrl\\":\\"[^\\"]*\\"|\\"frontendUrl\\":\\"$PUBLIC\\"|" answer > body
  else
    sed "s|\\"attributes\\":{{|&\\"frontendUrl\\":\\"$PUBLIC\\",|" answer > body
  fi
  call PUT "admin/realms/$realm" 204
fi
for tenant in $TENANTS; do
  printf '{{"name":"%s"}}' "$tenant" > body
  call POST "admin/realms/$realm/groups" 201 409
done
printf '%s\\n' "$CLIENTS" > wanted
while read -r client secret origin app; do
  [ -n "$client" ] || continue
  id=$(id_of "{_OURS}:$client")
  : > body
  call GET "admin/realms/$realm/clients/$id" 200 404
  [ "$status" = 200 ] && method=PUT place="clients/$id" code=204 || method=POST place=clients code=201
  printf '{_CLIENT}' "$id" "$client" "$secret" "$origin" "$app" "$client" "$origin" "$app" \\
    "$BACK_CHANNEL" "$client" > body
  call "$method" "admin/realms/$realm/$place" "$code"
done < wanted
: > body
call GET "admin/realms/$realm/clients" 200
grep -o '"{_OURS}":"[^"]*"' answer | cut -d '"' -f 4 > found || :
while read -r client; do
  ! grep -q "^$client " wanted || continue
  call DELETE "admin/realms/$realm/clients/$(id_of "{_OURS}:$client")" 204 404
done < found
tries=0
until [ "$(curl $CURL "$SERVICE" 2> refused)" = "$DIGEST" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 240 ] || {{ echo "the sign-in service does not serve $DIGEST: $(cat refused)" >&2; exit 1; }}
  sleep 1
done
"""
