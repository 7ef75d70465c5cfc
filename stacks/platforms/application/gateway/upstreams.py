"""How the gateway verifies those to whom it speaks TLS."""

from __future__ import annotations

from stacks.platforms.application.gateway.program import APPS_AUTHORITY, ROUTES


def known_by(name: str) -> str:
    """Verify that the upstream server's certificate was issued by the city's CA for `name`."""
    return (
        "    proxy_ssl_verify on;\n"
        f"    proxy_ssl_trusted_certificate {ROUTES}/{APPS_AUTHORITY};\n"
        f"    proxy_ssl_name {name};\n"
        "    proxy_ssl_server_name on;\n"
        "    proxy_ssl_protocols TLSv1.2 TLSv1.3;\n"
    )
