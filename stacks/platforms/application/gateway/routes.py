"""Renders an entry point's routes as nginx configuration: a server per host, and the index page of the city's domain.

Configuration that all routes share, such as headers and logs, is in `program`. `INTERFACE` is for the entry stack.
"""

from __future__ import annotations

import html
from collections.abc import Sequence

from stacks.platforms.application.gateway import limits, signing_in
from stacks.platforms.application.gateway.counting import APP as COUNTED_APP
from stacks.platforms.application.gateway.program import APPS_AUTHORITY, TLS, USER, routes_config_map, tls_secret
from stacks.platforms.application.gateway.upstreams import known_by
from stacks.platforms.entry_interface import EntryInterface, SignInService
from wecityctl.model.outputs import RouteTarget

# nginx accepts parameters of at most 4096 bytes. Source: NGX_CONF_BUFFER.
_NGINX_TEXT = 3500

# 497 is nginx's status for plain HTTP on a TLS port; it is redirected to HTTPS on the same port, which only the caller
# knows: nginx itself is behind a node port. Of the header Host nothing else is repeated. Ciphers: those of
# TLS 1.2 with forward secrecy and authenticated encryption (RFC 9325, section 4.2).
_ENCRYPTED = f"""ssl_certificate {TLS}/tls.crt;
ssl_certificate_key {TLS}/tls.key;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_ciphers ECDHE+AESGCM:ECDHE+CHACHA20;
ssl_prefer_server_ciphers off;
ssl_session_cache shared:tls:4m;
ssl_session_tickets off;
map $http_host $asked_port {{ default ''; "~^[^:@]+(?<after_name>:[0-9]{{1,5}})$" $after_name; }}
error_page 497 =308 https://$server_name$asked_port$request_uri;
map $https $strict_transport {{ default ''; on 'max-age=31536000'; }}
add_header Strict-Transport-Security $strict_transport always;
proxy_hide_header Strict-Transport-Security;
"""

_SUSPENDED = (
    "<!doctype html><meta charset=utf-8><title>{app}: suspended · 暂停服务</title><h1>{app}</h1>"
    "<p>This service is suspended.<p>该服务已暂停。"
)


def render_routes(
    domain: str,
    city: str,
    routes: Sequence[RouteTarget],
    *,
    tls: bool = False,
    sign_in: SignInService | None = None,
    trusted_proxies: Sequence[str] = (),
) -> str:
    """The nginx servers of one entry point; with `sign_in`, also the host of the pages where people sign in.

    `trusted_proxies` are the ranges whose `X-Forwarded-For` says who the client is. Names are resolved per request, so
    that a missing Service breaks only its own route.
    """
    listen = "listen 8080 ssl;" if tls else "listen 8080;"
    blocks = [limits.trusted(trusted_proxies), limits.shared(routes), _ENCRYPTED if tls else ""]
    blocks.append(_server(domain, listen, _index(city, routes)))
    if sign_in is not None:
        blocks += [signing_in.maps(), _server(sign_in.public_host, listen, signing_in.pages(sign_in))]
    blocks += [_split(route, number) for number, route in enumerate(routes) if route.canary is not None]
    for host in sorted({route.host for route in routes}):
        own = [(number, route) for number, route in enumerate(routes) if route.host == host]
        locations = "".join(_locations(route, number) for number, route in own)
        if any(limits.is_limited(route) for _, route in own):
            locations += limits.TOO_MANY
        if sign_in is not None:
            locations += "".join(signing_in.ways(route, sign_in) for _, route in own if route.sign_in)
        blocks.append(_server(host, listen, locations))
    return "".join(blocks)


def _server(name: str, listen: str, content: str) -> str:
    # A request whose Host differs from the TLS server name is rejected (RFC 9110, section 15.5.20).
    return f"server {{\n  {listen}\n  server_name {name};\n  if ($astray) {{ return 421; }}\n{content}}}\n"


def _locations(route: RouteTarget, number: int) -> str:
    """The location of the route's path and everything below it, but not of paths that merely share the prefix."""
    body = _suspended(route) if route.is_suspended else _proxied(route, number)
    path = route.path.rstrip("/")
    return f"  location = {path} {body}  location ^~ {path}/ {body}" if path else f"  location / {body}"


def _suspended(route: RouteTarget) -> str:
    """The page that says that the app is suspended. Caches do not keep answers of this status by themselves."""
    page = _SUSPENDED.format(app=html.escape(route.app))
    return f"{{\n    default_type 'text/html; charset=utf-8';\n    return 503 '{page}';\n  }}\n"


def _split(route: RouteTarget, number: int) -> str:
    """The variable with the address that a request goes to: each one is dealt out by its own random identifier."""
    assert route.canary is not None
    stable, canary = _inside(route, route.service), _inside(route, route.canary.service)
    return (
        f"split_clients $request_id $backend_{number} {{\n"
        f"  {route.canary.weight}% {canary}:{route.canary.port};\n"
        f"  * {stable}:{route.port};\n"
        "}\n"
    )


def _inside(route: RouteTarget, service: str) -> str:
    return f"{service}.{route.namespace}.svc.cluster.local"


def _proxied(route: RouteTarget, number: int) -> str:
    upstream = route.external_host or _inside(route, route.service)
    scheme = "https" if route.tls else "http"
    there = (
        f"    proxy_pass {scheme}://$backend_{number};\n"
        if route.canary is not None
        else f"    set $upstream_{number} {upstream};\n"
        f"    proxy_pass {scheme}://$upstream_{number}:{route.external_port or route.port};\n"
    )
    whose = f"    set {COUNTED_APP} {route.tenant}/{route.app};\n"
    asked = signing_in.asked(route) if route.sign_in else ""
    known = known_by(f"{route.service}.{route.namespace}.svc") if route.tls else ""
    return "{\n" + whose + limits.of(route) + asked + there + known + "  }\n"


def _index(city: str, routes: Sequence[RouteTarget]) -> str:
    """The index page at the city's own domain, with the apps that this entry point serves."""
    items = "".join(
        f"<li><a href=//{route.host}{route.path}>{html.escape(route.app)}</a>"
        for route in routes
        if not route.is_suspended
    )
    page = f"<!doctype html><meta charset=utf-8><title>{city}</title><h1>{city}</h1><ul>{items}</ul>"
    parts = [page[start : start + _NGINX_TEXT] for start in range(0, len(page), _NGINX_TEXT)]
    answer = f"return 200 '{page}';"
    if len(parts) > 1:
        names = "".join(f"$index_{number}" for number in range(len(parts)))
        answer = "".join(f"set $index_{number} '{part}'; " for number, part in enumerate(parts))
        answer += f'return 200 "{names}";'
    return f"  default_type text/html;\n  location = / {{ {answer} }}\n"


# Requires twice as many matching answers in a row as there are gateway pods, because each pod answers some of them. The
# images have no HTTP client, but bash can open a connection.
CHECK = r"""set -u
ask() {
  exec 3<>"/dev/tcp/$HOST/$PORT" || return 1
  printf 'GET /-/routes HTTP/1.0\r\nHost: check\r\n\r\n' >&3
  timeout 2 tail -n 1 <&3
  exec 3>&-
}
seen=0
for attempt in $(seq 1 500); do
  if [ "$(ask 2> /dev/null)" = "$DIGEST" ]; then seen=$((seen + 1)); else seen=0; sleep 0.5; fi
  [ "$seen" -ge "$ANSWERS" ] && exit 0
done
echo "the gateway does not serve routes $DIGEST; see the log of its container loader" >&2
exit 1
"""

INTERFACE = EntryInterface(render_routes, CHECK, USER, APPS_AUTHORITY, routes_config_map, tls_secret)
