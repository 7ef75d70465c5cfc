"""A cluster that answers as no API server does: which one it was, what it said, and the exit code."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml

from tests.cli.program import ROOT, wecityctl

CITY = ROOT / "tests" / "spec" / "valid" / "adopted-cluster.yaml"


class Page(BaseHTTPRequestHandler):
    """Somebody's page instead of an answer."""

    def do_GET(self) -> None:
        body = b"<html>\n<body>nope</body>\n</html>"
        self.send_response(404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: the test's own output is enough."""


@pytest.fixture
def server() -> Iterator[str]:
    served = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{served.server_port}"
    finally:
        served.shutdown()
        thread.join()
        served.server_close()


def kubeconfig(directory: Path, server: str) -> Path:
    path = directory / "kubeconfig"
    entry = {"name": "prod"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [entry | {"cluster": {"server": server}}],
        "users": [entry | {"user": {}}],
        "contexts": [entry | {"context": {"cluster": "prod", "user": "prod"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.mark.slow
def test_preview_names_cloud_server_and_status_and_says_what_to_do(tmp_path: Path, server: str) -> None:
    config = kubeconfig(tmp_path, server)
    done = wecityctl("preview", CITY, home=tmp_path, KUBECONFIG=str(config))
    assert done.returncode == 4
    assert f"error: cloud main: {server} answered with HTTP status 404\n" in done.stderr
    assert "GET /version answered: <html> <body>nope</body> </html>\n" in done.stderr
    assert "→ check the server's URL, and any proxy on the way\n" in done.stderr


def test_status_shows_the_state_and_ends_as_clouds_does(tmp_path: Path, server: str) -> None:
    config = str(kubeconfig(tmp_path, server))
    done = wecityctl("status", CITY, home=tmp_path, KUBECONFIG=config)
    assert "testcity.base.main" in done.stdout
    assert f"cloud main: {server} answered with HTTP status 404\n" in done.stderr
    assert done.returncode == wecityctl("clouds", CITY, home=tmp_path, KUBECONFIG=config).returncode == 4
    done = wecityctl("status", CITY, "-o", "json", home=tmp_path, KUBECONFIG=config)
    assert (list(json.loads(done.stdout)["unreachable"]), done.returncode) == (["main"], 4)


@pytest.mark.slow
def test_a_cluster_that_says_nothing_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = kubeconfig(tmp_path, f"http://127.0.0.1:{silent.getsockname()[1]}")
        done = wecityctl("preview", CITY, "--timeout", "2s", home=tmp_path, KUBECONFIG=str(config))
    assert done.returncode == 9, done
    assert "error: the run was not done after 2 s\n  it waited for the city's clouds to answer\n" in done.stderr
