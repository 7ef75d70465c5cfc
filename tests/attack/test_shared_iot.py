"""An app that takes all it can of a shared IoT access, its neighbour in the same one, and devices of both."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stacks.platforms.data.iot.access import QUEUE_SHARE
from stacks.platforms.data.iot.provision import PROVISIONER
from tests.attack.conftest import Unpacked
from tests.attack.iot import (
    PLATFORM,
    Client,
    administrate,
    all_retained,
    clear,
    closed,
    iot_server,
    measured,
    register,
)
from tests.attack.served import PASSWORD, Served, attacked, wait_until
from tests.docs.blocks import ROOT
from tests.images.rootfs import needs_root
from wecityctl.model.city import Use

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

EVE, BOB = "health.code.iot", "transport.bus.iot"
CONNECTIONS = 12
# At size small.
RETAINED = 256 * 1024**2 // QUEUE_SHARE


@pytest.fixture(scope="module")
def served(unpacked: Unpacked) -> Iterator[Served]:
    city = attacked(
        ("health", "code", Use("iot", "iot", connections=CONNECTIONS)),
        ("transport", "bus", Use("iot", "iot")),
        platform=PLATFORM,
    )
    with iot_server(city, unpacked("iot")) as found:
        found.provision()
        yield found


@pytest.mark.proves("iot", "built", "used")
@pytest.mark.parametrize("five", [True, False])
def test_an_app_does_what_apps_do(served: Served, five: bool) -> None:
    app, other = (Client(served, BOB, five=five) for _ in range(2))
    assert app.subscribe(f"{BOB}/+/state", 2) == "Granted QoS 2"
    for qos in (0, 1, 2):
        assert other.publish(f"{BOB}/lamp/state", f"on {qos}", qos=qos) == "Success"
        assert app.heard() == (f"{BOB}/lamp/state", f"on {qos}", False)
    other.publish(f"{BOB}/lamp/state", "off", retained=True)
    assert app.heard()[1] == "off"
    late = Client(served, BOB, five=five)
    assert all_retained(late, BOB) == {f"{BOB}/lamp/state": "off"}
    clear(late, BOB)
    closed(app, other, late)


def test_the_program_of_the_page_needs_nothing_but_the_binding(served: Served, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "how-to" / "connect-devices.md").read_text()
    program = page.partition("```python\n")[2].partition("```\n")[0]
    binding = {"host": "127.0.0.1", "port": str(served.port), "username": BOB, "password": PASSWORD}
    binding |= {"prefix": f"{BOB}/", "ca.crt": served.authority}
    (tmp_path / "sensors").mkdir()
    for name, text in binding.items():
        (tmp_path / "sensors" / name).write_text(text)
    environment = {**os.environ, "SERVICE_BINDING_ROOT": str(tmp_path)}
    command = [sys.executable, "-u", "-c", program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            topic, _, password = process.stdout.readline().strip().partition(" password ")
            assert topic == "registry/well-7/answer"
            well = Client(served, f"{BOB}/well-7", password)
            well.publish(f"{BOB}/devices/well-7/level", "3.1 m")
            assert process.stdout.readline() == "devices/well-7/level 3.1 m\n"
        finally:
            process.kill()
    bob = Client(served, BOB)
    assert register(bob, BOB, "well-7", "remove") == "removed"
    assert well.lost()
    bob.close()


def test_messages_are_shared_out_among_the_clients_of_an_app(served: Served) -> None:
    workers = [Client(served, BOB) for _ in range(2)]
    for worker in workers:
        assert worker.subscribe(f"$share/workers/{BOB}/jobs") == "Granted QoS 1"
    for number in range(4):
        workers[0].publish(f"{BOB}/jobs", str(number))
    assert sorted(worker.heard()[1] for worker in (*workers, *workers)) == ["0", "1", "2", "3"]
    closed(*workers)


@pytest.mark.parametrize("five", [True, False])
def test_a_session_that_is_kept_gets_what_was_sent_meanwhile(served: Served, five: bool) -> None:
    away = Client(served, BOB, name="away", five=five, kept=True)
    away.subscribe(f"{BOB}/news")
    away.drop()
    sender = Client(served, BOB)
    sender.publish(f"{BOB}/news", "missed")
    back = Client(served, BOB, name="away", five=five, kept=True)
    assert back.found_session and back.heard()[1] == "missed"
    back.close()
    # Without being kept, it is forgotten.
    closed(Client(served, BOB, name="away", five=five), sender)


@pytest.mark.proves("iot", "refused")
def test_nobody_subscribes_beyond_an_apps_own_topics(served: Served) -> None:
    eve = Client(served, EVE)
    for topic in (
        "#", "+", "+/#", "+/+", "/#", f"{BOB}/#", f"{BOB}/lamp/state", "+/lamp/state", f"{EVE}x/#", EVE[:-1],
        "$share/g/#", "$share/g/+/x", f"$share/g/{BOB}/#", f"$share/{EVE}/{BOB}/x", f"$share/{BOB}/#",
        "$SYS/#", "$SYS/broker/version", "$CONTROL/#", "$CONTROL/dynamic-security/v1/response", "wecity.probe/#",
    ):  # fmt: skip
        assert eve.subscribe(topic) == "Not authorized", topic
    eve.close()


@pytest.mark.proves("iot", "refused")
def test_nobody_publishes_beyond_an_apps_own_topics(served: Served) -> None:
    bob, eve = Client(served, BOB), Client(served, EVE)
    assert bob.subscribe(f"{BOB}/#").startswith("Granted")
    control = '{"commands":[{"command":"setClientPassword","username":"admin","password":"mine"}]}'
    for topic in (f"{BOB}/x", "x", "$SYS/broker/version", "$CONTROL/dynamic-security/v1"):
        assert eve.publish(topic, control) == "Not authorized", topic
        assert eve.publish(topic, control, retained=True) == "Not authorized", topic
    # Before MQTT 5 a client is not told.
    old = Client(served, EVE, five=False)
    old.publish(f"{BOB}/x", "from eve")
    # What a client would have the server say after its end.
    for retained in (False, True):
        gone = Client(served, EVE, will=(f"{BOB}/x", "from eve"), will_retained=retained)
        gone.drop()
    own = Client(served, EVE, will=(f"{EVE}/gone", "bye"))
    eve.subscribe(f"{EVE}/gone")
    own.drop()
    assert eve.heard() == (f"{EVE}/gone", "bye", False)
    bob.publish(f"{BOB}/x", "end")
    assert bob.heard_until("end") == []
    assert all_retained(bob, BOB) == {}
    assert "account" in administrate(served, PROVISIONER.inventory)
    closed(bob, eve, old)


def test_nobody_takes_over_anothers_client_or_session(served: Served) -> None:
    bob = Client(served, BOB, name="station", kept=True)
    bob.subscribe(f"{BOB}/secret")
    eves = [Client(served, EVE, name=name, kept=True) for name in ("station", f"{BOB}:station", f"{BOB}/station")]
    assert not any(eve.found_session for eve in eves)
    bob.publish(f"{BOB}/secret", "for bob")
    assert bob.heard()[1] == "for bob"
    bob.drop()
    other = Client(served, BOB)
    other.publish(f"{BOB}/secret", "while away")
    closed(*eves)
    again = Client(served, EVE, name="station", kept=True)
    again.subscribe(f"{EVE}/end")
    again.publish(f"{EVE}/end", "end")
    assert again.heard_until("end") == []
    back = Client(served, BOB, name="station", kept=True)
    assert back.found_session and back.heard()[1] == "while away"
    closed(again, back, other)
    for user, name in ((EVE, "station"), (EVE, f"{BOB}:station"), (EVE, f"{BOB}/station"), (BOB, "station")):
        Client(served, user, name=name).close()


def test_who_has_a_wrong_password_or_none_is_refused(served: Served) -> None:
    for user, password in ((EVE, "wrong"), (EVE, ""), ("nobody", PASSWORD), ("", ""), ("admin", PASSWORD)):
        assert Client(served, user, password).answer in ("Not authorized", "Bad user name or password"), user


@pytest.mark.parametrize("version", [0x83, 0x84])
def test_a_bridge_is_not_trusted_as_one(served: Served, version: int) -> None:
    """It is told that this version is not served, and asks again as any client."""
    tls = ssl.create_default_context(cadata=served.authority)
    body = b"".join(len(text).to_bytes(2) + text for text in (b"bridge", EVE.encode(), PASSWORD.encode()))
    name = b"MQTT" if version == 0x84 else b"MQIsdp"
    head = len(name).to_bytes(2) + name + bytes((version, 0xC2, 0, 60))
    plain = socket.create_connection(("127.0.0.1", served.port), 10)
    with tls.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
        secured.sendall(bytes((0x10, len(head) + len(body))) + head + body)
        # Source: MQTT 3.1.1, 3.2.2.3: unacceptable protocol version.
        assert secured.recv(4) == bytes((0x20, 2, 0, 1))


@pytest.mark.proves("iot", "refused")
def test_a_device_has_its_own_topics_alone(served: Served) -> None:
    bob = Client(served, BOB)
    said = register(bob, BOB, "lamp-1")
    assert re.fullmatch(r"password [\w-]{43}", said)
    password = said.split(" ")[1]
    user, own = f"{BOB}/lamp-1", f"{BOB}/devices/lamp-1"
    device = Client(served, user, password)
    assert device.answer == "Success"
    assert device.subscribe(f"{own}/commands/#") == "Granted QoS 1"
    assert bob.publish(f"{own}/commands/light", "on") == "Success"
    assert device.heard() == (f"{own}/commands/light", "on", False)
    bob.subscribe(f"{BOB}/devices/+/light")
    assert device.publish(f"{own}/light", "is on", retained=True) == "Success"
    assert bob.heard() == (f"{own}/light", "is on", False)
    for topic in ("#", f"{own}/#", f"{own}/light", f"{BOB}/#", f"{BOB}/devices/+/commands/#", f"{EVE}/#"):
        assert device.subscribe(topic) == "Not authorized", topic
    for topic in (f"{BOB}/devices/lamp-2/light", f"{BOB}/registry/lamp-2", f"{BOB}/x", f"{EVE}/x", f"{own}2"):
        assert device.publish(topic, "add") == "Not authorized", topic

    # A second time: another password, and the first lets nobody in any longer.
    assert register(bob, BOB, "lamp-1") != said
    assert device.lost()
    assert Client(served, user, password).answer == "Not authorized"
    # Removed: what it has retained is the app's to clear.
    fresh = Client(served, user, register(bob, BOB, "lamp-1").split(" ")[1])
    assert register(bob, BOB, "lamp-1", "remove") == "removed"
    assert fresh.lost()
    reader = Client(served, BOB)
    assert all_retained(reader, BOB) == {f"{own}/light": "is on"}
    clear(reader, BOB)
    closed(bob, reader)


def test_what_is_no_device_is_said(served: Served) -> None:
    eve = Client(served, EVE)
    assert register(eve, EVE, "Lamp").startswith("error: a device's name has")
    assert register(eve, EVE, "lamp", "destroy") == "error: publish add or remove"
    eve.close()


@pytest.mark.proves("iot", "limited")
def test_an_app_has_its_connections_and_no_more(served: Served) -> None:
    wait_until(lambda: measured(served, EVE, "connections") == 0)
    eves = [Client(served, EVE, five=number % 2 == 0) for number in range(CONNECTIONS)]
    assert {eve.answer for eve in eves} == {"Success"}
    assert Client(served, EVE).answer == "Quota exceeded"
    assert Client(served, EVE, five=False).answer == "Server unavailable"
    assert measured(served, EVE, "connections") == CONNECTIONS
    bob = Client(served, BOB)
    assert bob.answer == "Success"
    eves.pop().close()
    wait_until(lambda: measured(served, EVE, "connections") == CONNECTIONS - 1)
    eves.append(Client(served, EVE))
    assert eves[-1].answer == "Success"
    closed(*eves, bob)


@pytest.mark.proves("iot", "limited")
def test_an_app_has_as_many_kept_sessions_as_connections(served: Served) -> None:
    wait_until(lambda: measured(served, EVE, "connections") + measured(served, EVE, "sessions") == 0)
    for number in range(CONNECTIONS):
        eve = Client(served, EVE, name=f"kept-{number}", kept=True)
        assert eve.answer == "Success"
        eve.close()
        wait_until(lambda: measured(served, EVE, "connections") == 0)
    assert Client(served, EVE, name="one-more", kept=True).answer == "Quota exceeded"
    assert Client(served, EVE, name="kept-0", kept=True).found_session
    for number in range(CONNECTIONS):
        # Not kept any longer, it is forgotten, here and by the server.
        Client(served, EVE, name=f"kept-{number}").close()
    assert measured(served, EVE, "sessions") == 0


@pytest.mark.proves("iot", "limited")
def test_an_apps_retained_messages_end_at_its_limit(served: Served) -> None:
    eve, bob = Client(served, EVE), Client(served, BOB)
    text = "x" * 200_000
    said = [eve.publish(f"{EVE}/fill/{number}", text, retained=True) for number in range(RETAINED // len(text) + 1)]
    assert said[:-1] == ["Success"] * (len(said) - 1) and said[-1] == "Quota exceeded"
    # Everything else goes on, for the app and for others.
    assert eve.publish(f"{EVE}/fill/0", "changed") == "Success"
    assert bob.publish(f"{BOB}/state", "on", retained=True) == "Success"
    # A will is retained after its client's end: there is no room for it either.
    will = (f"{EVE}/fill/will", "y" * 50_000)
    assert Client(served, EVE, will=will, will_retained=True).answer == "Quota exceeded"
    # Who speaks an older version cannot be told, and loses its connection.
    old = Client(served, EVE, five=False)
    old.send(f"{EVE}/fill/more", text, retained=True)
    assert old.lost()
    wait_until(lambda: served.logged(f"{EVE} holds"))
    # All that there is comes to whoever asks, and with room again it goes on.
    assert len(all_retained(eve, EVE)) == len(said) - 1
    assert eve.publish(f"{EVE}/fill/0", "", retained=True) == "Success"
    assert eve.publish(f"{EVE}/fill/more", text, retained=True) == "Success"
    closed(eve, bob)
    for account in (EVE, BOB):
        client = Client(served, account)
        clear(client, account)
        client.close()


def test_a_message_that_is_too_large_ends_its_connection(served: Served) -> None:
    ended = f"the connection of {EVE} is ended by reason 0x95"
    for count, five in enumerate((True, False), 1):
        eve = Client(served, EVE, five=five)
        eve.send(f"{EVE}/big", "x" * 270_000)
        # The client does not tell the reason of a DISCONNECT that has no properties.
        assert eve.lost()
        wait_until(lambda wanted=count: sum(ended in line for line in served.log) == wanted)


def test_who_never_says_who_it_is_takes_no_place_for_long(served: Served) -> None:
    context = ssl.create_default_context(cadata=served.authority)
    plain = socket.create_connection(("127.0.0.1", served.port), 30)
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
        assert secured.recv(1) == b""


def test_who_does_not_speak_tls_gets_no_answer(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
        plain.sendall(bytes((0x10, 12, 0, 4)) + b"MQTT" + bytes((4, 2, 0, 60, 0, 0)))
        with contextlib.suppress(ConnectionError):
            # A TLS alert, if anything.
            assert plain.recv(1) in (b"", b"\x15")


def test_a_renewed_certificate_is_served_without_a_restart(served: Served) -> None:
    bob, before = Client(served, BOB), served.certificate()
    served.certify()
    wait_until(lambda: served.certificate() != before)
    assert Client(served, BOB).answer == "Success"
    assert bob.publish(f"{BOB}/x") == "Success"
    assert served.logged("takes over its renewed certificate")


def test_a_server_of_another_authority_is_refused(served: Served) -> None:
    with served.certified_by_others():
        with pytest.raises(ssl.SSLCertVerificationError):
            Client(served, BOB)
        assert "failed to verify certificate" in served.provision(code=1)
