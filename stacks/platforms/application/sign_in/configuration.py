"""Renders the configuration of the sign-in service: a virtual host of Apache for each client.

What all clients share, such as modules and limits, is in `program`. `INTERFACE` is for the entry stack.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from stacks.platforms.application.identity.access import CITY_REALM, IDLE_SECONDS, PATH, SESSION_SECONDS
from stacks.platforms.application.identity.sign_in_clients import CLIENTS
from stacks.platforms.sign_in_interface import (
    BACK_CHANNEL,
    CHECK,
    CLAIMS,
    DIGEST,
    GROUPS,
    SUBJECT,
    USER,
    Realm,
    SignInClient,
    SignInInterface,
    client_name,
    cookie_name,
    own_path,
)
from stacks.pods import TEMPORARY

# Below /tmp, where Apache's children write. Sessions outlive a reload and a restart of the container.
SESSIONS = f"{TEMPORARY}/sessions"
PORT = 8443
# Of a signed-in person, the service refreshes a token that ends within so many seconds, which keeps the person's
# session in the realm alive, and ends its own where the realm refuses.
_REFRESH_BEFORE = 60
# Seconds for a person to sign in.
_SIGNING_IN = 900


def render_clients(clients: Sequence[SignInClient], realm: Realm) -> str:
    """The virtual hosts: the first answers the cluster's own requests, each other one is a client's, by its name."""
    return "".join((_first(clients), *(_client(client, realm) for client in clients)))


def render_without_clients() -> str:
    """What the service has until the entry stack says more."""
    return _first(())


def _first(clients: Sequence[SignInClient]) -> str:
    """Whoever names no client gets the digest, or as the identity server, leads the end of a session to its client."""
    ways = "".join(
        f'  RewriteRule "^{BACK_CHANNEL}/{re.escape(client_name(client.route))}$" '
        f'"https://127.0.0.1:{PORT}{own_path(client.route.app, "callback")}?logout=backchannel" '
        f"[P,L,E=CLIENT:{client_name(client.route)}]\n"
        for client in clients
    )
    return f"""<VirtualHost *:{PORT}>
  ServerName service
  SSLEngine on
  SSLProxyEngine on
  SSLProxyVerify none
  SSLProxyCheckPeerName off
  SSLProxyCheckPeerExpire off
  ProxyPreserveHost on
  RequestHeader set Host "%{{CLIENT}}e" env=CLIENT
  RewriteEngine on
  RewriteRule "^{DIGEST}$" "-" [L]
{ways}  RewriteRule "^" "-" [R=404,L]
  Alias "{DIGEST}" "/tmp/digest"
  <Location "{DIGEST}">
    Require all granted
  </Location>
  <Location "{BACK_CHANNEL}">
    Require all granted
  </Location>
</VirtualHost>
"""


def _client(client: SignInClient, realm: Realm) -> str:
    route, name = client.route, client_name(client.route)
    callback, login = own_path(route.app, "callback"), own_path(route.app, "login")
    ways = "|".join((CHECK, CLAIMS, callback, login))
    host = client.origin.partition("://")[2]
    return f"""<VirtualHost *:{PORT}>
  ServerName {name}
  SSLEngine on
  # What a person sees: nothing of it comes from a request.
  RequestHeader set X-Forwarded-Proto https early
  RequestHeader set X-Forwarded-Host {host} early
  RequestHeader set X-Forwarded-Port {host.partition(":")[2] or "443"} early
  OIDCXForwardedHeaders X-Forwarded-Proto X-Forwarded-Host X-Forwarded-Port
  OIDCProviderIssuer {realm.public}
  OIDCProviderAuthorizationEndpoint {realm.public}/protocol/openid-connect/auth
  OIDCProviderEndSessionEndpoint {realm.public}/protocol/openid-connect/logout
  OIDCProviderTokenEndpoint {realm.inside}/protocol/openid-connect/token
  OIDCProviderTokenEndpointAuth client_secret_basic
  OIDCProviderJwksUri {realm.inside}/protocol/openid-connect/certs
  OIDCProviderBackChannelLogoutSupported On
  OIDCCABundlePath {realm.authority}
  OIDCClientID {name}
  OIDCClientSecret {client.secret}
  OIDCCryptoPassphrase {client.cookies}
  OIDCRedirectURI {client.origin}{callback}
  OIDCDefaultLoggedOutURL {client.origin}{own_path(route.app, "signed-out")}
  OIDCDefaultURL {client.origin}{route.path}
  OIDCResponseType code
  OIDCPKCEMethod S256
  OIDCScope openid
  OIDCIDTokenSignedResponseAlg RS256
  OIDCCookie {cookie_name(route)}
  OIDCStateCookiePrefix {cookie_name(route)}_state_
  OIDCCookieSameSite On
  OIDCStateTimeout {_SIGNING_IN}
  OIDCStateMaxNumberOfCookies 7 true
  OIDCStateInputHeaders user-agent
  OIDCSessionType server-cache
  OIDCSessionInactivityTimeout {IDLE_SECONDS}
  OIDCSessionMaxDuration {SESSION_SECONDS}
  OIDCCacheType file
  OIDCCacheDir {SESSIONS}
  OIDCCacheEncrypt On
  OIDCCacheFileCleanInterval 60
  OIDCRemoteUserClaim sub
  OIDCPassClaimsAs environment
  OIDCClaimDelimiter {_delimiter(client)}
  RewriteEngine on
  RewriteRule "^({ways})$" "-" [L]
  RewriteRule "^" "-" [R=404,L]
  <Location "/">
    AuthType openid-connect
    Require valid-user
    OIDCRefreshAccessTokenBeforeExpiry {_REFRESH_BEFORE} logout_on_error
  </Location>
  <Location "{login}">
    RewriteEngine on
    # The place to return to is behind the client's own origin, whatever it says.
    RewriteCond %{{QUERY_STRING}} "^(/.*)$"
    RewriteRule "^" "{client.origin}%1" [R=302,L,NE,QSD,UnsafeAllow3F]
    RewriteRule "^" "{client.origin}{route.path}" [R=302,L,QSD]
  </Location>
  <Location "{CHECK}">
    OIDCUnAuthAction 401
  </Location>
  <Location "{CLAIMS}">
    OIDCUnAuthAction pass
  </Location>
  <LocationMatch "^({CHECK}|{CLAIMS})$">
    RewriteEngine on
    RewriteRule "^" "-" [R=204,L]
{_claims(client)}  </LocationMatch>
</VirtualHost>
"""


def _claims(client: SignInClient) -> str:
    """The verified claims as headers of the answer. Values are encoded as parts of a URL; commas separate groups.

    Of groups, only the tenant's own are told: `/<tenant>` and what is below it. No pattern of `edit*` may match an
    empty text: Apache would look for the next match at the same place, for ever.
    """
    between, tenant = _delimiter(client), re.escape(client.route.tenant)
    signed_in = "\"expr=-n env('OIDC_CLAIM_sub')\""
    return f"""    Header always set {SUBJECT} "expr=%{{escape:%{{env:OIDC_CLAIM_sub}}}}" {signed_in}
    Header always set {USER} "expr=%{{escape:%{{env:OIDC_CLAIM_preferred_username}}}}" {signed_in}
    Header always set {GROUPS} "expr={between}%{{escape:%{{env:OIDC_CLAIM_groups}}}}" {signed_in}
    Header always edit* {GROUPS} "," "%%2C"
    Header always edit* {GROUPS} "{between}(?!/{tenant}(?:/|{between}|$))(?:(?!{between}).)*" ""
    Header always edit* {GROUPS} "{between}" ","
    Header always edit {GROUPS} "^,+" ""
"""


def _delimiter(client: SignInClient) -> str:
    """What is between the groups of a claim: nobody can put it into a group's name, as nobody knows it."""
    return f"between{hashlib.sha256(f'delimiter {client.cookies}'.encode()).hexdigest()[:24]}"


def clients_secret(capability: str) -> str:
    """The name of the Secret in which the entry stack puts the clients."""
    return f"{capability}-clients"


INTERFACE = SignInInterface(
    render_clients,
    clients_secret,
    CLIENTS,
    f"{PATH}/realms/{CITY_REALM}",
    (f"{PATH}/realms/{CITY_REALM}/", f"{PATH}/resources/"),
    PATH,
)
