"""Request headers by which a caller could claim an address or an identity, and which the gateway removes.

Each is set by a proxy, CDN, load balancer or sign-in gateway that is known to overwrite it, and believed by what runs
behind it. In front of this gateway there is none of them. nginx can either pass on no header but listed ones, which
would remove headers that apps define themselves, or remove listed ones; it cannot remove headers by a pattern. So each
is listed here by name. Names with an underscore, which some servers treat like a hyphen, are dropped altogether.
"""

from __future__ import annotations


def _with(prefix: str, *names: str) -> tuple[str, ...]:
    return tuple(f"{prefix}-{name}" for name in names)


# Source of each group: the documentation of the product that sets them.
_ADDRESSES = (
    # RFC 7239, and de-facto standards.
    *("Forwarded", "Forwarded-For", "Forwarded-For-Ip", "X-Forwarded", "X-Original-Forwarded-For"),
    *_with("X-Forwarded", "By", "Client-Cert", "Client-Ip", "Client-Port", "Path", "Port", "Prefix", "Protocol"),
    *_with("X-Forwarded", "Scheme", "Server", "Ssl", "Uri", "Proto-Version", "Method", "Context", "Context-Path"),
    *("X-Original-Host", "X-Original-Url", "X-Original-Uri", "X-Original-Method", "X-Original-Remote-Addr"),
    *("X-Rewrite-Url", "X-Host", "X-Scheme", "X-Url-Scheme", "Front-End-Https", "X-Http-Host-Override"),
    *("Client-Ip", "X-Client", "X-Client-Ip", "X-Client-Port", "X-Remote-Addr", "X-Remote-Ip", "Remote-Addr"),
    *("X-Originating-Ip", "X-Real-Port", "Real-Ip", "X-Cluster-Client-Ip", "X-Proxyuser-Ip", "X-Source-Ip"),
    *("X-True-Client-Ip", "X-Custom-Ip-Authorization", "Proxy", "Proxy-Host", "Source-Ip", "Client-Address"),
    # WebLogic and its plug-ins for web servers.
    *("Proxy-Client-Ip", "WL-Proxy-Client-Ip", "WL-Proxy-Ssl", "WL-Proxy-Client-Port"),
    *_with("WL-Proxy-Client", "Cert", "Keysize", "Secretkeysize"),
    # Akamai, Cloudflare, Fastly, Fly.io, Azure, App Engine, CloudFront, Incapsula, Netlify, Vercel, DigitalOcean.
    *("True-Client-Ip", "Cf-Connecting-Ip", "Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Cf-Visitor"),
    *("Fastly-Client-Ip", "Fastly-Client", "Fastly-Ssl", "Fly-Client-Ip", "Fly-Forwarded-Proto"),
    *("Fly-Forwarded-Port", "Fly-Forwarded-Ssl", "X-Azure-ClientIp", "X-Azure-SocketIp", "X-Azure-Fdid"),
    *("X-Appengine-User-Ip", "X-Appengine-Remote-Addr", "X-Google-Real-Ip", "CloudFront-Viewer-Address"),
    *("CloudFront-Forwarded-Proto", "Incap-Client-Ip", "X-Nf-Client-Connection-Ip", "X-Vercel-Forwarded-For"),
    *("X-Vercel-Proxied-For", "Do-Connecting-Ip", "X-Arr-Ssl", "X-Arr-ClientCert"),
    # Alibaba Cloud, Tencent Cloud, Huawei Cloud, Baidu, Wangsu, Qiniu.
    *("Ali-Cdn-Real-Ip", "Ali-Cdn-Real-Port", "X-Client-Scheme", "X-True-Ip"),
    *("Tencent-Acceleration-Domain-Name", "Eo-Connecting-Ip", "Eo-Client-Ip", "X-Hwwaf-Real-Ip"),
    *("X-Bfe-Ip", "Clientip", "X-Bd-Client-Ip", "Cdn-Src-Ip", "Cdn-Real-Ip", "X-Cdn-Src-Ip", "X-Qiniu-Client-Ip"),
    # Envoy and Istio.
    *_with("X-Envoy", "External-Address", "Internal", "Original-Path", "Original-Dst-Host", "Peer-Metadata"),
    *("X-Envoy-Peer-Metadata-Id", "X-Envoy-Downstream-Service-Cluster", "X-Envoy-Downstream-Service-Node"),
)
_IDENTITIES = (
    # Authelia, Apache and others behind which a user is given as by CGI.
    *_with("Remote", "User", "Name", "Email", "Groups", "Roles", "Ident"),
    *_with("X-Remote", "User", "User-Id", "Uid", "Email", "Group", "Groups", "Name", "Roles", "Extra"),
    # oauth2-proxy and Traefik's forward authentication.
    *_with("X-Forwarded", "User", "Email", "Groups", "Preferred-Username", "Access-Token", "Id-Token", "Login"),
    *_with("X-Forwarded", "Roles", "Name", "Remote-User", "Userid", "Tls-Client-Cert", "Tls-Client-Cert-Info"),
    *_with("X-Auth-Request", "User", "Email", "Groups", "Preferred-Username", "Access-Token", "Id-Token"),
    *_with("X-Auth", "User", "Email", "Username", "Name", "Groups", "Roles", "Subject", "Userid"),
    *_with("X-Auth", "Given-Name", "Family-Name", "ExpiresIn", "Audience"),
    *("X-Authenticated-User", "X-Authenticated-Userid", "X-Authenticated-Groups", "X-Authenticated-Scope"),
    *("X-Authenticated-Email", "X-Authenticated-Username"),
    *("X-User", "X-User-Id", "X-User-Name", "X-User-Email", "X-User-Roles", "X-User-Groups", "X-Username", "X-Userid"),
    *("X-Email", "X-Groups", "X-Roles", "X-Userinfo", "X-Introspection"),
    # Grafana's and others' proxy sign-in, authentik, Pomerium, Vouch.
    *_with("X-Webauth", "User", "Email", "Name", "Role", "Groups", "Orgs", "Login"),
    *_with("X-Authentik", "Username", "Groups", "Email", "Name", "Uid", "Jwt", "Entitlements"),
    *_with("X-Authentik-Meta", "Jwks", "Outpost", "Provider", "App", "Version"),
    *_with("X-Pomerium", "Jwt-Assertion", "Claim-Email", "Claim-Groups", "Claim-User", "Claim-Name", "Claim-Sub"),
    *_with("X-Vouch", "User", "Token", "Success", "Idp-Idtoken", "Idp-Accesstoken"),
    # Load balancers of AWS, Google Cloud and Azure, and their API gateways.
    *_with("X-Amzn-Oidc", "Accesstoken", "Identity", "Data"),
    *_with("X-Amzn-Mtls-Clientcert", "Serial-Number", "Issuer", "Subject", "Validity", "Leaf"),
    *("X-Amzn-Mtls-Clientcert", "X-Amzn-Apigateway-Api-Id"),
    *_with("X-Goog-Authenticated-User", "Email", "Id"),
    *("X-Goog-Iap-Jwt-Assertion", "X-Endpoint-Api-Userinfo", "X-Apigateway-Api-Userinfo"),
    *_with("X-Appengine-User", "Email", "Id", "Nickname", "Is-Admin", "Organization"),
    *("X-Appengine-Auth-Domain", "X-Appengine-Inbound-Appid", "X-Appengine-Cron", "X-Appengine-Taskname"),
    *("X-MS-Client-Principal", *_with("X-MS-Client-Principal", "Id", "Name", "Idp")),
    *(
        f"X-MS-Token-{provider}-{name}"
        for provider in ("Aad", "Google", "Facebook", "Twitter", "Microsoftaccount", "Github")
        for name in ("Access-Token", "Id-Token", "Refresh-Token", "Expires-On")
    ),
    # Tailscale, Cloudflare Access, Teleport, Kong, Tyk, APISIX.
    *_with("Tailscale-User", "Login", "Name", "Profile-Pic"),
    *("Tailscale-Headers-Info", "Tailscale-App-Capabilities"),
    *("Cf-Access-Authenticated-User-Email", "Cf-Access-Jwt-Assertion", "Cf-Access-Client-Id", "Teleport-Jwt-Assertion"),
    *_with("X-Consumer", "Id", "Username", "Custom-Id", "Groups"),
    *("X-Credential-Identifier", "X-Credential-Username", "X-Anonymous-Consumer", "X-Credential-Key"),
    # SiteMinder, Oracle Access Manager, IBM Security Access Manager, Shibboleth, CAS, F5, NetScaler.
    *("Sm-User", "Sm-Userdn", "Sm-Universalid", "Smuser", "Sm-Authtype", "Sm-Serversessionid"),
    *("Oam-Remote-User", "Oam-Identity-Domain", "Oam-Remote-User-Groups", "Osso-User-Dn", "Osso-User-Guid"),
    *("Iv-User", "Iv-User-L", "Iv-Groups", "Iv-Creds", "Iv-Remote-Address", "Iv-Server-Name"),
    *("Eppn", "Shib-Session-Id", "Shib-Identity-Provider", "Persistent-Id", "Cas-User", "Auth-User", "Authuser"),
    # Client certificates: RFC 9440, nginx, HAProxy, Envoy, Apache.
    *("Client-Cert", "Client-Cert-Chain", "X-Client-Cert", "X-Client-Cert-Dn", "X-Client-Certificate"),
    *("X-Client-Dn", "X-Client-Verify", "X-Client-Cn", "X-Client-S-Dn", "X-Client-Subject", "X-Client-Issuer"),
    *("X-Ssl-Cert", "X-Ssl", "X-Ssl-Client", "X-Forwarded-Ssl-Client-Cert"),
    *_with("X-Ssl-Client", "Cert", "Dn", "S-Dn", "I-Dn", "Cn", "Verify", "Sha1", "Serial", "Issuer", "Notbefore"),
    *_with("X-Ssl", "Issuer", "Subject", "Client-Notafter", "Client-Fingerprint"),
    *_with("Ssl-Client", "Cert", "Subject-Dn", "Issuer-Dn", "Verify", "S-Dn", "I-Dn", "Serial"),
    *("X-Tls-Client-Cert", "X-Tls-Client-Subject", "X-Certificate-Sha1", "X-Spiffe-Id"),
    # Dapr, Ory Oathkeeper, and a request that acts for another user.
    *("X-Dapr-Caller", "X-Session-User", "X-Impersonate-User", "Impersonate-User", "Impersonate-Group"),
    *("X-Jwt-Payload", "X-Jwt-Assertion", "X-Jwt-Claim-Sub"),
)
# Case makes no difference.
CLAIMED_HEADERS = tuple({name.lower(): name for name in (*_ADDRESSES, *_IDENTITIES)}.values())
