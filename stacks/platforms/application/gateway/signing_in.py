"""Renders what the gateway does for routes at which people sign in, as nginx configuration.

The sign-in service is asked about each request by a subrequest without body and headers but the cookies; a request
itself never passes it. It gets at a person's way through sign-in by fixed paths, with those parameters alone that the
identity server adds. What the service says of a person reaches the app in headers that the gateway sets for all routes
(`claims`), empty where nobody is signed in.
"""

from __future__ import annotations

import html

from stacks.platforms.application.gateway.claims import CLAIMS_OF
from stacks.platforms.application.gateway.upstreams import known_by
from stacks.platforms.entry_interface import SignInService
from stacks.platforms.sign_in_interface import CHECK, CLAIMS, client_name, cookie_name, own_path
from wecityctl.model.outputs import RouteTarget

# Longer places to return to do not fit into a cookie.
_LONGEST = 1500

# A browser that goes to a page is led to sign in; programs and what pages load get 401. A page of another site does not
# sign anybody out.
_MAPS = f"""map "$request_method:$http_sec_fetch_mode:$http_upgrade" $goes_there {{
  default 0;
  "~^(GET|HEAD):(navigate)?:$" 1;
}}
map $request_uri $back_to {{ default "?$request_uri"; "~^.{{{_LONGEST}}}" ''; }}
map $http_sec_fetch_site $may_leave {{ default 1; cross-site 0; }}
"""
_OWN_HEADERS = """    add_header Cache-Control no-store always;
    add_header Strict-Transport-Security $strict_transport always;
"""
_SIGNED_OUT = (
    "<!doctype html><meta charset=utf-8><title>signed out · 已退出登录</title>"
    "<p>You are signed out.<p>您已退出登录。<p><a href={path}>{app}</a>"
)


def maps() -> str:
    """Variables of block http that all such routes share."""
    return _MAPS


def asked(route: RouteTarget) -> str:
    """The lines of a route's location by which each request is asked about, before it is passed on."""
    taken = "".join(
        f"    auth_request_set {variable} $upstream_http_{variable.removeprefix('$')};\n"
        for variable in CLAIMS_OF.values()
    )
    leads = f"    error_page 401 = @sign-in-{route.app};\n" if route.sign_in == "required" else ""
    return f"    auth_request {own_path(route.app, 'asked')};\n{taken}{leads}"


def ways(route: RouteTarget, service: SignInService) -> str:
    """The locations of a routed app, beside its own, by which people sign in and out."""
    app, login = route.app, own_path(route.app, "login")
    nobody = "return 401;" if route.sign_in == "required" else "return 204;"
    check = CHECK if route.sign_in == "required" else CLAIMS
    leads = f"""  location @sign-in-{app} {{
    absolute_redirect off;
{_OWN_HEADERS}    if ($goes_there = 0) {{ return 401 "sign in at {login}\\n"; }}
    return 302 {login}$back_to;
  }}
"""
    page = _SIGNED_OUT.format(path=html.escape(route.path), app=html.escape(app))
    return f"""  location = {own_path(app, "asked")} {{
    internal;
    if ($http_cookie !~ "(^|;) ?{cookie_name(route)}=") {{ {nobody} }}
{_passed(route, service, check)}  }}
  location = {login} {{
{_passed(route, service, f"{login}$is_args$args")}  }}
  location = {own_path(app, "callback")} {{
    set $answered "code=$arg_code&state=$arg_state";
    if ($arg_error) {{ set $answered "error=$arg_error&state=$arg_state"; }}
{_passed(route, service, f"{own_path(app, 'callback')}?$answered")}  }}
  location = {own_path(app, "logout")} {{
    if ($may_leave = 0) {{ return 403; }}
{_passed(route, service, f"{own_path(app, 'callback')}?logout=")}  }}
  location = {own_path(app, "signed-out")} {{
    default_type 'text/html; charset=utf-8';
{_OWN_HEADERS}    return 200 '{page}';
  }}
{leads if route.sign_in == "required" else ""}"""


def _passed(route: RouteTarget, service: SignInService, target: str) -> str:
    """Ask the service for `target` as a GET without a body; `Host` names the client.

    The length of the caller's body has to be taken out by name: the service would wait for it, or take what comes next
    on the connection for it.
    """
    return f"""    set $sign_in {service.host};
    proxy_pass https://$sign_in:{service.port}{target};
    proxy_method GET;
    proxy_pass_request_body off;
    proxy_pass_request_headers off;
    proxy_set_header Host {client_name(route)};
    proxy_set_header Cookie $http_cookie;
    proxy_set_header User-Agent $http_user_agent;
    proxy_set_header Accept text/html;
    proxy_set_header Content-Length '';
    proxy_set_header Transfer-Encoding '';
    proxy_set_header Connection '';
    proxy_buffer_size 16k;
    proxy_buffers 8 16k;
    proxy_read_timeout 20s;
{known_by(service.name)}"""


def pages(service: SignInService) -> str:
    """The locations of the host of the identity server's pages: those of the city's realm, and nothing else of it."""
    return "  location / { return 404; }\n" + "".join(
        f"""  location ^~ {path} {{
    set $people {service.people_host};
    proxy_pass https://$people:{service.people_port};
    proxy_set_header Host $host;
    proxy_set_header Connection '';
    proxy_set_header Upgrade '';
    proxy_set_header Cookie $http_cookie;
    proxy_buffer_size 16k;
    proxy_buffers 8 16k;
    client_max_body_size 64k;
{known_by(service.people_name)}  }}
"""
        for path in service.people_paths
    )
