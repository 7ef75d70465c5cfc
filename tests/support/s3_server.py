"""A real S3 server for tests: versitygw over a directory, built from its pinned Go module and kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.control_plane import free_ports
from tests.support.pki import Pair
from tests.support.processes import ENDING_WITH_PARENT
from wecityctl import filelock, paths
from wecityctl.engine.state.layout import written_by
from wecityctl.toolchain.gobuild import GO_PLACES

_MODULE = Path(__file__).with_name("versitygw")
_PACKAGE = "github.com/versity/versitygw/cmd/versitygw"
REGION = "us-east-1"
# Of whoever runs the tests, before a test has a home of its own.
_BUILT = paths.cache_dir() / "test-programs"


@dataclass(frozen=True)
class S3Server:
    """A running server: its port, the keys of its only user, and the directory with its buckets; on loopback unless
    `address` says otherwise."""

    port: int
    access: str
    secret: str
    buckets: Path
    address: str = "127.0.0.1"

    def url(self, bucket: str, prefix: str = "", port: int | None = None) -> str:
        """The state's URL for a bucket, as Pulumi takes it; through another `port` where that is given."""
        place = f"{bucket}/{prefix}" if prefix else bucket
        server = f"endpoint=127.0.0.1:{port or self.port}&disableSSL=true&s3ForcePathStyle=true"
        return f"s3://{place}?region={REGION}&{server}"

    @property
    def environment(self) -> dict[str, str]:
        """The AWS variables with which a program reaches this server and asks no metadata service."""
        return self.environment_of(self.access, self.secret)

    @staticmethod
    def environment_of(access: str, secret: str) -> dict[str, str]:
        """The same with another user's keys."""
        return {
            "AWS_ACCESS_KEY_ID": access,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def add_user(self, access: str, secret: str) -> None:
        """Make a user who may do nothing yet. The server needs `iam`."""
        address = f"http://127.0.0.1:{self.port}"
        admin = ("admin", "--access", self.access, "--secret", self.secret, "--endpoint-url", address)
        new = ("create-user", "--access", access, "--secret", secret, "--role", "user")
        done = subprocess.run([str(program()), *admin, *new], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr

    def put_policy(self, bucket: str, policy: Mapping[str, Any]) -> None:
        """Set a bucket's policy."""
        self._put(bucket, "policy=", json.dumps(policy).encode())

    def make_bucket(self, bucket: str) -> None:
        """Make a bucket with an access control list, which one that is a mere directory lacks."""
        self._put(bucket, "", b"")

    def _put(self, bucket: str, query: str, body: bytes) -> None:
        """A PUT, signed as AWS Signature Version 4 says; no client here has these calls."""
        host = f"127.0.0.1:{self.port}"
        now = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        signed = {"host": host, "x-amz-content-sha256": hashlib.sha256(body).hexdigest(), "x-amz-date": now}
        names = ";".join(signed)
        headers = "".join(f"{name}:{value}\n" for name, value in signed.items())
        request = f"PUT\n/{bucket}\n{query}\n{headers}\n{names}\n{signed['x-amz-content-sha256']}"
        scope = f"{now[:8]}/{REGION}/s3/aws4_request"
        text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
        key = f"AWS4{self.secret}".encode()
        for part in (*scope.split("/"), text):
            key = hmac.new(key, part.encode(), hashlib.sha256).digest()
        signature = f"SignedHeaders={names}, Signature={key.hex()}"
        signed["authorization"] = f"AWS4-HMAC-SHA256 Credential={self.access}/{scope}, {signature}"
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("PUT", f"/{bucket}?{query}".rstrip("?"), body, signed)
            answer = connection.getresponse()
            assert answer.status in (200, 204), answer.read()


def program() -> Path:
    """The server's program, built once for its go.mod; skips the test where there is no Go."""
    pins = (_MODULE / "go.mod").read_bytes() + (_MODULE / "go.sum").read_bytes()
    directory = _BUILT / hashlib.sha256(pins).hexdigest()[:16]
    built = directory / "versitygw"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        filelock.hold(lock.fileno(), seconds=filelock.BUILD_SECONDS, what="building versitygw")
        if not built.exists():
            _build(built)
    return built


def _build(target: Path) -> None:
    go = shutil.which("go", path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, GO_PLACES)]))
    if go is None:
        pytest.skip("the S3 server of the tests is built with Go, and there is no go here")
    with tempfile.TemporaryDirectory(dir=target.parent) as place:
        flags = ["-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags", "-s -w"]
        env = {**os.environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": ""}
        command = [go, "build", *flags, "-o", f"{place}/built", _PACKAGE]
        done = subprocess.run(command, cwd=_MODULE, env=env, capture_output=True, text=True, timeout=850)
        assert done.returncode == 0, done.stderr[-2000:]
        Path(place, "built").rename(target)


@contextlib.contextmanager
def s3_server(
    directory: Path, *buckets: str, iam: bool = False, node: tuple[int, str] | None = None, tls: Pair | None = None
) -> Iterator[S3Server]:
    """A server over `directory` with empty `buckets`, and other users than its root with `iam`. The file system needs
    extended attributes.

    `node` is the first process of an embedded cloud's node and the node's address, where the server then is: pods reach
    it as something outside the cluster. With `tls` it speaks HTTPS.
    """
    (port,) = free_ports(1)
    pid, address = node or (0, "127.0.0.1")
    server = S3Server(port, "testaccesskey", "testsecretkey0123", directory / "buckets", address)
    server.buckets.mkdir(parents=True)
    for name in () if iam else buckets:
        (server.buckets / name).mkdir()
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", "--"] if pid else []
    command += [str(program()), "--port", f"{address}:{port}", "--region", REGION, "--quiet", "--keep-alive"]
    if iam:
        (directory / "iam").mkdir()
        command += ["--iam-dir", str(directory / "iam")]
    if tls is not None:
        for name, content in (("server.crt", tls.cert), ("server.key", tls.key)):
            (directory / name).write_bytes(content)
        command += ["--cert", str(directory / "server.crt"), "--key", str(directory / "server.key")]
    env = {**os.environ, "ROOT_ACCESS_KEY": server.access, "ROOT_SECRET_KEY": server.secret}
    log = directory / "versitygw.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*ENDING_WITH_PARENT, *command, "posix", str(server.buckets)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env, cwd=directory,
        )  # fmt: skip
    try:
        wait_for_port(port, process, log, address=address)
        for name in buckets if iam else ():
            server.make_bucket(name)
        yield server
    finally:
        process.kill()
        process.wait()


def wait_for_port(
    port: int, process: subprocess.Popen[bytes], log: Path, seconds: float = 60.0, *, address: str = "127.0.0.1"
) -> None:
    """Wait until somebody listens on the port, of loopback unless an address is given.

    Raises with the log where the process ends before.
    """
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError), socket.create_connection((address, port), 1):
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"nothing listens on port {port}: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)


def deployers_policy(access: str, stack: str, city: str) -> dict[str, Any]:
    """The policy of the bucket `states` by which a deployer writes what the how-to says, and reads all of the rest."""
    whom = {"Effect": "Allow", "Principal": {"AWS": [access]}}
    return {
        "Version": "2012-10-17",
        "Statement": [
            {**whom, "Action": ["s3:ListBucket"], "Resource": "arn:aws:s3:::states"},
            {**whom, "Action": ["s3:GetObject"], "Resource": "arn:aws:s3:::states/*"},
            {
                **whom,
                "Action": ["s3:PutObject", "s3:DeleteObject"],
                "Resource": [f"arn:aws:s3:::states/{key}" for key in written_by(stack, city)],
            },
        ],
    }
