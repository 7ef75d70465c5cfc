"""Renders limits as nginx configuration: of a client's requests to a route, of a body, and of one tenant's share.

Each pod counts by itself, in memory that its workers share. Who the client is, is nginx's `$remote_addr`: the peer, or
what a trusted proxy says (`trusted`).
"""

from __future__ import annotations

from collections.abc import Sequence

from stacks.platforms.application.gateway.counting import APP
from stacks.platforms.application.gateway.program import WORKER_CONNECTIONS, WORKERS
from wecityctl.model.outputs import RouteTarget

# A request that is passed on takes two connections. One tenant's requests under way take half of them at the most, so
# that a slow app leaves room for the apps of others.
TENANT_SHARE = WORKERS * WORKER_CONNECTIONS // 2 // 2
# KiB of memory for the clients of all routes together, and of one route; nginx takes no less than 32. Some 12,000
# clients fit into 1 MiB; where there are more, those who were away longest are forgotten.
_MEMORY, _MOST, _LEAST = 16 * 1024, 1024, 32

# A person has a whole network of IPv6 (RFC 6177), which counts as one client. An IPv4 address that a proxy writes as an
# IPv6 one is itself. The app that a request is for is set by its route before requests are counted.
_SHARED = rf"""map $binary_remote_addr $limited_client {{
  default $binary_remote_addr;
  "~(?s)^\x00{{10}}\xff\xff(?<mapped_client>.{{4}})$" $mapped_client;
  "~(?s)^(?<client_network>.{{8}}).{{8}}$" $client_network;
}}
map {APP} $limited_tenant {{ default ''; "~^(?<owning_tenant>[^/]+)/" $owning_tenant; }}
map "$limit_req_status $limit_conn_status" $retry_after {{ default ''; ~REJECTED 1; }}
limit_conn_zone $limited_tenant zone=tenants:1m;
limit_conn tenants {TENANT_SHARE};
limit_conn_status 503;
limit_conn_log_level info;
limit_req_status 429;
limit_req_log_level info;
add_header Retry-After $retry_after always;
"""

_TOO_MANY = (
    "<!doctype html><meta charset=utf-8><title>too many requests · 请求过于频繁</title>"
    "<p>Too many requests. Please try again in a moment.<p>请求过于频繁，请稍后再试。"
)
TOO_MANY = f"""  location @too-many {{
    default_type 'text/html; charset=utf-8';
    return 429 '{_TOO_MANY}';
  }}
"""


def trusted(proxies: Sequence[str]) -> str:
    """The lines by which these ranges' `X-Forwarded-For` says who the client is, and nobody else's.

    Of its addresses it is the last that is none of a trusted proxy: what is before it, the client may have written.
    """
    if not proxies:
        return ""
    ranges = "".join(f"set_real_ip_from {proxy};\n" for proxy in proxies)
    return f"real_ip_header X-Forwarded-For;\nreal_ip_recursive on;\n{ranges}"


def shared(routes: Sequence[RouteTarget]) -> str:
    """The parts of block http: the tenants' shares, and the memory for counting the clients of each limited route."""
    limited = [route for route in routes if is_limited(route)]
    size = max(_LEAST, min(_MOST, _MEMORY // max(1, len(limited))))
    zones = (
        f"limit_req_zone $limited_client zone={_zone(route)}:{size}k rate={route.limits.requests_per_second}r/s;\n"
        for route in limited
    )
    return _SHARED + "".join(zones)


def is_limited(route: RouteTarget) -> bool:
    """Whether the route limits how many requests a client sends."""
    return bool(route.limits.requests_per_second) and not route.is_suspended


def of(route: RouteTarget) -> str:
    """The lines of a route's location."""
    lines = ""
    if is_limited(route):
        burst = f" burst={route.limits.burst} nodelay" if route.limits.burst else ""
        lines += f"    limit_req zone={_zone(route)}{burst};\n    error_page 429 @too-many;\n"
    if route.limits.request_bytes:
        lines += f"    client_max_body_size {route.limits.request_bytes};\n"
    return lines


def _zone(route: RouteTarget) -> str:
    # An app has one route, and keeps what is counted when another route is added.
    return f"{route.tenant}/{route.app}"
