"""Looks at the network from inside a pod: `python3 -m sample_app.check tcp|http|postgresql|cache|pause …`.

One JSON line on stdout; exit code 0 when it worked, 1 when it did not, 2 for a wrong command line.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
import time
import urllib.request
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlsplit

from sample_app import cache, database
from sample_app.bindings import Binding, first, read_bindings


def main(arguments: list[str] | None = None) -> int:
    """Run one check."""
    options = _parser().parse_args(arguments)
    started = time.monotonic()
    result: dict[str, Any] = {"check": options.check}
    try:
        result |= {"ok": True, **options.run(options)}
    except Exception as error:  # whatever a driver raises is the answer
        result |= {"ok": False, "error": type(error).__name__, "message": str(error)[:400]}
    result["seconds"] = round(time.monotonic() - started, 3)
    sys.stdout.write(json.dumps(result, ensure_ascii=False, default=str) + "\n")
    return 0 if result["ok"] else 1


def _tcp(options: argparse.Namespace) -> dict[str, Any]:
    with socket.create_connection((options.host, options.port), options.timeout) as connection:
        return {"peer": connection.getpeername()[0]}


def _http(options: argparse.Namespace) -> dict[str, Any]:
    if urlsplit(options.url).scheme not in ("http", "https"):
        raise ValueError("only http and https are looked at")
    try:
        with urllib.request.urlopen(options.url, timeout=options.timeout) as response:  # noqa: S310 - checked above
            return {"status": response.status, "body": response.read(2000).decode(errors="replace")}
    except HTTPError as error:
        return {"status": error.code, "body": error.read(2000).decode(errors="replace")}


def _postgresql(options: argparse.Namespace) -> dict[str, Any]:
    connection = database.connect(_binding(options, database.TYPES), options.timeout)
    try:
        return {"rows": connection.run(options.query)}
    finally:
        connection.close()


def _cache(options: argparse.Namespace) -> dict[str, Any]:
    client = cache.connect(_binding(options, cache.TYPES), options.timeout)
    return {"answer": client.execute_command(*(options.command or ["PING"]))}


def _pause(options: argparse.Namespace) -> dict[str, Any]:
    time.sleep(options.seconds)
    return {}


def _binding(options: argparse.Namespace, types: tuple[str, ...]) -> Binding:
    """The binding named, or the first of its type, with what the command line says instead."""
    bindings = read_bindings(os.environ.get("SERVICE_BINDING_ROOT", ""))
    if options.binding:
        found = next((item for item in bindings if item.name == options.binding), None)
        if found is None:
            raise LookupError(f"there is no binding called {options.binding}")
    else:
        found = first(bindings, *types) or Binding("", types[0], {})
    given = {name: getattr(options, name) for name in ("uri", "host", "port", "username", "password", "database")}
    changes = {name: str(value) for name, value in given.items() if value is not None}
    kept = {} if "uri" in changes else found.entries
    # Another server than the binding's is checked with the same authority.
    authority = "" if options.plain else found.entries.get("ca.crt", "")
    return Binding(found.name, found.type, {**kept, "ca.crt": authority, **changes})


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sample_app.check", description=__doc__)
    parser.add_argument("--timeout", type=float, default=3.0, help="seconds")
    checks = parser.add_subparsers(dest="check", required=True)
    tcp = checks.add_parser("tcp", help="open a connection")
    tcp.add_argument("host")
    tcp.add_argument("port", type=int)
    tcp.set_defaults(run=_tcp)
    http = checks.add_parser("http", help="GET an address")
    http.add_argument("url")
    http.set_defaults(run=_http)
    postgresql = checks.add_parser("postgresql", help="run a query")
    _add_service(postgresql)
    postgresql.add_argument("query", nargs="?", default="SELECT 1")
    postgresql.set_defaults(run=_postgresql)
    kept = checks.add_parser("cache", help="run a command")
    _add_service(kept)
    kept.add_argument("command", nargs="*")
    kept.set_defaults(run=_cache)
    pause = checks.add_parser("pause", help="wait, for pods that are only entered")
    pause.add_argument("seconds", type=float)
    pause.set_defaults(run=_pause)
    return parser


def _add_service(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--binding", help="name of a binding; otherwise the first of its type")
    parser.add_argument("--plain", action="store_true", help="without TLS, whatever the binding says")
    for name in ("uri", "host", "port", "username", "password", "database"):
        parser.add_argument(f"--{name}", help="instead of the binding's")


if __name__ == "__main__":
    sys.exit(main())
