"""The service that the engine journals to: who may ask it what, and that what it has acknowledged is there."""

from __future__ import annotations

import asyncio
import base64
import gzip
import http.client
import json
import os
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.engine.state.test_abandoned_locks import dead_process
from wecityctl.engine.secrets.crypto import SECRET, SIGNATURE, new_salt
from wecityctl.engine.secrets.sealing import Seal
from wecityctl.engine.state import layout
from wecityctl.engine.state.abandoned_locks import break_dead
from wecityctl.engine.state.engine_lock import LockedError, locks_on, take
from wecityctl.engine.state.store_file import FileStore
from wecityctl.engine.state_service import service_protocol, updates
from wecityctl.engine.state_service.service import StateService
from wecityctl.engine.state_service.updates import About, OpenStack, Running
from wecityctl.errors import DeploymentError, WecityError
from wecityctl.journal.log import read_journal
from wecityctl.paths import write_private

STACK = "one.base.main"
PLACE = f"/api/stacks/organization/wecity/{STACK}"
ROOT = f"urn:pulumi:{STACK}::wecity::pulumi:pulumi:Stack::wecity-{STACK}"
NUMBERS = count(1)


def made(name: str, kind: int = 1, operation: int = 1, **more: Any) -> dict[str, Any]:
    """The entry of a component that was made."""
    urn = ROOT if name == "root" else f"urn:pulumi:{STACK}::wecity::wecity:test:Part::{name}"
    state = {"urn": urn, "custom": False, "type": "pulumi:pulumi:Stack" if name == "root" else "wecity:test:Part"}
    number = next(NUMBERS)
    return {
        "version": 1,
        "kind": kind,
        "sequenceID": number,
        "operationID": operation or number,
        "state": state,
        **more,
    }


def begun(name: str) -> dict[str, Any]:
    """The entry of a component that is being made."""
    found = made(name, 0, 0)
    return {**found, "operation": {"resource": found.pop("state"), "type": "creating"}}


@pytest.fixture
def files(tmp_path: Path) -> FileStore:
    store = FileStore(tmp_path / "state")
    store.create(STACK)
    return store


class Client:
    """Asks the service as the engine does."""

    def __init__(self, url: str, token: str) -> None:
        self.address, self.token = urlsplit(url).netloc, f"token {token}"

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection(self.address, timeout=30)
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        connection.request(method, path, data, {"Authorization": self.token, **headers})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def begin(self, kind: str = "update") -> tuple[str, Client]:
        """An update that is under way: its path, and a client with its token."""
        code, created = self.ask("POST", f"{PLACE}/{kind}", {"metadata": {"message": "m", "environment": {"a": "b"}}})
        assert code == 200, created
        path = f"{PLACE}/{kind}/{created['updateID']}"
        code, started = self.ask("POST", path, {"journalVersion": 1})
        assert (code, started["journalVersion"]) == (200, 1)
        update = Client("", "")
        update.address, update.token = self.address, f"update-token {started['token']}"
        return path, update


class Served:
    """A service on a loop of its own."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.service = StateService()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.wait(self.service.__aenter__())

    def wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def open(self, files: FileStore, **more: Any) -> Client:
        async def opened() -> str:
            return self.service.open(OpenStack(files, STACK, **more))

        return Client(self.service.url, self.wait(opened()))

    def close(self, stack: str = STACK) -> str:
        return str(self.wait(self.service.close(stack)))

    def end(self) -> None:
        self.wait(self.service.__aexit__())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()
    yield found
    found.end()


def urns(store: FileStore) -> list[str]:
    deployment, _ = store.read(STACK)
    return [item["urn"].rpartition("::")[2] for item in (deployment or {}).get("resources") or ()]


def test_events_of_steps_are_not_parsed(files: FileStore, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    path, update = served.open(files).begin()
    parsed: list[bytes] = []
    parse = service_protocol._parsed
    monkeypatch.setattr(service_protocol, "_parsed", lambda data: parsed.append(data) or parse(data))
    step = {"events": [{"resourcePreEvent": {"metadata": {"op": "create"}}}]}
    assert update.ask("POST", f"{path}/events/batch", step) == (200, {})
    assert parsed == []
    end = {"events": [{"summaryEvent": {"resourceChanges": {"create": 1}}}]}
    assert update.ask("POST", f"{path}/events/batch", end) == (200, {})
    assert len(parsed) == 1
    update.ask("POST", f"{path}/complete", {"status": "succeeded"})
    assert files.history(STACK)[0]["resourceChanges"] == {"create": 1}


def test_a_run_leaves_a_state_a_history_and_nothing_else(files: FileStore, served: Served) -> None:
    client = served.open(files)
    assert client.ask("GET", "/api/user")[1]["githubLogin"] == "organization"
    assert client.ask("GET", "/api/capabilities") == (
        200,
        {"capabilities": [{"capability": "batch-encrypt", "version": 1}]},
    )
    assert client.ask("GET", PLACE)[1]["stackName"] == STACK
    assert client.ask("GET", f"{PLACE}/export")[1] == {"version": 3, "deployment": {}}
    path, update = client.begin()
    (lock,) = locks_on(files, STACK)
    assert lock.pid == os.getpid()
    assert lock.owner is not None
    body = gzip.compress(json.dumps({"entries": [made("root"), made("one", operation=2)]}).encode())
    assert update.ask("PATCH", f"{path}/journalentries", body, **{"Content-Encoding": "gzip"}) == (200, {})
    # Whoever looks while the run lasts sees what it has done.
    assert urns(files) == [f"wecity-{STACK}", "one"]
    assert update.ask("POST", f"{path}/renew_lease", {"duration": 300})[0] == 200
    events = {"events": [{"summaryEvent": {"resourceChanges": {"create": 2}}}, {"preludeEvent": {}}]}
    assert update.ask("POST", f"{path}/events/batch", events) == (200, {})
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"}) == (200, {})
    assert served.close() == ""
    assert urns(files) == [f"wecity-{STACK}", "one"]
    (entry,) = files.history(STACK)
    assert entry["startTime"] <= entry["endTime"]
    assert {name: entry[name] for name in ("kind", "message", "environment", "result", "resourceChanges")} == {
        "kind": "update",
        "message": "m",
        "environment": {"a": "b"},
        "result": "succeeded",
        "resourceChanges": {"create": 2},
    }
    assert not files.journal(STACK).exists()
    assert locks_on(files, STACK) == []


def test_nobody_asks_without_a_token_or_with_another_s(files: FileStore, served: Served) -> None:
    client = served.open(files)
    path, update = client.begin()
    entries = {"entries": [made("root")]}
    for wrong in ("", "token", "token x", "token ü", "Basic " + client.token[6:], "update-token " + client.token[6:]):
        stranger = Client(served.service.url, "")
        stranger.token = wrong
        for method, place, body in (
            ("GET", "/api/user", None),
            ("GET", f"{PLACE}/export", None),
            ("POST", f"{PLACE}/update", {}),
            ("PATCH", f"{path}/journalentries", entries),
            ("POST", f"{path}/complete", {"status": "succeeded"}),
            ("GET", "/anything", None),
        ):
            assert stranger.ask(method, place, body)[0] == 401, (wrong, place)
    for place in (PLACE.replace("base", "entry"), PLACE.replace("wecity", "other"), f"{PLACE}x/export"):
        assert client.ask("GET", place)[0] in (403, 404), place
    assert update.ask("PATCH", f"{PLACE}/update/another/journalentries", entries)[0] == 404
    assert read_journal(files.lines(STACK), STACK).entries == ()  # type: ignore[union-attr]
    served.close()
    assert client.ask("GET", "/api/user")[0] == 401
    assert update.ask("PATCH", f"{path}/journalentries", entries)[0] == 401


def test_what_is_no_entry_is_refused_and_so_is_all_that_comes_after_it(files: FileStore, served: Served) -> None:
    client = served.open(files)
    path, update = client.begin()
    place = f"{path}/journalentries"
    assert update.ask("PATCH", place, {"entries": [made("root")]})[0] == 200
    newer = json.dumps({"entries": [made("root"), {**made("one"), "version": 2}]}).encode()
    unknown = json.dumps({"entries": [made("root"), {**made("one"), "kind": 99}]}).encode()
    for bad in (
        b"{",
        b"[]",
        b"null",
        b"{}",
        b'{"entries": 1}',
        b'{"entries": [1]}',
        b'{"entries": {"a": 1}}',
        b"\xff",
        newer,
        unknown,
    ):
        code, answer = update.ask("PATCH", place, bad)
        assert code == 400, bad
        assert answer["message"]
    assert update.ask("PATCH", place, gzip.compress(b"{}")[:8], **{"Content-Encoding": "gzip"})[0] == 400
    # What came in between is missing, and this may rest on it.
    code, answer = update.ask("PATCH", place, {"entries": [made("one", operation=2)]})
    assert (code, "could not be kept" in answer["message"]) == (400, True)
    assert update.ask("POST", f"{path}/complete", {"status": "failed"})[0] == 200
    assert urns(files) == [f"wecity-{STACK}"]
    assert files.history(STACK)[0]["result"] == "failed"
    # The next update begins anew.
    path, update = client.begin()
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [made("one", operation=2)]})[0] == 200


def test_after_a_full_disk_nothing_more_is_taken(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """With room again, too: what was refused is missing."""
    run = Running(files, STACK, About("update"))
    run.append([made("root")])
    with monkeypatch.context() as patch:
        patch.setattr(
            "wecityctl.journal.file.os.fdatasync", lambda descriptor: (_ for _ in ()).throw(OSError(28, "full"))
        )
        with pytest.raises(DeploymentError, match="the disk is full"):
            run.append([made("one", operation=2)])
    with pytest.raises(DeploymentError, match="could not be kept"):
        run.append([made("two", operation=3)])
    assert run.complete(succeeded=False) == ""
    assert urns(files) == [f"wecity-{STACK}"]


def test_a_batch_that_is_sent_again_counts_once(files: FileStore, served: Served) -> None:
    path, update = served.open(files).begin()
    batch = {"entries": [made("root"), made("one", operation=2)]}
    for _ in range(3):
        assert update.ask("PATCH", f"{path}/journalentries", batch)[0] == 200
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"})[0] == 200
    assert urns(files) == [f"wecity-{STACK}", "one"]


def test_a_whole_checkpoint_is_taken_too(files: FileStore, served: Served) -> None:
    """From an engine that was told not to journal."""
    path, update = served.open(files).begin()
    deployment = {"manifest": {}, "resources": [made("root")["state"]]}
    assert update.ask("PATCH", f"{path}/checkpoint", {"version": 3, "deployment": deployment})[0] == 200
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"})[0] == 200
    assert urns(files) == [f"wecity-{STACK}"]


def test_a_second_update_waits_for_nobody(files: FileStore, served: Served) -> None:
    client = served.open(files)
    path, _ = client.begin()
    code, answer = client.ask("POST", f"{PLACE}/update", {})
    assert code == 409
    assert "locked" in answer["message"]
    # Another run of ours, or plain pulumi.
    with pytest.raises(LockedError):
        Running(files, STACK, About("update"))
    assert client.ask("POST", f"{path}/complete", {"status": "succeeded"})[0] == 200
    client.begin("destroy")


def test_a_preview_locks_and_keeps_nothing(files: FileStore, served: Served) -> None:
    shown = {"resources": [made("root")["state"]]}
    client = served.open(files, shown=shown, previews=True)
    assert client.ask("GET", f"{PLACE}/export")[1]["deployment"] == shown
    before = files.stored(STACK)
    path, update = client.begin("preview")
    assert locks_on(files, STACK) == []
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [made("one")]})[0] == 400
    assert client.ask("POST", f"{PLACE}/update", {})[0] == 400
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"})[0] == 200
    assert (files.stored(STACK), files.history(STACK)) == (before, [])


def test_an_engine_that_is_gone_leaves_what_it_was_doing_under_way(files: FileStore, served: Served) -> None:
    path, update = served.open(files).begin()
    batch = {"entries": [made("root"), made("one", operation=2), begun("two")]}
    assert update.ask("PATCH", f"{path}/journalentries", batch)[0] == 200
    assert served.close() == ""
    deployment, _ = files.read(STACK)
    assert deployment is not None
    (pending,) = deployment["pending_operations"]
    assert (pending["resource"]["urn"].rpartition("::")[2], pending["type"]) == ("two", "creating")
    assert files.history(STACK)[0]["result"] == "failed"
    assert locks_on(files, STACK) == []


def test_a_state_that_the_engine_would_refuse_is_kept_and_told(files: FileStore, served: Served) -> None:
    path, update = served.open(files).begin()
    root, child = made("root"), made("one", operation=2)
    child["state"]["parent"] = f"{ROOT}-that-is-not-there"
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [root, child]})[0] == 200
    code, answer = update.ask("POST", f"{path}/complete", {"status": "succeeded"})
    assert code == 400
    assert "would refuse" in answer["message"]
    assert urns(files) == [f"wecity-{STACK}", "one"]


def test_secrets_are_the_service_s_for_the_engine_and_the_passphrase_s_in_the_state(
    files: FileStore, served: Served
) -> None:
    salt, crypter = new_salt("open sesame")
    client = served.open(files, seal=Seal(salt, crypter))
    plain = base64.b64encode(json.dumps("geheim").encode()).decode()
    code, answer = client.ask("POST", f"{PLACE}/batch-encrypt", {"plaintexts": [plain, plain]})
    assert code == 200
    first, second = answer["ciphertexts"]
    assert first != second
    answer = client.ask("POST", f"{PLACE}/batch-decrypt", {"ciphertexts": [first, second]})[1]
    assert answer == {"plaintexts": {first: plain, second: plain}}
    one = client.ask("POST", f"{PLACE}/encrypt", {"plaintext": plain})[1]["ciphertext"]
    assert client.ask("POST", f"{PLACE}/decrypt", {"ciphertext": one})[1] == {"plaintext": plain}
    path, update = client.begin()
    root = made("root")
    root["state"]["outputs"] = {"list": [{SIGNATURE: SECRET, "ciphertext": first}], "ciphertext": "no secret"}
    provider = {**made("one", 6, 0), "secretsProvider": {"type": "service", "state": {"url": "x"}}}
    assert update.ask("PATCH", f"{path}/journalentries", {"entries": [provider, root]})[0] == 200
    journal = files.journal(STACK).read_text()
    assert "service" not in journal.replace("state_service", "")
    assert update.ask("POST", f"{path}/complete", {"status": "succeeded"})[0] == 200
    deployment, stored = files.read(STACK)
    assert deployment is not None
    assert deployment["secrets_providers"] == {"type": "passphrase", "state": {"salt": salt}}
    outputs = deployment["resources"][0]["outputs"]
    assert crypter.reveal(outputs) == {"list": ["geheim"], "ciphertext": "no secret"}
    assert b"geheim" not in stored
    # The next engine is shown it as the service's again.
    export = client.ask("GET", f"{PLACE}/export")[1]["deployment"]
    assert export["secrets_providers"]["type"] == "service"
    assert export["secrets_providers"]["state"]["stack"] == STACK
    shown = export["resources"][0]["outputs"]["list"][0]["ciphertext"]
    assert client.ask("POST", f"{PLACE}/decrypt", {"ciphertext": shown})[1] == {"plaintext": plain}


def test_what_another_key_has_encrypted_and_what_is_no_ciphertext_is_refused(files: FileStore, served: Served) -> None:
    (salt, crypter), (_, other) = new_salt("one"), new_salt("two")
    client = served.open(files, seal=Seal(salt, crypter))
    foreign = base64.b64encode(other.encrypt("x").encode()).decode()
    for bad in (foreign, "!", "", base64.b64encode(b"v2:a:b").decode(), base64.b64encode(b"\xff").decode(), 1, None):
        code, answer = client.ask("POST", f"{PLACE}/batch-decrypt", {"ciphertexts": [bad]})
        assert code == 400, bad
        assert answer["message"]
    assert client.ask("POST", f"{PLACE}/batch-encrypt", {})[0] == 400
    served.close()
    without = served.open(files)
    code, answer = without.ask("POST", f"{PLACE}/encrypt", {"plaintext": ""})
    assert (code, "secrets provider of its own" in answer["message"]) == (400, True)


class Crash(BaseException):
    """The machine goes off."""


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
def test_a_run_that_is_cut_off_anywhere_is_replayed(
    files: FileStore, monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    """At each of its steps on the disk, before and after; then the next one goes on from what was acknowledged."""
    if zipped:
        (path,) = (files.root / ".pulumi" / "stacks").rglob(f"{STACK}.json")
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    empty = files.find(STACK)
    whole = [[made("root")], [made("one", operation=2)], [begun("two")]]
    moments = 0
    for moment in count():
        after, steps = divmod(moment, 2)[1], iter(range(moment // 2, -1, -1))

        def step(real: Any, *arguments: Any, after: int = after, steps: Any = steps, **more: Any) -> Any:
            last = next(steps, None) == 0
            if last and not after:
                raise Crash
            found = real(*arguments, **more)
            if last:
                raise Crash
            return found

        written, acknowledged, crashed = 0, 0, False
        with monkeypatch.context() as patch:
            for module, name in (
                ("wecityctl.engine.state.store_file", "write_private"),
                ("wecityctl.engine.state.store", "conclude"),
                ("wecityctl.journal.file.os", "fdatasync"),
            ):
                real = getattr(__import__(module.removesuffix(".os"), fromlist=["x"]), name, None) or os.fdatasync
                patch.setattr(f"{module}.{name}", lambda *a, real=real, **k: step(real, *a, **k))
            patch.setattr(Path, "unlink", lambda path, real=Path.unlink, **more: step(real, path, **more))
            try:
                run = Running(files, STACK, About("update"))
                for batch in whole:
                    written += 1
                    run.append(batch)
                    acknowledged += 1
                run.complete(succeeded=True)
            except Crash:
                crashed = True
        # The machine is another's now: whoever held the lock is dead.
        if (files.root / layout.lock_note(STACK)).exists():
            write_private((files.root / layout.lock_note(STACK)), json.dumps(dead(files).to_json()).encode())
        break_dead(_Backend(files), STACK)  # type: ignore[arg-type]
        found = [f"wecity-{STACK}", "one"]
        assert urns(files) in ([found[:acknowledged], found[:written]] if acknowledged < 3 else [found])
        assert not files.journal(STACK).exists()
        assert locks_on(files, STACK) == []
        assert list(files.root.rglob("*.gz")) if zipped else True
        files.put(*empty)
        moments += 1
        if not crashed:
            break
    assert moments > 20


DEAD = dead_process()


def dead(files: FileStore) -> Any:
    """A process that is gone, with the lock's number."""
    from dataclasses import replace

    found = locks_on(files, STACK)
    return replace(DEAD, pid=found[0].pid) if found else DEAD


class _Backend:
    def __init__(self, files: FileStore) -> None:
        self.states = files


def test_two_that_lock_in_one_moment_do_not_both_get_it(files: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    real = write_private

    def slowly(path: Path, data: bytes) -> None:
        real(path, data)
        if path.parent == (files.root / layout.LOCKS / STACK):
            write_private(path.with_name("other.json"), json.dumps({"pid": 1, "hostname": "elsewhere"}).encode())

    monkeypatch.setattr("wecityctl.engine.state.store_file.write_private", slowly)
    with pytest.raises(LockedError, match="locked"):
        take(files, STACK)
    assert [path.name for path in (files.root / layout.LOCKS / STACK).iterdir()] == ["other.json"]


def test_a_lock_that_was_taken_away_is_told_and_the_journal_stays(files: FileStore) -> None:
    """`pulumi cancel` while the engine runs."""
    run = Running(files, STACK, About("update"))
    run.append([made("root")])
    for lock in locks_on(files, STACK):
        files.delete(lock.key)
    with pytest.raises(LockedError, match="taken away"):
        run.complete(succeeded=True)
    break_dead(_Backend(files), STACK)  # type: ignore[arg-type]
    assert urns(files) == [f"wecity-{STACK}"]


def test_a_state_that_was_changed_past_the_lock_is_not_overwritten(files: FileStore) -> None:
    run = Running(files, STACK, About("update"))
    run.append([made("root")])
    (path,) = (files.root / ".pulumi" / "stacks").rglob(f"{STACK}.json")
    text = path.read_text().replace(STACK, STACK + " ")
    path.write_text(text)
    with pytest.raises(DeploymentError, match="was changed while"):
        run.complete(succeeded=True)
    with pytest.raises(DeploymentError, match="was changed while"):
        files.read(STACK)
    assert path.read_text() == text


def test_a_journal_that_cannot_be_replayed_is_told_with_its_place(files: FileStore) -> None:
    run = Running(files, STACK, About("update"))
    run.append([made("root", removeOld=7)])
    with pytest.raises(DeploymentError, match="cannot be replayed") as refused:
        run.complete(succeeded=True)
    assert str(files.journal(STACK)) in refused.value.details
    assert files.journal(STACK).exists()


def test_a_preview_has_no_journal(files: FileStore) -> None:
    with pytest.raises(WecityError, match="no journal"):
        updates.Shown(About("preview")).append([made("root")])
