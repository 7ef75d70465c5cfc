"""Notification with a real PostgreSQL, mail relay and gateway: what is accepted is sent, and each app has its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from stacks.platforms.application import notification
from stacks.platforms.application.notification.health import PROBE
from stacks.platforms.application.notification.provision import PROVISIONER
from stacks.platforms.application.notification.telling import TELLER
from tests.docs.blocks import ROOT, blocks_of
from tests.images.app_databases import Database
from tests.images.notification import FROM, OTHER, SENDER, TOKEN, Gateway, Relay, Server, serving
from tests.images.rootfs import RootFilesystem, needs_root, wait_for
from tests.support.pki import Authority
from tests.support.postgres_server import postgres_server
from wecityctl.model.city import City
from wecityctl.model.notification import Channel, Notification

Unpacked = Callable[[str], RootFilesystem]
pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(500)]

HOW_TO = ROOT / "docs" / "how-to" / "notify-people.md"
QUEUE, SECOND = "capability_notification_db", "capability_second_db"
ANN = "ann@example.org"


def test_the_go_packages() -> None:
    """Their own tests: templates, receivers, mails, addresses and pauses."""
    done = subprocess.run(
        ["go", "test", "-trimpath", "-buildvcs=false", "-mod=readonly", "-vet=off", "./..."],
        cwd=Path(notification.__file__).parent / "image/go",
        env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", "GOWORK": "off"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("notification")
    for parent in (found, *found.parents[:3]):
        parent.chmod(parent.stat().st_mode | 0o055)
    return found


@pytest.fixture(scope="module")
def database() -> Iterator[Database]:
    with postgres_server() as server:
        found = Database(server)
        found.prepare()
        found.account(QUEUE, "capability/notification/db")
        found.account(SECOND, "capability/second/db")
        yield found


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture(scope="module")
def relay(authority: Authority, place: Path) -> Iterator[Relay]:
    found = Relay(authority, place)
    found.start()
    yield found
    found.stop()


@pytest.fixture(scope="module")
def gateway(authority: Authority, place: Path) -> Iterator[Gateway]:
    found = Gateway()
    with found.running(authority, place):
        yield found


@pytest.fixture(scope="module")
def channels(relay: Relay, gateway: Gateway) -> Notification:
    known = {"authority": "authority"}
    return Notification(
        mail=Channel(server=f"{relay.address}:{relay.port}", sender=FROM, credentials="relay", **known),
        sms=Channel(sink=True),
        webhook=Channel(url=f"https://{relay.address}:{gateway.port}/city/hook", credentials="token", **known),
    )


@pytest.fixture(scope="module")
def server(
    unpacked: Unpacked, database: Database, place: Path, authority: Authority, channels: Notification
) -> Iterator[Server]:
    with serving(unpacked("notification"), database, QUEUE, place, authority, channels, "-pause=500ms") as found:
        for who in (SENDER, OTHER):
            found.account(who)
        yield found


@pytest.mark.proves("notification", "built", "used")
def test_a_mail_reaches_its_receiver_once(server: Server, relay: Relay) -> None:
    assert "sent and read back" in server.script(PROBE)
    (template,) = (json.loads(block.text) for block in blocks_of(HOW_TO) if block.text.startswith('{"channel"'))
    (asked,) = (json.loads(block.text) for block in blocks_of(HOW_TO) if block.text.startswith('{"template"'))
    code, put = server.ask(SENDER, "PUT", "/templates/permit", template)
    assert (code, put["names"]) == (200, ["name", "number"])
    code, said = server.ask(SENDER, "POST", "/messages", asked)
    assert code == 202, said
    found = server.until(said["id"], "sent")
    assert (found["tries"], found["key"], "kept" in found) == (1, asked["key"], False)
    # The same request again is the same message, also when its template is gone.
    assert server.ask(SENDER, "DELETE", "/templates/permit")[0] == 204
    assert server.ask(SENDER, "POST", "/messages", asked) == (202, said)
    code, why = server.ask(SENDER, "POST", "/messages", {**asked, "values": {**asked["values"], "name": "bob"}})
    assert (code, why["field"]) == (409, "key")
    (mail,) = relay.mails[asked["to"]]
    assert mail["Subject"] == template["subject"].replace("{{number}}", asked["values"]["number"])
    assert asked["values"]["name"] in mail.get_content() and "{{" not in mail.get_content()
    assert (mail["From"], mail["To"]) == (FROM, asked["to"])
    assert mail["Message-ID"] == f"<{said['id']}@city.example>"


@pytest.mark.proves("notification", "refused")
def test_a_second_app_reads_and_changes_nothing_of_the_first(server: Server) -> None:
    server.template("own", "sms")
    id = server.accepted("own", "13800138000", "own", what="a secret")
    server.until(id, "sent")
    for path in (f"/messages/{id}", "/templates/own", "/messages/../messages/" + id, "/messages/%00", "/templates/%FF"):
        assert server.ask(OTHER, "GET", path)[0] in (301, 307, 404), path
    assert server.ask(OTHER, "GET", "/templates")[1] == {"templates": []}
    assert server.bring("own", "13800138000", "own", who=OTHER, what="x")[0] == 404
    # It may use the same names and keys, for messages of its own.
    server.template("own", "sms", who=OTHER, text="of the other: {{what}}")
    other = server.accepted("own", "13800138000", "own", who=OTHER, what="x")
    assert other != id
    assert server.until(other, "sent", who=OTHER)["kept"]["text"] == "of the other: x"
    assert server.ask(OTHER, "DELETE", "/templates/own")[0] == 204
    assert server.ask(SENDER, "GET", "/templates/own")[1]["text"] == "{{what}}"
    for who, password in ((SENDER, "another-password"), ("nobody/nobody", "x"), (SENDER, ""), ("probe", "x")):
        assert server.ask(who, "GET", f"/messages/{id}", password=password)[0] == 401
    for path in ("/accounts", "/status"):
        assert server.ask(SENDER, "GET", path)[0] in (401, 404)
    assert server.ask(SENDER, "GET", "/accounts", at_admin=True)[0] == 401


def test_a_sink_keeps_messages_for_their_sender(server: Server) -> None:
    server.template("code", "sms", text="{{code}} 是您的验证码")
    found = server.until(server.accepted("code", "+8613800138000", "k1", code="4711"), "sent")
    assert found["kept"] == {"to": "+8613800138000", "text": "4711 是您的验证码"}
    _, me = server.ask(SENDER, "GET", "/me")
    assert me["channels"] == {"mail": "sends", "sms": "sink", "webhook": "sends"}


def test_what_is_wrong_is_refused_with_field_and_reason(server: Server, relay: Relay) -> None:
    server.template("news", "mail", subject="{{what}}", text="{{what}}")
    for values, to, field, why in (
        ({"what": "x\r\nBcc: all@example.org"}, ANN, "values", "one line"),
        ({}, ANN, "values", "no value"),
        ({"what": "x", "more": "x"}, ANN, "values", "no place"),
        ({"what": "x"}, f"{ANN}\r\nBcc: all@example.org", "to", "one mail address"),
        ({"what": "x"}, f"{ANN}, bob@example.org", "to", "one mail address"),
    ):
        code, said = server.bring("news", to, "wrong", **values)
        assert (code, said["field"], why in said["reason"]) == (400, field, True), said
    for body, field in (
        ({"channel": "fax", "text": "x"}, "channel"),
        ({"channel": "probe", "text": "x"}, "channel"),
        ({"channel": "mail", "subject": "a\nb", "text": "x"}, "subject"),
        ({"channel": "sms", "text": "{{ .Env }}"}, "text"),
        ({"channel": "sms", "text": "x", "html": "x"}, "(document)"),
        (b"{", "(document)"),
    ):
        code, said = server.ask(SENDER, "PUT", "/templates/wrong", body)
        assert (code, said["field"]) == (400, field), said
    assert server.ask(SENDER, "PUT", "/templates/Wrong", {})[1]["field"] == "name"
    assert server.bring("news", ANN, "", what="x")[1]["field"] == "key"
    assert server.ask(SENDER, "POST", "/messages", b" " * 300_000)[0] == 413
    assert not relay.mails.get(ANN)


def test_a_message_waits_for_a_relay_that_is_away(server: Server, relay: Relay) -> None:
    server.template("news", "mail", subject="{{what}}", text="{{what}}")
    relay.stop()
    id = server.accepted("news", "away@example.org", "away", what="later")
    found = server.until(id, "queued", tries=2)
    assert "connection refused" in found["reason"] and found["next"] > found["accepted"]
    _, status = server.ask("admin", "GET", TELLER.path)
    (problem,) = TELLER.judge(status, City("c", "d", (), ()), []).problems
    assert problem.startswith(f"1 message of {SENDER} by mail are tried again: ")
    relay.start()
    found = server.until(id, "sent")
    assert found["tries"] >= 3 and len(relay.mails["away@example.org"]) == 1
    # What the relay says of a receiver for good is not tried again; what it says for now is.
    relay.answers = {"nobody@example.org": "550 no such mailbox", "full@example.org": "452 try later"}
    gone = server.until(server.accepted("news", "nobody@example.org", "gone", what="x"), "failed")
    assert gone["tries"] == 1 and "no such mailbox" in gone["reason"]
    full = server.accepted("news", "full@example.org", "full", what="x")
    server.until(full, "queued", tries=2)
    relay.answers = {}
    server.until(full, "sent")


def test_a_webhook_gets_each_message_with_the_citys_token(server: Server, gateway: Gateway) -> None:
    server.template("duty", "webhook", subject="duty", text="{{what}}")
    id = server.accepted("duty", "parks/duty", "duty", what='"quoted"')
    server.until(id, "sent")
    ((headers, content),) = gateway.posts
    assert (headers["authorization"], headers["idempotency-key"]) == (f"Bearer {TOKEN}", id)
    told = {"channel": "webhook", "tenant": "parks", "app": "web", "to": "parks/duty", "subject": "duty"}
    assert content == {"id": id, **told, "text": '"quoted"'}
    gateway.codes = {"bad": 422, "away": 503, "moved": 302}
    assert server.until(server.accepted("duty", "bad", "bad", what="x"), "failed")["reason"] == "it is answered by 422"
    for to in ("away", "moved"):
        waits = server.accepted("duty", to, f"answered-{to}", what="x")
        assert server.until(waits, "queued", tries=2)["reason"].startswith("it is answered by ")
    gateway.codes = {}
    server.until(waits, "sent")


def test_a_dead_receiver_keeps_no_other_app_waiting(server: Server, gateway: Gateway) -> None:
    for who in (SENDER, OTHER):
        server.template("duty", "webhook", who=who)
    gateway.dead = "dead"
    many = [server.accepted("duty", "dead", f"dead {number}".replace(" ", "-"), what="x") for number in range(30)]
    wait_for("posts that wait", lambda: len(gateway.to("dead")) >= 4 or None, server.process)
    server.until(server.accepted("duty", "alive", "alive", who=OTHER, what="x"), "sent", who=OTHER)
    # Its mail goes on as well.
    server.template("news", "mail", subject="{{what}}", text="{{what}}")
    server.until(server.accepted("news", "beside@example.org", "beside", what="x"), "sent")
    assert len(gateway.to("dead")) == 4
    gateway.dead = ""
    gateway.go.set()
    for id in many:
        server.until(id, "sent")


@pytest.mark.proves("notification", "limited")
def test_an_apps_limits_hold_exactly(server: Server) -> None:
    who = "parks/small"
    server.account(who, connections=1)
    server.template("own", "sms", who=who)
    with ThreadPoolExecutor(8) as pool:
        tried = [pool.submit(server.bring, "own", "110", f"k{n}", who=who, what="x") for n in range(70)]
        codes = [item.result()[0] for item in tried]
    assert (codes.count(202), codes.count(429)) == (60, 10)
    # What was accepted is still answered; the limit is of the account, not of the server's memory.
    key = f"k{codes.index(202)}"
    assert server.bring("own", "110", key, who=who, what="x")[0] == 202
    full = "parks/full"
    server.account(full, storage=3000)
    server.template("own", "sms", who=full)
    ids = [server.accepted("own", "110", f"k{n}", who=full, what="y" * 1000) for n in range(2)]
    code, said = server.bring("own", "110", "k2", who=full, what="y" * 1000)
    assert (code, "may take 3000 bytes" in said["reason"]) == (429, True)
    assert [server.until(id, "sent", who=full)["kept"]["text"] for id in ids] == ["y" * 1000] * 2
    assert re.search(
        f"^account parks.full.notify {full}/notify 2[0-9]{{3}} open -$", server.script(PROVISIONER.inventory), re.M
    )


def test_it_counts_what_it_does(server: Server) -> None:
    code, text = server.ask("admin", "GET", "/metrics", at_admin=True)
    names = set(re.findall(r"^(\w+)[ {]", text, re.MULTILINE))
    asked = " ".join(f"{panel.query} {panel.limit}" for panel in notification.TYPE.dashboard)
    asked += " ".join(item.expression for item in notification.TYPE.alerts)
    asked += " ".join(item.counter for item in notification.TYPE.usage)
    assert code == 200 and set(re.findall(r"wecity_\w+", asked)) <= names
    labels = 'tenant="parks",app="web"'
    for channel, outcome in (("mail", "sent"), ("mail", "failed"), ("mail", "retried"), ("webhook", "failed")):
        line = f'wecity_notification_tries_total{{{labels},channel="{channel}",outcome="{outcome}"}} [1-9]'
        assert re.search(line, text), line
    assert f"wecity_notification_queued{{{labels}}} " in text
    assert 'tenant="capability"' not in text
    told = TELLER.judge(server.ask("admin", "GET", TELLER.path)[1], City("c", "d", (), ()), [])
    assert "sms is kept in a sink" in told.facts


def test_a_kill_loses_nothing_and_sends_at_most_once_more(
    unpacked: Unpacked, database: Database, place: Path, authority: Authority, relay: Relay, channels: Notification
) -> None:
    relay.slow, arguments = "slow@example.org", (database, SECOND, place, authority, channels, "-pause=500ms")
    relay.go.clear()
    relay.came.clear()
    with serving(unpacked("notification"), *arguments) as first:
        first.account(SENDER, connections=1)
        first.template("news", "mail", subject="{{what}}", text="{{what}}")
        slow = first.accepted("news", relay.slow, "slow", what="slow")
        assert relay.came.wait(20)
        # Accepted behind it, as one message is sent at a time.
        others = [first.accepted("news", f"kill{n}@example.org", f"kill{n}", what="x") for n in range(5)]
        first.process.kill()
        first.process.wait()
    relay.go.set()
    with serving(unpacked("notification"), *arguments) as again:
        assert again.until(slow, "sent")["tries"] == 2
        for id in others:
            assert again.until(id, "sent")["tries"] == 1
        assert len({mail["Message-ID"] for mail in relay.mails[relay.slow]}) == 1
        assert len(relay.mails[relay.slow]) == 2
        assert [len(relay.mails[f"kill{n}@example.org"]) for n in range(5)] == [1] * 5
        # A second pod beside it takes messages, and sends none.
        with serving(unpacked("notification"), *arguments) as beside:
            both = [
                each.accepted("news", "both@example.org", f"both{n}", what="x")
                for n, each in enumerate((again, beside))
            ]
            for id in both:
                beside.until(id, "sent")
            assert len(relay.mails["both@example.org"]) == 2


def test_nothing_is_said_to_a_relay_without_starttls_and_messages_are_given_up(
    unpacked: Unpacked, database: Database, place: Path, authority: Authority, channels: Notification
) -> None:
    plain = Relay(None, place)
    plain.start()
    assert channels.mail is not None
    to_plain = replace(channels, mail=replace(channels.mail, server=f"{plain.address}:{plain.port}"))
    arguments = (database, SECOND, place, authority, to_plain, "-pause=500ms", "-patience=1s")
    try:
        with serving(unpacked("notification"), *arguments) as found:
            found.account(SENDER)
            found.template("news", "mail", subject="{{what}}", text="{{what}}")
            gone = found.until(found.accepted("news", ANN, "plain", what="x"), "failed")
            assert gone["reason"] == "the relay does not offer STARTTLS" and gone["tries"] >= 2
    finally:
        plain.stop()
    assert not plain.mails


def test_accounts_rotate_and_end(server: Server) -> None:
    server.template("own", "sms")
    server.account(SENDER, "a-password-of-rotation")
    assert server.ask(SENDER, "GET", "/me")[0] == 401
    assert server.ask(SENDER, "GET", "/templates/own", password="a-password-of-rotation")[0] == 200
    server.account(SENDER)
    name = f"{SENDER.replace('/', '.')}.notify"
    # Of another owner it is left alone.
    server.script(PROVISIONER.deprovision, ACCOUNTS=f"{name} {OTHER}/notify")
    assert server.ask(SENDER, "GET", "/me")[0] == 200
    server.script(PROVISIONER.deprovision, ACCOUNTS=f"{name} {SENDER}/notify")
    assert server.ask(SENDER, "GET", "/me")[0] == 401
    assert re.search(
        f"^account {name} {SENDER}/notify [0-9]+ locked [0-9]+$", server.script(PROVISIONER.inventory), re.M
    )
    server.account(SENDER)
    assert server.ask(SENDER, "GET", "/templates/own")[0] == 200
    server.script(PROVISIONER.delete, ACCOUNTS=f"{name} {SENDER}/notify")
    assert name not in server.script(PROVISIONER.inventory)
    server.account(SENDER)
    assert server.ask(SENDER, "GET", "/templates")[1] == {"templates": []}
