"""Who may ask the state server what, what it bounds, and what is left when something ends at the wrong moment."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import select
import signal
import socket
import ssl
import time
import warnings
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from tests.engine.state_service.test_service import made
from tests.serve.conftest import STATE, Client, Server
from wecityctl.engine.serve.leases import LEASE_SECONDS, LOST_SECONDS, Lease, Leases
from wecityctl.engine.serve.listening import MAX_OF_ADDRESS, network_of, parse_address
from wecityctl.engine.serve.log import FAILURE_SECONDS, FAILURES, Failures, ServerLog
from wecityctl.engine.serve.shares import OF_ADDRESS, OF_TOKEN, Admission
from wecityctl.engine.serve.stacks import Stacks, require_name
from wecityctl.engine.serve.tokens import Role, add_token, read_tokens, remove_token
from wecityctl.engine.state.engine_lock import LockedError
from wecityctl.engine.state_service.service_protocol import GRACE_SECONDS
from wecityctl.engine.state_service.updates import About
from wecityctl.errors import ConfigurationError

pytestmark = [pytest.mark.program]

STACK = "one.base.main"
ROOT = "/api/stacks/organization/wecity"
PLACE = f"{ROOT}/{STACK}"


@pytest.fixture(scope="module", autouse=True)
def stack(server: Server) -> None:
    for name in (STACK, "city.tenant.water.main"):
        assert server.client("uma").create(name) == (200, {})


def test_roles_and_stacks_bound_what_a_token_may_do(server: Server) -> None:
    pia, uma, tom = (server.client(name) for name in ("pia", "uma", "tom"))
    state = {"version": 3, "deployment": {"manifest": {}, "resources": [made("root")["state"]]}}
    for client, method, path, body, wanted in (
        (pia, "GET", "/api/user", None, 200),
        (pia, "GET", f"{PLACE}/export", None, 200),
        (pia, "POST", f"{PLACE}/preview", {}, 200),
        (pia, "POST", f"{PLACE}/update", {"options": {"dryRun": True}}, 200),
        (pia, "POST", f"{PLACE}/update", {}, 403),
        (pia, "POST", f"{PLACE}/refresh", {}, 403),
        (pia, "POST", f"{PLACE}/destroy", {}, 403),
        (pia, "POST", ROOT, {"stackName": "one.base.other"}, 403),
        (uma, "POST", f"{PLACE}/import", state, 403),
        (uma, "DELETE", PLACE, None, 403),
        (uma, "POST", ROOT, {"stackName": "one.base.other", "state": state}, 403),
        (uma, "POST", f"{PLACE}/update/foreign-lock/cancel", None, 403),
        (tom, "GET", PLACE, None, 403),
        (tom, "POST", f"{PLACE}/update", {}, 403),
        (tom, "POST", ROOT, {"stackName": "city.tenant.health.main"}, 403),
        (tom, "GET", f"{ROOT}/city.tenant.water.main", None, 200),
        (pia, "GET", f"{ROOT}/one.base.none", None, 404),
        (pia, "GET", "/api/stacks/organization/other/x", None, 404),
        (pia, "GET", f"/api/stacks/else/wecity/{STACK}", None, 404),
        (pia, "GET", "/api/orgs/organization/members", None, 404),
        (uma, "POST", ROOT, {"stackName": STACK, "state": STATE}, 409),
        (uma, "POST", ROOT, {"stackName": "one.base.other"}, 400),
        (uma, "POST", ROOT, {"stackName": "../../../x"}, 400),
        (uma, "POST", ROOT, {"stackName": "x.json.y"}, 400),
        (uma, "GET", f"{ROOT}/..%2F..%2Fx/export", None, 400),
        (uma, "POST", f"{PLACE}/encrypt", {"plaintext": "eA=="}, 400),
    ):
        code, answer = client.ask(method, path, body)
        assert code == wanted, (method, path, answer)
        assert code < 300 or answer["message"], path
    assert [item["stackName"] for item in tom.ask("GET", "/api/user/stacks")[1]["stacks"]] == ["city.tenant.water.main"]
    assert len(pia.ask("GET", "/api/user/stacks")[1]["stacks"]) == 2


def test_nobody_is_let_in_without_a_good_token(server: Server) -> None:
    path, update = server.client("uma").begin(STACK)
    other, _ = server.client("tom").begin("city.tenant.water.main", "preview")
    good = server.tokens["ada"]
    for wrong in (
        "",
        "token",
        f"token {good}x",
        f"Basic {good}",
        f"update-token {good}",
        f"token {server.tokens['old']}",
    ):
        stranger = Client(f"127.0.0.1:{server.port}", server.authority.cert, wrong)
        assert stranger.ask("GET", "/api/user")[0] in (401, 429), wrong
        assert stranger.ask("PATCH", f"{path}/journalentries", {"entries": []})[0] in (403, 429), wrong
    # The token of an update is for that update alone; a user's is for none.
    assert update.ask("PATCH", f"{other}/journalentries", {"entries": []})[0] == 403
    assert update.ask("GET", f"{PLACE}/export")[0] in (401, 429)
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"}) == (200, {})
    # Asked again after a lost answer; and nothing follows the end.
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"}) == (200, {})
    code, answer = update.ask("PATCH", f"{path}/journalentries", {"entries": [made("root")]})
    assert (code, "it has ended" in answer["message"]) == (403, True)


def test_many_failures_are_refused_and_do_not_shut_out_others(server: Server) -> None:
    stranger = Client(f"127.0.0.1:{server.port}", server.authority.cert, "token wrong")
    codes = [stranger.ask("GET", "/api/user")[0] for _ in range(FAILURES + 2)]
    assert codes[-1] == 429
    assert server.client("pia").ask("GET", "/api/user")[0] == 200
    assert len([line for line in server.lines() if line["status"] == 429]) == 0


def test_failures_are_counted_by_address_and_forgotten() -> None:
    now = [0.0]
    failures = Failures(lambda: now[0])
    assert [failures.add("a")[0] for _ in range(FAILURES)] == [0] * FAILURES
    assert failures.add("a") == (int(FAILURE_SECONDS), False)
    assert failures.add("b") == (0, True)
    now[0] = FAILURE_SECONDS
    assert failures.add("a") == (0, True)


def test_only_tls_is_spoken_and_not_the_old_one(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain:
        plain.sendall(b"GET /api/user HTTP/1.1\r\nHost: x\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            assert b"HTTP" not in plain.recv(100)
    context = ssl.create_default_context(cadata=server.authority.cert.decode())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", server.port), timeout=10) as opened:
        context.wrap_socket(opened, server_hostname="127.0.0.1")


def test_a_renewed_certificate_is_taken_and_a_bad_one_is_not(server: Server) -> None:
    def serial() -> str:
        context = ssl.create_default_context(cadata=server.authority.cert.decode())
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as found,
        ):
            return str((found.getpeercert() or {})["serialNumber"])

    def renewals(result: str) -> int:
        return len([line for line in server.lines("certificate") if line["result"] == result])

    def reload(result: str) -> None:
        before = renewals(result)
        assert server.process is not None
        server.process.send_signal(signal.SIGHUP)
        until = time.monotonic() + 20
        while renewals(result) == before:
            assert time.monotonic() < until
            time.sleep(0.05)

    before = serial()
    server.renew()
    reload("renewed")
    renewed = serial()
    assert renewed != before
    good = server.file("tls.key").read_bytes()
    server.file("tls.key").write_bytes(server.authority.server().key)
    reload("refused")
    assert serial() == renewed
    server.file("tls.key").write_bytes(good)
    reload("renewed")


def test_bodies_are_bounded_also_when_compressed(server: Server) -> None:
    uma = server.client("uma")
    bomb = gzip.compress(b'{"metadata": {"message": "' + b"a" * (5 << 20) + b'"}}')
    code, answer = uma.ask("POST", f"{PLACE}/update", bomb, **{"Content-Encoding": "gzip"})
    assert (code, "larger than" in answer["message"]) == (413, True)
    for bad in (b"{", b"[]", b"\xff", b'{"options": 1}', b'{"metadata": [1]}'):
        assert uma.ask("POST", f"{PLACE}/update", bad)[0] == 400, bad
    path, update = uma.begin(STACK)
    for bad in (b"{}", b'{"entries": [1]}', b'{"entries": [{"version": 2}]}'):
        assert update.ask("PATCH", f"{path}/journalentries", bad)[0] == 400, bad
    # What came in between is missing.
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [made("root")]})[0] == 400
    assert update.ask("POST", f"{path}/complete", {"status": "failed"})[0] == 200


def test_a_batch_whose_connection_broke_is_sent_again(server: Server) -> None:
    path, update = server.client("uma").begin(STACK)
    batch = json.dumps({"entries": [made("root")]}).encode()
    context = ssl.create_default_context(cadata=server.authority.cert.decode())
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as broken,
    ):
        head = f"PATCH {path}/journalentries HTTP/1.1\r\nHost: x\r\nAuthorization: {update.token}\r\n"
        broken.sendall(f"{head}Content-Length: {len(batch)}\r\n\r\n".encode() + batch[:50])
        time.sleep(0.2)
    assert update.ask("PATCH", f"{path}/journalentries", batch) == (200, {})
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"}) == (200, {})


def test_a_second_update_is_told_who_has_the_stack(server: Server) -> None:
    uma, ada = server.client("uma"), server.client("ada")
    path, update = uma.begin(STACK)
    created = ada.ask("POST", f"{PLACE}/update", {})[1]["updateID"]
    code, answer = ada.ask("POST", f"{PLACE}/update/{created}", {})
    assert (code, "being changed by uma: update since" in answer["message"]) == (409, True)
    shown = ada.ask("GET", PLACE)[1]
    assert (shown["activeUpdate"], shown["currentOperation"]["author"]) == (path.rpartition("/")[2], "uma")
    assert ada.ask("DELETE", f"{PLACE}?force=true")[0] == 409
    assert ada.ask("POST", f"{PLACE}/update/{path.rpartition('/')[2]}/cancel")[0] == 200
    assert update.ask("POST", f"{path}/renew_lease", {"duration": 300})[0] == 403
    history = ada.ask("GET", f"{PLACE}/updates?pageSize=1&page=1")[1]["updates"]
    assert [(item["environment"]["wecity.who"], item["result"]) for item in history] == [("uma", "failed")]


def test_whose_token_is_removed_is_out_also_in_the_middle(server: Server) -> None:
    tokens = server.file("tokens.json")
    server.tokens["bob"], _ = add_token(tokens, "bob", Role.UPDATE, (), timedelta(days=1))
    path, update = server.client("bob").begin(STACK)
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [made("kept")]}) == (200, {})
    remove_token(tokens, "bob")
    code, answer = update.ask("PATCH", f"{path}/journalentries", {"entries": [made("one", operation=2)]})
    assert (code, "was removed" in answer["message"]) == (403, True)
    assert server.client("bob").ask("GET", "/api/user")[0] in (401, 429)
    assert server.client("ada").ask("POST", f"{PLACE}/update/{path.rpartition('/')[2]}/cancel")[0] == 200
    # What was acknowledged is there.
    resources = server.client("pia").ask("GET", f"{PLACE}/export")[1]["deployment"]["resources"]
    assert "kept" in [item["urn"].rpartition("::")[2] for item in resources]


def test_a_second_server_on_the_same_place_is_refused(server: Server) -> None:
    second = Server(server.directory, server.backend, server.authority, environment=server.environment)
    with pytest.raises(AssertionError, match="another server has the states"):
        second.start()
    assert second.process is not None
    assert second.process.wait(10) == 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_an_update_goes_on_with_the_next_server(server: Server, number: signal.Signals) -> None:
    path, update = server.client("uma").begin(STACK)
    sent = {"entries": [made(f"three{number}", operation=2)]}
    assert update.ask("PATCH", f"{path}/journalentries", sent) == (200, {})
    server.end(number)
    server.start()
    assert server.lines("update-adopted")[-1]["who"] == "uma"
    code, renewed = update.ask("POST", f"{path}/renew_lease", {"duration": 300})
    assert (code, f"update-token {renewed['token']}") == (200, update.token)
    created = server.client("ada").ask("POST", f"{PLACE}/update", {})[1]["updateID"]
    assert server.client("ada").ask("POST", f"{PLACE}/update/{created}", {})[0] == 409
    # Sent again, since the answer may have been lost.
    assert update.ask("PATCH", f"{path}/journalentries", sent) == (200, {})
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [made(f"four{number}", operation=3)]}) == (200, {})
    server.end(number)
    server.start()
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"}) == (200, {})
    resources = server.client("pia").ask("GET", f"{PLACE}/export")[1]["deployment"]["resources"]
    names = [item["urn"].rpartition("::")[2] for item in resources]
    assert names.count(f"three{number}") == names.count(f"four{number}") == 1
    history = server.client("ada").ask("GET", f"{PLACE}/updates?pageSize=2&page=1")[1]["updates"]
    assert history[0]["result"] == "succeeded" and history[0]["version"] == history[1]["version"] + 1
    # Nothing of it is left for yet another one.
    server.end(number)
    before = len(server.lines("update-adopted"))
    server.start()
    assert len(server.lines("update-adopted")) == before
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": []})[0] == 403


def test_an_update_whose_token_was_removed_meanwhile_is_ended(server: Server) -> None:
    server.tokens["eve"], _ = add_token(server.file("tokens.json"), "eve", Role.UPDATE)
    path, update = server.client("eve").begin(STACK)
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [made("five", operation=4)]}) == (200, {})
    server.end()
    remove_token(server.file("tokens.json"), "eve")
    server.start()
    assert (server.lines("update-adopted")[-1]["result"], server.lines("left-behind")[-1]["result"]) == (
        "refused",
        "replayed",
    )
    history = server.client("ada").ask("GET", f"{PLACE}/updates?pageSize=1&page=1")[1]["updates"]
    assert (history[0]["environment"]["wecity.who"], history[0]["result"]) == ("eve", "failed")


def test_an_interrupted_server_ends_what_runs_and_the_next_goes_on(server: Server) -> None:
    path, update = server.client("uma").begin(STACK)
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [made("two", operation=2)]}) == (200, {})
    assert server.end(signal.SIGINT) == 0
    server.start()
    resources = server.client("pia").ask("GET", f"{PLACE}/export")[1]["deployment"]["resources"]
    assert "two" in [item["urn"].rpartition("::")[2] for item in resources]
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": []})[0] == 403
    log = server.file("log.jsonl").read_text()
    assert not any(token in log or token.rpartition("_")[2] in log for token in server.tokens.values())
    assert {"who", "what", "status", "stack", "ms"} <= set(
        next(line for line in server.lines() if line["what"] == "journal" and line["status"] == 200)
    )


class Told(list[str]):
    """What was told of updates that have ended."""

    def __call__(self, lease: Lease, why: str) -> None:
        self.append(why)


async def test_a_lease_ends_by_its_own_time_and_for_somebody_else_alone(tmp_path: Path) -> None:
    """The wall clock is not asked; an update whose lease has expired goes on until another one wants the stack."""
    now = [1000.0]
    stacks, told = Stacks(f"file://{tmp_path}/state", 10), Told()
    add_token(tmp_path / "tokens", "uma", Role.UPDATE)
    (uma,) = read_tokens(tmp_path / "tokens")
    leases = Leases(stacks, told, lambda: now[0])
    stacks.create(STACK)

    def request() -> Lease:
        return leases.request(STACK, About("update"), uma, previews=False)

    first = await leases.start(request())
    now[0] += LEASE_SECONDS - 1
    with pytest.raises(LockedError, match="being changed by uma"):
        await leases.start(request())
    leases.renew(first, LEASE_SECONDS)
    now[0] += LEASE_SECONDS - 1
    with pytest.raises(LockedError):
        await leases.start(request())
    # Expired, and still going on: the engine's machine was asleep.
    now[0] += 2
    first.item.append([made("root")])
    assert not first.over
    leases.renew(first, 10)
    now[0] += 31
    second = await leases.start(request())
    assert first.over == told[0] == "its lease expired and another update began"
    assert len((await asyncio.to_thread(second.item.checkpoint, {})).deployment["resources"]) == 1
    assert await leases.complete(second, succeeded=True) == ""
    # Killed, and nobody wants the stack any more: the history has it all the same, an hour later.
    third = await leases.start(request())
    now[0] += LEASE_SECONDS + LOST_SECONDS - 1
    await leases.end_lost()
    assert not third.over
    now[0] += 1
    await leases.end_lost()
    assert third.is_settled and "for an hour" in told[-1]
    assert [item["result"] for item in stacks.history(STACK)] == ["failed", "succeeded", "failed"]
    found = [(item["version"], item["result"]) for item in stacks.history(STACK)]
    assert found == [(3, "failed"), (2, "succeeded"), (1, "failed")]


def test_addresses_and_names() -> None:
    assert parse_address("127.0.0.1:8470") == ("127.0.0.1", 8470)
    assert parse_address("[::1]:0") == ("::1", 0)
    for wrong in ("8470", ":8470", "::1:8470", "host:", "host:x", "host:70000"):
        with pytest.raises(ConfigurationError):
            parse_address(wrong)
    assert require_name("city.tenant.water-bureau.main") and require_name("shop/main")
    for wrong in ("", ".", "..", ".x", "a/b/c", "/b", "a/", "../b", "a\n", "ä", "a" * 101, "a.json"):
        with pytest.raises(ConfigurationError):
            require_name(wrong)


def test_a_log_that_cannot_be_written_says_so_later() -> None:
    class Full(BytesIO):
        full = 2

        def write(self, data: Any) -> int:
            if self.full:
                self.full -= 1
                raise OSError(28, "full")
            # A part at a time, as a pipe may take it.
            return super().write(data[:7])

    stream = Full()
    log = ServerLog(stream)
    for _ in range(3):
        log.write("request", who="ada", error="")
    log.close()
    found: dict[str, Any] = json.loads(stream.getvalue())
    assert (found["missing"], found["who"], "error" in found) == (2, "ada", False)


BAD = (
    {"deployment": {"resources": [5]}},
    {"deployment": {"resources": "x"}},
    {"deployment": {"resources": [{}]}},
    {"deployment": {"resources": [{"urn": 5, "type": "a"}]}},
    {"deployment": {"pending_operations": [5]}},
    {"deployment": {"metadata": json.loads("[" * 300 + "]" * 300)}},
    b'{"deployment": {"resources": [{"urn": "a", "type": "b", "outputs": {"x": NaN}}]}}',
    b"[" * 100_000,
)


def test_what_could_not_be_replayed_is_not_acknowledged(server: Server) -> None:
    path, update = server.client("uma").begin(STACK)
    for body in BAD:
        assert update.ask("PATCH", f"{path}/checkpoint", body)[0] == 400, body
    assert server.client("ada").ask("POST", f"{PLACE}/update/{path.rpartition('/')[2]}/cancel")[0] == 200
    for entry in ({"kind": 0, "operation": "x"}, {"kind": 1, "state": "x"}, {"kind": 1, "removeOld": "x"}):
        path, update = server.client("uma").begin(STACK)
        entries = {"entries": [{"version": 1, "sequenceID": 1, "operationID": 1, **entry}]}
        assert update.ask("PATCH", f"{path}/journalentries", entries)[0] == 400, entry
        assert update.ask("POST", f"{path}/complete", {"status": "failed"})[0] == 200
    assert server.client("ada").ask("POST", f"{PLACE}/import", {"deployment": {"resources": [5]}})[0] == 400
    path, update = server.client("uma").begin(STACK)
    assert (
        update.ask("POST", f"{path}/events/batch", {"events": [{"summaryEvent": {"resourceChanges": {"a": "x"}}}]})[0]
        == 400
    )
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"})[0] == 200
    assert server.end() == 0
    server.start()


def test_one_token_does_not_take_all_updates_and_a_preview_sends_nothing_large(server: Server) -> None:
    client = server.client("pia")
    codes = [client.ask("POST", f"{PLACE}/preview", {})[0] for _ in range(40)]
    assert codes.count(200) == 32
    path, update = server.client("uma").begin(STACK, "preview")
    code, _ = update.ask(
        "PATCH", f"{path}/journalentries", gzip.compress(b" " * (8 << 20)), **{"Content-Encoding": "gzip"}
    )
    assert code == 413


def test_a_request_that_cannot_be_read_shows_nobody_its_token(server: Server) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain,
        ssl.create_default_context(cadata=server.authority.cert.decode()).wrap_socket(
            plain, server_hostname="127.0.0.1"
        ) as stream,
    ):
        secret = server.tokens["ada"]
        stream.sendall(f"GET /api/user HTTP/1.1\r\nHost: a\r\nAuthorization: token {secret}\x01\r\n\r\n".encode())
        stream.recv(4096)
    assert server.process is not None and server.process.stderr is not None
    # Nothing is written there after the first line.
    assert select.select([server.process.stderr], [], [], 0.5)[0] == []


def test_a_pipe_that_nobody_reads_keeps_nobody_waiting(server: Server) -> None:
    other = Server(server.directory, f"file://{server.directory}/unread", server.authority)
    other.start(log=False)
    try:
        stranger = Client(f"127.0.0.1:{other.port}", server.authority.cert, f"token {server.tokens['pia']}")
        for _ in range(500):
            assert stranger.ask("GET", "/api/capabilities")[0] == 200
    finally:
        assert other.end() == 0


def test_what_is_not_served_is_told_with_what_does_it_instead(server: Server) -> None:
    pia = server.client("pia")
    for method, path, words in (
        ("POST", f"{PLACE}/rename", "pulumi stack rename"),
        ("GET", f"{PLACE}/export/3", "wecityctl state restore"),
        ("GET", "/api/orgs/organization/members", "wecityctl state token"),
        ("GET", "/api/orgs/organization/policygroups", "--policy-pack"),
        ("GET", f"{PLACE}/deployments", "in a pipeline"),
        ("GET", "/api/esc/environments/organization", "Pulumi.STACK.yaml"),
        ("GET", f"{PLACE}/hooks", "log"),
        ("PUT", "/api/user", "and nothing else"),
        ("GET", "/other", "and nothing else"),
    ):
        code, answer = pia.ask(method, path)
        assert (code, words in answer["message"]) == (404, True), (path, answer)


def test_tags_are_kept_where_the_cli_keeps_them(server: Server) -> None:
    uma, pia = server.client("uma"), server.client("pia")
    tags = {"pulumi:project": "wecity", "environment": "production"}
    assert uma.ask("PATCH", f"{PLACE}/tags", tags) == (200, {})
    assert pia.ask("GET", PLACE)[1]["tags"] == tags
    assert pia.ask("PATCH", f"{PLACE}/tags", {})[0] == 403
    for bad in ({"a b": "x"}, {"a": 1}, {"a": "x" * 257}, {str(number): "" for number in range(65)}):
        assert uma.ask("PATCH", f"{PLACE}/tags", bad)[0] == 400

    def listed(query: str) -> list[str]:
        return [item["stackName"] for item in pia.ask("GET", f"/api/user/stacks?{query}")[1]["stacks"]]

    assert listed("tagName=environment") == listed("tagName=environment&tagValue=production") == [STACK]
    assert listed("tagName=environment&tagValue=trial") == listed("tagName=other") == []
    assert uma.ask("PATCH", f"{PLACE}/tags", {}) == (200, {})
    assert (pia.ask("GET", PLACE)[1]["tags"], listed("tagName=environment")) == ({}, [])


@pytest.mark.parametrize("server", ["directory"], indirect=True)
def test_one_address_has_not_all_connections_and_slow_bodies_end(server: Server) -> None:
    opened: list[socket.socket] = []
    try:
        for _ in range(MAX_OF_ADDRESS + 4):
            opened.append(socket.create_connection(("127.0.0.1", server.port), timeout=10))
        ended = [each for each in opened if select.select([each], [], [], 0.02)[0]]
        assert len(ended) >= 4
    finally:
        for each in opened:
            each.close()
    until = time.monotonic() + 10
    while True:
        with contextlib.suppress(OSError):
            assert server.client("pia").ask("GET", "/api/user")[0] == 200
            break
        assert time.monotonic() < until
    context = ssl.create_default_context(cadata=server.authority.cert.decode())
    with (
        socket.create_connection(("127.0.0.1", server.port), timeout=30) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as slow,
    ):
        head = f"POST {PLACE}/preview HTTP/1.1\r\nHost: x\r\nAuthorization: token {server.tokens['pia']}\r\n"
        slow.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        began = time.monotonic()
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - began < GRACE_SECONDS + 5


async def test_requests_at_once_are_bounded_for_each_sender() -> None:
    admission = Admission(OF_ADDRESS + 2)
    held = [await admission.take("a", f"t{number % 2}", 1) for number in range(OF_ADDRESS)]
    with pytest.raises(TimeoutError):
        await admission.take("a", "t9", 0.05)
    held += [await admission.take("b", "t9", 1), await admission.take("c", "t9", 1)]
    with pytest.raises(TimeoutError):
        await admission.take("d", "t8", 0.05)
    for each in held:
        each.give()
    held = [await admission.take(f"{number}", "t", 1) for number in range(OF_TOKEN)]
    with pytest.raises(TimeoutError):
        await admission.take("z", "t", 0.05)
    waiting = asyncio.ensure_future(admission.take("z", "t", 5))
    await asyncio.sleep(0)
    held.pop().give()
    (await waiting).give()
    assert [network_of(each) for each in ("10.0.0.1", "::ffff:10.0.0.1", "fe80::1:2:3:4%eth0")] == [
        "10.0.0.1", "10.0.0.1", "fe80::/64"
    ]  # fmt: skip
