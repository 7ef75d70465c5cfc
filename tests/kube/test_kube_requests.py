"""Requests under bad conditions: throttling, restarts, broken connections, refused and renewed credentials, proxies."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.kube.fake_server import Handler, connect_proxy, refusing_server, serve, status
from tests.support.pki import Authority
from wecityctl.errors import AuthenticationError, ConfigurationError, ExitCode, WecityError
from wecityctl.kube import requester
from wecityctl.kube.client import KubeClient
from wecityctl.kube.config import Access, ExecPlugin
from wecityctl.kube.credentials import Credentials
from wecityctl.kube.errors import (
    AlreadyExists,
    Conflict,
    Gone,
    ServerError,
    TooManyRequests,
    Unauthorized,
    Unreachable,
)
from wecityctl.kube.identify import identify
from wecityctl.kube.readiness import NotReady, wait_ready
from wecityctl.kube.requester import RetryPolicy
from wecityctl.kube.resource import ResourceType
from wecityctl.kube.transport import HttpPool

CONFIG_MAP = ResourceType("", "v1", "ConfigMap", "configmaps", True)
QUICK = RetryPolicy(total_seconds=3.0, first_contact_seconds=1.0, first_delay=0.01, max_delay=0.05)


class Script:
    """A handler that gives the answers of a list in turn, the last one for ever, and remembers what was asked."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        self.seen.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer == "reset":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if callable(answer):
            answer = answer()
        return answer if isinstance(answer, web.StreamResponse) else web.json_response(answer)


@asynccontextmanager
async def client_for(
    handler: Handler, access: dict[str, Any] | None = None, **server: Any
) -> AsyncIterator[KubeClient]:
    async with (
        serve(handler, **server) as url,
        HttpPool() as pool,
        KubeClient(Access(**({"server": url} | (access or {}))), pool, retry=QUICK) as client,
    ):
        yield client


def throttled() -> web.Response:
    answer = status(429, "TooManyRequests")
    answer.headers["Retry-After"] = "1"
    return answer


@pytest.mark.slow
async def test_throttling_waits_as_long_as_asked() -> None:
    script = Script(throttled, {"ok": 1})
    async with client_for(script) as client:
        began = time.monotonic()
        assert await client.request("POST", "/x", body={}) == {"ok": 1}
        assert time.monotonic() - began >= 1.0
    assert len(script.seen) == 2


@pytest.mark.slow
async def test_throttling_is_bounded() -> None:
    async with client_for(Script(throttled)) as client:
        with pytest.raises(TooManyRequests):
            await client.request("GET", "/x")


async def test_eviction_refused_by_a_budget_is_told_at_once() -> None:
    script = Script(throttled)
    async with client_for(script) as client:
        with pytest.raises(TooManyRequests):
            await client.request("POST", "/api/v1/namespaces/a/pods/b/eviction", body={})
    assert len(script.seen) == 1


@pytest.mark.parametrize(("code", "attempts"), [(500, 3), (501, 1)])
async def test_server_errors_on_get(code: int, attempts: int) -> None:
    script = Script(lambda: status(code, "InternalError"))
    async with client_for(script) as client:
        with pytest.raises(ServerError):
            await client.request("GET", "/x")
    assert len(script.seen) == attempts


@pytest.mark.parametrize("failure", [lambda: status(503), lambda: status(504), "reset"])
async def test_safe_methods_survive_a_restart(failure: Any) -> None:
    script = Script(failure, failure, failure, {"ok": 1})
    async with client_for(script) as client:
        assert await client.request("PATCH", "/x", body={}, content_type="application/merge-patch+json") == {"ok": 1}
    assert len(script.seen) == 4


@pytest.mark.parametrize(
    ("method", "content_type"), [("POST", "application/json"), ("PATCH", "application/json-patch+json")]
)
async def test_what_may_have_been_done_is_not_sent_twice(method: str, content_type: str) -> None:
    script = Script("reset", {"ok": 1})
    async with client_for(script) as client:
        with pytest.raises(Unreachable) as caught:
            await client.request(method, "/x", body={}, content_type=content_type)
    assert caught.value.why == "reset"
    assert len(script.seen) == 1


async def test_connection_refused_is_retried_even_for_post() -> None:
    """The server is away and comes back on the same port while the request is being tried."""
    async with HttpPool() as pool:
        async with serve(Script({"ok": 1})) as url:
            client = KubeClient(Access(server=url), pool, retry=QUICK)
            await client.request("GET", "/x")
        task = asyncio.create_task(client.request("POST", "/x", body={}))
        await asyncio.sleep(0.3)
        assert not task.done()
        port = int(url.rpartition(":")[2])
        runner = web.ServerRunner(web.Server(Script({"ok": 2})))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, reuse_address=True).start()
        assert await task == {"ok": 2}
        await runner.cleanup()


async def test_wrong_address_is_told_soon() -> None:
    async with serve(Script({})) as url:
        pass
    async with HttpPool() as pool:
        client = KubeClient(Access(server=url), pool, retry=RetryPolicy(first_contact_seconds=0.5))
        began = time.monotonic()
        with pytest.raises(Unreachable) as caught:
            await client.version()
    assert time.monotonic() - began < 2
    assert caught.value.why == "refused"
    assert caught.value.server == url
    assert "running" in caught.value.resolution


async def test_unknown_name() -> None:
    async with HttpPool() as pool:
        client = KubeClient(Access(server="https://no-such-host.invalid"), pool, retry=QUICK)
        with pytest.raises(Unreachable) as caught:
            await client.version()
    assert caught.value.why == "dns"


async def test_silent_server_times_out() -> None:
    async def silent(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(5)
        return web.Response()

    async with client_for(silent) as client:
        with pytest.raises(Unreachable) as caught:
            await client.request("GET", "/x", timeout=0.2, retry_seconds=0)
    assert caught.value.why == "timeout"


def conflict() -> web.Response:
    causes = [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "kubectl-edit" with subresource "scale" using apps/v1',
            "field": ".spec.replicas",
        }
    ]
    return status(409, "Conflict", causes=causes)


APPLY: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}}
DISCOVERY = {
    "kind": "APIGroupDiscoveryList",
    "items": [
        {
            "metadata": {"name": ""},
            "versions": [
                {
                    "version": "v1",
                    "resources": [
                        {"resource": "configmaps", "responseKind": {"kind": "ConfigMap"}, "scope": "Namespaced"}
                    ],
                }
            ],
        }
    ],
}


def with_discovery(script: Script) -> Handler:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(DISCOVERY) if request.path in ("/api", "/apis") else await script(request)

    return handler


async def test_apply_conflict_is_not_retried() -> None:
    script = Script(conflict)
    async with client_for(with_discovery(script)) as client:
        with pytest.raises(Conflict) as caught:
            await client.apply(APPLY, field_manager="t")
    assert caught.value.fields == (".spec.replicas",)
    assert caught.value.managers == ("kubectl-edit",)
    assert len(script.seen) == 1


async def test_race_during_apply_is_retried() -> None:
    script = Script(lambda: status(409, "Conflict", "the object has been modified"), {"kind": "ConfigMap"})
    async with client_for(with_discovery(script)) as client:
        assert await client.apply(APPLY, field_manager="t") == {"kind": "ConfigMap"}
    assert len(script.seen) == 2


async def test_race_with_a_version_of_ours_is_not_retried() -> None:
    script = Script(lambda: status(409, "Conflict", "the object has been modified"))
    async with client_for(with_discovery(script)) as client:
        with pytest.raises(Conflict):
            await client.apply(APPLY | {"metadata": {"name": "a", "resourceVersion": "1"}}, field_manager="t")
    assert len(script.seen) == 1


async def test_race_on_a_quota_is_retried_even_for_create() -> None:
    script = Script(lambda: status(409, "Conflict", kind="resourcequotas", name="q"), {"ok": 1})
    async with client_for(script) as client:
        assert await client.create(CONFIG_MAP, "a", {}, field_manager="t") == {"ok": 1}


async def test_existing_object_on_create() -> None:
    async with client_for(Script(lambda: status(409, "AlreadyExists"))) as client:
        with pytest.raises(AlreadyExists):
            await client.create(CONFIG_MAP, "a", {}, field_manager="t")


async def test_apply_asks_as_documented() -> None:
    script = Script({"kind": "ConfigMap"})
    async with client_for(with_discovery(script), {"namespace": "mine"}) as client:
        await client.apply(APPLY, field_manager="me", force=True, dry_run=True)
    method, target, headers, body = script.seen[0]
    assert method == "PATCH"
    assert target == (
        "/api/v1/namespaces/mine/configmaps/a?fieldManager=me&force=true&dryRun=All&fieldValidation=Strict"
    )
    assert headers["Content-Type"] == "application/apply-patch+yaml"
    assert headers["Accept-Encoding"] == "identity"
    assert json.loads(body) == APPLY


async def test_empty_name_never_reaches_the_collection() -> None:
    script = Script({})
    async with client_for(script) as client:
        with pytest.raises(ValueError, match="empty name"):
            await client.delete(CONFIG_MAP, "", "a")
    assert script.seen == []


async def test_warnings() -> None:
    def warned() -> web.Response:
        answer = web.json_response({})
        answer.headers.add("Warning", '299 - "one \\"quoted\\""')
        answer.headers.add("Warning", '299 - "two"')
        return answer

    heard: list[str] = []
    async with client_for(Script(warned)) as client:
        await client.request("GET", "/x", on_warning=heard.append)
    assert heard == ['one "quoted"', "two"]


async def test_html_is_not_an_api_server() -> None:
    async with client_for(Script(lambda: web.Response(text="<html>", content_type="text/html"))) as client:
        with pytest.raises(Unreachable, match="does not answer like a Kubernetes API server"):
            await client.version()


async def test_a_redirection_is_not_an_api_server() -> None:
    script = Script(lambda: web.Response(status=302, headers={"Location": "https://sign-in.example/"}))
    async with client_for(script) as client:
        with pytest.raises(Unreachable, match="does not answer like a Kubernetes API server") as caught:
            await client.version()
    assert "https://sign-in.example/" in caught.value.details
    assert len(script.seen) == 1


async def test_an_answer_that_trickles_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    async def trickle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": "100000"})
        await response.prepare(request)
        for _ in range(300):
            await response.write(b" ")
            await asyncio.sleep(0.05)
        return response

    monkeypatch.setattr(requester, "BODY_SECONDS", 0.4)
    async with client_for(trickle) as client:
        with pytest.raises(Unreachable, match="gives no answer"):
            await client.request("GET", "/x", retry_seconds=0.0)


async def test_a_token_that_cannot_be_sent_is_not_shown() -> None:
    error = await fails(Access(server="http://127.0.0.1:1", token="s3cret\nX-Header: y"))
    assert isinstance(error, AuthenticationError)
    assert "line break" in error.message
    assert "s3cret" not in f"{error.message}{error.details}{error.resolution}"


async def test_watch_ends_quietly_and_reports_gone() -> None:
    big = "x" * 300_000
    lines = [
        json.dumps({"type": "ADDED", "object": {"metadata": {"name": "a"}, "data": big}}) + "\n",
        json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}}) + "\n",
    ]
    async with client_for(
        Script(lambda: web.Response(text=lines[0]), lambda: web.Response(text="".join(lines)))
    ) as client:
        seen = [event async for event in client.watch(CONFIG_MAP, "a", resource_version="5")]
        assert [e.type for e in seen] == ["ADDED"]
        assert seen[0].object["data"] == big
        with pytest.raises(Gone):
            _ = [event async for event in client.watch(CONFIG_MAP, "a")]


@pytest.mark.slow
async def test_broken_watches_are_not_asked_in_a_busy_loop() -> None:
    watches: list[str] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            watches.append(request.path)
            return status(500, "InternalError")
        return web.json_response({"items": [], "metadata": {"resourceVersion": "7"}})

    async with client_for(handler) as client, client.observer.follow(CONFIG_MAP, "a") as feed:
        await asyncio.sleep(1)
        assert feed.synced
        assert feed.version == 7
    assert 1 < len(watches) < 6


async def test_closing_the_pool_ends_the_watches() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        if "watch" in request.query:
            await asyncio.sleep(30)
        return web.json_response({"items": [], "metadata": {"resourceVersion": "7"}})

    async with serve(handler) as url:
        async with HttpPool() as pool:
            client = KubeClient(Access(server=url), pool, retry=QUICK)
            async with client.observer.follow(CONFIG_MAP, "a") as feed:
                await asyncio.sleep(0.2)
            assert not feed.task.done()
        assert feed.task.done()


@pytest.mark.slow
async def test_waiting_ends_in_time_when_the_server_is_away() -> None:
    obj = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "namespace": "a", "resourceVersion": "1"}}
    pods = {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced"}
    discovery = {"kind": "APIGroupDiscoveryList", "items": [{"versions": [{"version": "v1", "resources": [pods]}]}]}

    async def handler(request: web.Request) -> web.StreamResponse:
        return web.json_response(discovery) if request.path in ("/api", "/apis") else status(503)

    async with client_for(handler) as client:
        began = time.monotonic()
        with pytest.raises(NotReady, match="Pod a/p is not ready after 1 s") as caught:
            await wait_ready(client, obj, timeout=1, report=lambda _: None)
        assert time.monotonic() - began < 2
    assert caught.value.obj is obj


# --- TLS ---------------------------------------------------------------------------------------------------------


async def fails(access: Access) -> WecityError:
    async with HttpPool() as pool:
        with pytest.raises(WecityError) as caught:
            await KubeClient(access, pool, retry=QUICK).version()
    return caught.value


async def test_server_certificates_told_apart() -> None:
    ca, other = Authority(), Authority()
    past = {"begins": timedelta(days=-9), "ends": timedelta(days=-1)}
    async with serve(Script({"major": "1"}), pair=ca.server()) as url, HttpPool() as pool:
        assert (await KubeClient(Access(server=url, ca_data=ca.cert), pool).version())["major"] == "1"
        assert (await KubeClient(Access(server=url, insecure=True), pool).version())["major"] == "1"
        unknown = await fails(Access(server=url, ca_data=other.cert))
        assert isinstance(unknown, Unreachable)
        assert unknown.why == "unknown-authority"
        assert "certificate-authority-data" in unknown.resolution
        wrong = await fails(Access(server=url.replace("127.0.0.1", "[::ffff:127.0.0.1]"), ca_data=ca.cert))
        assert isinstance(wrong, Unreachable)
    async with serve(Script({}), pair=ca.server(**past)) as url:
        expired = await fails(Access(server=url, ca_data=ca.cert))
        assert isinstance(expired, Unreachable)
        assert expired.why == "server-certificate-expired"
        assert "clock" in expired.resolution
    async with serve(Script({}), pair=ca.server(begins=timedelta(days=1))) as url:
        early = await fails(Access(server=url, ca_data=ca.cert))
        assert isinstance(early, Unreachable)
        assert early.why == "server-certificate-not-yet-valid"


async def test_tls_server_name() -> None:
    ca = Authority()
    async with serve(Script({"major": "1"}), pair=ca.server(["inner.example"], [])) as url, HttpPool() as pool:
        access = Access(server=url, ca_data=ca.cert, tls_server_name="inner.example")
        assert (await KubeClient(access, pool).version())["major"] == "1"
        wrong = await fails(Access(server=url, ca_data=ca.cert))
    assert isinstance(wrong, Unreachable)
    assert wrong.why == "hostname"
    assert "tls-server-name" in wrong.resolution


async def test_plain_http_behind_https() -> None:
    async with serve(Script({})) as url:
        error = await fails(Access(server=url.replace("http:", "https:"), insecure=True))
    assert isinstance(error, Unreachable)
    assert error.why == "not-tls"


async def test_client_certificates() -> None:
    ca, other = Authority(), Authority()
    good = ca.client("admin")
    expired = ca.client("admin", begins=timedelta(days=-9), ends=timedelta(days=-1))
    foreign = other.client("admin")
    async with serve(Script({"major": "1"}), pair=ca.server(), client_ca=ca.cert) as url, HttpPool() as pool:
        access = Access(server=url, ca_data=ca.cert, client_cert=good.cert, client_key=good.key)
        assert (await KubeClient(access, pool).version())["major"] == "1"
    for name, pair in (("expired", expired), ("refused", foreign)):
        with refusing_server(ca.server(), ca.cert) as url:
            error = await fails(Access(server=url, ca_data=ca.cert, client_cert=pair.cert, client_key=pair.key))
        assert isinstance(error, Unreachable)
        assert error.why == f"client-certificate-{name}"
        assert error.exit_code is ExitCode.AUTHENTICATION
    # A server that just hangs up leaves the certificate's own dates to tell.
    async with serve(Script({}), pair=ca.server(), client_ca=ca.cert) as url:
        error = await fails(Access(server=url, ca_data=ca.cert, client_cert=expired.cert, client_key=expired.key))
        assert isinstance(error, Unreachable)
        assert error.why == "client-certificate-expired"
        assert f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}" in error.message


async def test_expired_client_certificate_answered_with_401() -> None:
    """As the API server does it: the handshake passes, the request is not authenticated."""
    ca = Authority()
    pair = ca.client("admin", begins=timedelta(days=-9), ends=timedelta(days=-1))
    async with serve(Script(lambda: status(401, "Unauthorized")), pair=ca.server()) as url:
        error = await fails(Access(server=url, ca_data=ca.cert, client_cert=pair.cert, client_key=pair.key))
    assert isinstance(error, Unauthorized)
    assert error.message.startswith("the client certificate expired on")


async def test_unusable_material(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ca = Authority()
    one, two = ca.client("a"), ca.client("b")
    error = await fails(Access(server="https://127.0.0.1:1", ca_data=b"nonsense"))
    assert isinstance(error, ConfigurationError)
    error = await fails(Access(server="https://127.0.0.1:1", client_cert=one.cert, client_key=two.key))
    assert isinstance(error, AuthenticationError)


@pytest.mark.parametrize("memfd", [True, False])
async def test_keys_do_not_linger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, memfd: bool) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if not memfd:
        monkeypatch.delattr(os, "memfd_create")
    ca = Authority()
    pair = ca.client("a")
    async with HttpPool() as pool:
        access = Access(server="https://127.0.0.1:1", client_cert=pair.cert, client_key=pair.key)
        pool.sessions(access, await pool.credentials(access).current())
        assert os.listdir(tmp_path) == []  # noqa: PTH208


# --- credentials -------------------------------------------------------------------------------------------------


def plugin(directory: Path, body: str, **settings: Any) -> ExecPlugin:
    script = directory / "login.py"
    script.write_text(body)
    return ExecPlugin(command=sys.executable, args=(str(script),), **settings)


COUNTING = """
import json, os, pathlib, sys
counter = pathlib.Path(os.environ["COUNTER"])
number = int(counter.read_text()) + 1 if counter.exists() else 1
counter.write_text(str(number))
info = json.loads(os.environ["KUBERNETES_EXEC_INFO"])
assert info["spec"]["interactive"] is False and sys.stdin.read() == ""
status = {"token": f"token-{number}"}
if os.environ.get("EXPIRY"):
    status["expirationTimestamp"] = os.environ["EXPIRY"]
print(json.dumps({"apiVersion": info["apiVersion"], "kind": "ExecCredential", "status": status}))
"""


@pytest.mark.parametrize("version", ["v1", "v1beta1"])
async def test_exec_plugin_runs_once_and_again_on_401(tmp_path: Path, version: str) -> None:
    def answer(token: str) -> Any:
        async def handler(request: web.Request) -> web.StreamResponse:
            seen.append(request.headers["Authorization"])
            return web.json_response({}) if seen[-1] == f"Bearer {wanted}" else status(401, "Unauthorized")

        return handler

    seen: list[str] = []
    wanted = "token-1"
    exec_plugin = plugin(
        tmp_path,
        COUNTING,
        env=(("COUNTER", str(tmp_path / "count")),),
        api_version=f"client.authentication.k8s.io/{version}",
    )
    async with client_for(answer(wanted), {"exec_plugin": exec_plugin}) as client:
        await asyncio.gather(*(client.version() for _ in range(10)))
        assert seen == ["Bearer token-1"] * 10
        wanted = "token-2"
        await asyncio.gather(*(client.version() for _ in range(10)))
    assert (tmp_path / "count").read_text() == "2"


async def test_exec_plugin_gets_nothing_of_pulumis_or_our_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PULUMI_CONFIG_PASSPHRASE", "PULUMI_ACCESS_TOKEN", "WECITYCTL_BUNDLE", "AWS_PROFILE"):
        monkeypatch.setenv(name, "x")
    place = tmp_path / "environment"
    exec_plugin = plugin(
        tmp_path,
        f"import json, os; open({str(place)!r}, 'w').write(json.dumps(dict(os.environ)))\n{COUNTING}",
        env=(("COUNTER", str(tmp_path / "count")), ("PULUMI_OF_THE_KUBECONFIG", "y")),
    )
    await Credentials(Access(server="https://x", exec_plugin=exec_plugin)).current()
    found = json.loads(place.read_text())
    assert {name for name in found if name.startswith(("PULUMI_", "WECITYCTL_"))} == {"PULUMI_OF_THE_KUBECONFIG"}
    assert found["AWS_PROFILE"] == "x"


async def test_exec_plugin_runs_again_on_expiry(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    clock = [now.timestamp()]
    expiry = (now + timedelta(minutes=5)).isoformat().replace("+00:00", "Z")
    exec_plugin = plugin(tmp_path, COUNTING, env=(("COUNTER", str(tmp_path / "count")), ("EXPIRY", expiry)))
    credentials = Credentials(Access(server="https://x", exec_plugin=exec_plugin), clock=lambda: clock[0])
    first = await credentials.current()
    clock[0] += 200
    assert await credentials.current() is first
    clock[0] += 100
    assert (await credentials.current()).headers == (("Authorization", "Bearer token-2"),)


async def test_exec_plugin_with_cluster_info_and_certificate(tmp_path: Path) -> None:
    ca = Authority()
    pair = ca.client("exec-user")
    (tmp_path / "c").write_bytes(pair.cert)
    (tmp_path / "k").write_bytes(pair.key)
    body = f"""
import json, os, pathlib
cluster = json.loads(os.environ["KUBERNETES_EXEC_INFO"])["spec"]["cluster"]
assert cluster["server"].startswith("https://127.0.0.1") and cluster["certificate-authority-data"]
assert cluster["config"] == {{"audience": "a"}}
print(json.dumps({{"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": {{
  "clientCertificateData": pathlib.Path({str(tmp_path / "c")!r}).read_text(),
  "clientKeyData": pathlib.Path({str(tmp_path / "k")!r}).read_text()}}}}))
"""
    exec_plugin = plugin(tmp_path, body, provide_cluster_info=True, cluster_config='{"audience": "a"}')
    async with client_for(
        Script({"major": "1"}),
        {"ca_data": ca.cert, "exec_plugin": exec_plugin},
        pair=ca.server(),
        client_ca=ca.cert,
    ) as client:
        assert (await client.version())["major"] == "1"


@pytest.mark.parametrize(
    ("body", "settings", "message", "details"),
    [
        ("import sys; sys.exit('login expired, run x login')", {}, "failed with exit code 1", "run x login"),
        ("print('hello')", {}, "did not print JSON", ""),
        ("print('{}')", {}, "did not print an ExecCredential", ""),
        (
            'print(\'{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1beta1"}\')',
            {},
            "answered in 'client.authentication.k8s.io/v1beta1'",
            "",
        ),
        (
            'print(\'{"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1", "status": {}}\')',
            {},
            "gave neither token nor certificate",
            "",
        ),
        ("", {"interactive_mode": "Always"}, "needs a terminal", ""),
        ("while True: print('x' * 4096)", {}, "prints without end", ""),
        ("import subprocess; subprocess.run(['yes'])", {}, "prints without end", ""),
    ],
)
async def test_bad_exec_plugin(tmp_path: Path, body: str, settings: dict[str, Any], message: str, details: str) -> None:
    exec_plugin = plugin(tmp_path, body, **settings)
    error = await fails(Access(server="http://127.0.0.1:1", exec_plugin=exec_plugin))
    assert isinstance(error, AuthenticationError)
    assert f"{sys.executable} {tmp_path / 'login.py'}" in error.message
    assert message in error.message
    assert details in error.details


@pytest.mark.slow
def test_a_plugin_that_hangs_is_named_by_whoever_set_the_limit(tmp_path: Path) -> None:
    exec_plugin = plugin(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(Unreachable, match=r"gave no answer within 1 s: the credential plug-in `.*login.py` had not"):
        identify(Access(server="http://127.0.0.1:1", exec_plugin=exec_plugin), 1.0)


async def test_missing_exec_plugin() -> None:
    exec_plugin = ExecPlugin(command="no-such-login", install_hint="install it so")
    error = await fails(Access(server="http://127.0.0.1:1", exec_plugin=exec_plugin))
    assert isinstance(error, AuthenticationError)
    assert "`no-such-login` cannot be run: No such file" in error.message
    assert error.resolution == "install it so"


async def test_token_file_is_read_again_on_401(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("old\n")

    async def handler(request: web.Request) -> web.StreamResponse:
        good = request.headers["Authorization"] == "Bearer new"
        return web.json_response({"ok": 1}) if good else status(401, "Unauthorized")

    async with client_for(handler, {"token_file": token}) as client:
        with pytest.raises(Unauthorized):
            await client.version()
        token.write_text("new\n")
        assert await client.version() == {"ok": 1}


async def test_headers_of_the_user() -> None:
    script = Script({})
    settings = {
        "username": "u",
        "password": "p",
        "impersonate": "bob",
        "impersonate_groups": ("a", "b"),
        "impersonate_extra": (("x/y", ("1",)),),
    }
    multi: list[tuple[str, str]] = []

    async def handler(request: web.Request) -> web.StreamResponse:
        multi.extend(request.headers.items())
        return await script(request)

    async with client_for(handler, settings) as client:
        await client.version()
    assert ("Authorization", "Basic dTpw") in multi
    assert ("Impersonate-User", "bob") in multi
    assert [v for k, v in multi if k == "Impersonate-Group"] == ["a", "b"]
    assert ("Impersonate-Extra-x%2Fy", "1") in multi


# --- proxies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("secure", [False, True])
async def test_proxy_is_used_for_tls(secure: bool) -> None:
    ca = Authority()
    own = ca.server() if secure else None
    async with (
        serve(Script({"major": "1"}), pair=ca.server(["cluster.example"])) as url,
        connect_proxy(pair=own) as (proxy, asked),
    ):
        server = url.replace("127.0.0.1", "cluster.example")
        async with HttpPool() as pool:
            client = KubeClient(Access(server=server, ca_data=ca.cert, proxy_url=proxy), pool)
            assert (await client.version())["major"] == "1"
        assert asked == [server.removeprefix("https://")]


async def test_proxy_that_refuses() -> None:
    ca = Authority()
    async with connect_proxy(refuse=True) as (proxy, _):
        error = await fails(Access(server="https://cluster.example:1", ca_data=ca.cert, proxy_url=proxy))
    assert isinstance(error, Unreachable)
    assert error.why == "proxy"
