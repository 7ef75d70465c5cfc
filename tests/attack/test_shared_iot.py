"""An app that takes all it can of a shared IoT access, its neighbour in the same one, and devices of both."""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Iterator

import pytest

from stacks.platforms.backups import OCCUPIED
from stacks.platforms.data.iot.access import QUEUE_SHARE
from stacks.platforms.data.iot.backup import SCRIPTS
from stacks.platforms.data.iot.provision import PROVISIONER
from tests.attack.conftest import Unpacked
from tests.attack.iot import (
    PLATFORM,
    Client,
    administrate,
    all_retained,
    closed,
    iot_server,
    ready,
    register,
    server,
    told,
)
from tests.attack.served import ADMIN, PASSWORD, Served, attacked, wait_until
from tests.images.rootfs import needs_root
from wecityctl.model.city import Use

pytestmark = [pytest.mark.build, needs_root, pytest.mark.timeout(300)]

EVE, BOB, GUS = "health.code.iot", "transport.bus.iot", "parks.trees.iot"
CONNECTIONS = 12
# At size small.
RETAINED = 256 * 1024**2 // QUEUE_SHARE


@pytest.fixture(scope="module")
def served(unpacked: Unpacked) -> Iterator[Served]:
    city = attacked(
        ("health", "code", Use("iot", "iot", connections=CONNECTIONS)),
        ("transport", "bus", Use("iot", "iot")),
        ("parks", "trees", Use("iot", "iot")),
        platform=PLATFORM,
    )
    with iot_server(city, unpacked("iot")) as found:
        found.provision()
        yield found


def clear(client: Client, own: str) -> None:
    for topic in all_retained(client, own):
        client.publish(topic, "", retained=True)


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
        "#", "+", "+/#", "+/+", "/#", f"{BOB}/#", f"{BOB}/lamp/state", f"+/lamp/state", f"{EVE}x/#", EVE[:-1],
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
    for topic in (f"{BOB}/x", "x", "$SYS/broker/version", "$CONTROL/dynamic-security/v1", f"$share/g/{BOB}/x"):
        assert eve.publish(topic, control) == "Not authorized", topic
        assert eve.publish(topic, control, retained=True) == "Not authorized", topic
    # Before MQTT 5 a client is not told.
    old = Client(served, EVE, five=False)
    old.publish(f"{BOB}/x", "from eve")
    # What a client would have the server say after its end.
    for retained in (False, True):
        gone = Client(served, EVE, will=(f"{BOB}/x", "from eve"), will_retained=retained)
        assert gone.answer == "Success"
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
        assert Client(served, user, password).answer == "Not authorized"


@pytest.mark.parametrize("version", [0x83, 0x84])
def test_a_bridge_is_not_trusted_as_one(served: Served, version: int) -> None:
    """It is told that this version is not served, and asks again as any client."""
    tls = ssl.create_default_context(cadata=served.authority)
    body = b"".join(len(text).to_bytes(2) + text for text in (b"bridge", EVE.encode(), PASSWORD.encode()))
    name = b"MQTT" if version == 0x84 else b"MQIsdp"
    head = len(name).to_bytes(2) + name + bytes((version, 0xC2, 0, 60))
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
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
    device = Client(served, user, password, five=True)
    assert device.answer == "Success"
    assert device.subscribe(f"{own}/commands/#") == "Granted QoS 1"
    assert bob.publish(f"{own}/commands/light", "on") == "Success"
    assert device.heard() == (f"{own}/commands/light", "on", False)
    bob.subscribe(f"{BOB}/devices/+/light")
    assert device.publish(f"{own}/light", "is on", retained=True) == "Success"
    assert bob.heard() == (f"{own}/light", "is on", False)
    for topic in ("#", f"{own}/#", f"{own}/light", f"{BOB}/#", f"{BOB}/devices/+/commands/#", f"{EVE}/#"):
        assert device.subscribe(topic) == "Not authorized", topic
    for topic in (f"{BOB}/devices/lamp-2/light", f"{BOB}/registry/lamp-2", f"{BOB}/x", f"{EVE}/x", own):
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
    eves = [Client(served, EVE, five=number % 2 == 0) for number in range(CONNECTIONS)]
    assert {eve.answer for eve in eves} == {"Success"}
    assert Client(served, EVE).answer == "Quota exceeded"
    assert Client(served, EVE, five=False).answer == "Server unavailable"
    assert f'wecity_iot_connections{{account="{EVE}",tenant="health",app="code"}} {CONNECTIONS}\n' in told(served)
    bob = Client(served, BOB)
    assert bob.answer == "Success"
    eves.pop().close()
    wait_until(lambda: f'connections{{account="{EVE}",tenant="health",app="code"}} {CONNECTIONS - 1}\n' in told(served))
    eves.append(Client(served, EVE))
    assert eves[-1].answer == "Success"
    closed(*eves, bob)


@pytest.mark.proves("iot", "limited")
def test_an_app_has_as_many_kept_sessions_as_connections(served: Served) -> None:
    for number in range(CONNECTIONS):
        eve = Client(served, EVE, name=f"kept-{number}", kept=True)
        assert eve.answer == "Success"
        eve.close()
    assert Client(served, EVE, name="one-more", kept=True).answer == "Quota exceeded"
    assert Client(served, EVE, name="kept-0", kept=True).found_session
    for number in range(CONNECTIONS):
        Client(served, EVE, name=f"kept-{number}").close()


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


def test_small_retained_messages_all_come_to_whoever_asks(served: Served) -> None:
    """As many as fit, so that a backup has them all: the server queues no fewer for one connection."""
    gus = Client(served, GUS)
    # The front lets so many through at once; each counts for its topic, its text and 256 bytes.
    for number in range(1900):
        gus.send(f"{GUS}/{number}", "x", retained=True)
    gus.publish(f"{GUS}/last", "x", retained=True)
    assert len(all_retained(Client(served, GUS), GUS)) == 1901
    dump = administrate(served, SCRIPTS.dump, ACCOUNT=GUS, OWNER="parks/trees/iot")
    assert sum(line.startswith("retained ") for line in dump.splitlines()) == 1901
    gus.close()
    administrate(served, PROVISIONER.delete, ACCOUNTS=f"{GUS} parks/trees/iot")


def test_a_message_that_is_too_large_ends_its_connection(served: Served) -> None:
    for five, reason in ((True, "Packet too large"), (False, "Unspecified error")):
        eve = Client(served, EVE, five=five)
        eve.send(f"{EVE}/big", "x" * 270_000)
        assert eve.lost() and eve.reason == reason


def test_who_never_says_who_it_is_takes_no_place_for_long(served: Served) -> None:
    context = ssl.create_default_context(cadata=served.authority)
    with socket.create_connection(("127.0.0.1", served.port), 30) as plain:
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as secured:
            assert secured.recv(1) == b""


def test_who_does_not_speak_tls_gets_no_answer(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain:
        plain.sendall(bytes((0x10, 12, 0, 4)) + b"MQTT" + bytes((4, 2, 0, 60, 0, 0)))
        try:
            # A TLS alert, if anything.
            assert plain.recv(1) in (b"", b"\x15")
        except ConnectionError:
            pass
    context = ssl.create_default_context(cadata=served.authority)
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    with socket.create_connection(("127.0.0.1", served.port), 10) as plain, pytest.raises(OSError):
        context.wrap_socket(plain, server_hostname="127.0.0.1")


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


def test_provisioning_again_cuts_nobody_and_a_new_password_does(served: Served) -> None:
    bob = Client(served, BOB)
    served.provision(only=BOB)
    assert bob.publish(f"{BOB}/x") == "Success"
    served.provision(only=BOB, password="another")
    assert bob.lost()
    assert Client(served, BOB).answer == "Not authorized"
    assert Client(served, BOB, "another").answer == "Success"
    served.provision(only=BOB)


def test_the_probe_does_what_apps_do_and_leaves_nothing(served: Served) -> None:
    done = served.probe()
    assert (done.returncode, done.stdout) == (0, "a message was published and retained, read and cleared\n")
    done = served.probe(5, ADMIN_PASSWORD="wrong")
    assert done.returncode != 0


def test_liveness_is_an_answer_of_the_server(served: Served) -> None:
    (command,) = {
        tuple(served.container("mosquitto")[f"{kind}Probe"]["exec"]["command"]) for kind in ("liveness", "startup")
    }
    ((_, port),) = (pair for pair in served.replacing if pair[0] == ":1883")
    words = [word.replace(":1883", port) for word in command]
    assert served.image.run(*words).returncode == 0
    assert served.image.run(*words[:-1], "127.0.0.1:1").returncode == 1


def test_metrics_tell_of_each_app_and_of_the_server(served: Served) -> None:
    bob = Client(served, BOB)
    bob.subscribe(f"{BOB}/x")
    bob.publish(f"{BOB}/x")
    bob.heard()
    labels = f'{{account="{BOB}",tenant="transport",app="bus"}}'
    found = dict(line.rsplit(" ", 1) for line in told(served).splitlines() if not line.startswith("#"))
    assert int(found[f"wecity_iot_received_messages_total{labels}"]) > 0
    assert int(found[f"wecity_iot_sent_messages_total{labels}"]) > 0
    assert int(found[f"wecity_iot_retained_bytes_limit{labels}"]) == RETAINED
    assert 0 < int(found["wecity_volume_bytes_used"]) < int(found["wecity_volume_bytes_size"])
    wait_until(lambda: "wecity_iot_server_stored_bytes " in told(served))
    bob.close()


def test_a_use_that_has_ended_is_locked_kept_and_removed_when_asked_for(served: Served) -> None:
    eve, bob = Client(served, EVE), Client(served, BOB)
    device = Client(served, f"{EVE}/pump", register(eve, EVE, "pump").split(" ")[1], name="d", kept=True)
    assert eve.publish(f"{EVE}/state", "kept", retained=True) == "Success"
    whose = f"{EVE} health/code/iot"
    # One that is not there, and one that is another's, are left alone.
    administrate(served, PROVISIONER.deprovision, ACCOUNTS=f"{whose}\nnobody.x.y nobody/x/y\n{BOB} somebody/else/iot\n")
    assert eve.lost() and device.lost()
    assert Client(served, EVE).answer == "Not authorized"
    assert bob.publish(f"{BOB}/x") == "Success"
    lines = {line.split()[1]: line.split() for line in administrate(served, PROVISIONER.inventory).splitlines()}
    size = len(f"{EVE}/state") + len("kept") + 256
    assert lines[EVE][2:5] == ["-", str(size), "locked"] and abs(int(lines[EVE][5]) - time.time()) < 60
    assert lines[BOB][4:] == ["open", "-"]
    # Locked again: the time stays.
    administrate(served, PROVISIONER.deprovision, ACCOUNTS=whose)
    assert lines[EVE][5] in administrate(served, PROVISIONER.inventory)

    # Opened again: what it had is there, its devices too.
    served.provision(only=EVE)
    eve = Client(served, EVE)
    assert all_retained(eve, EVE) == {f"{EVE}/state": "kept"}
    assert f"{EVE}/pump" in (served.data / "users.json").read_text()  # type: ignore[operator]

    for _ in range(2):
        administrate(served, PROVISIONER.delete, ACCOUNTS=whose)
    assert eve.lost()
    assert EVE not in administrate(served, PROVISIONER.inventory)
    wait_until(lambda: EVE not in (served.data / "users.json").read_text())  # type: ignore[operator]
    # Nothing of it comes to whoever has the name afterwards, not even a session.
    wait_until(lambda: f"{EVE}/pump:d" not in (served.data / "sessions.json").read_text())  # type: ignore[operator]
    served.provision(only=EVE)
    eve = Client(served, EVE)
    assert all_retained(eve, EVE) == {}
    device = Client(
        served, f"{EVE}/pump", register(Client(served, EVE), EVE, "pump").split(" ")[1], name="d", kept=True
    )
    assert not device.found_session
    assert register(Client(served, EVE), EVE, "pump", "remove") == "removed"
    closed(eve, bob)


def test_what_was_backed_up_is_restored_elsewhere_with_devices(served: Served) -> None:
    eve = Client(served, EVE)
    password = register(eve, EVE, "pump").split(" ")[1]
    assert eve.publish(f"{EVE}/états/\u6811", "\u6986\u6811\n", retained=True) == "Success"
    owner = {"ACCOUNT": EVE, "OWNER": "health/code/iot"}
    dump = administrate(served, SCRIPTS.dump, **owner)
    how = {"REPLACE": "no", "CHANGED": "/tmp/changed"}
    assert "has retained messages or devices" in administrate(served, SCRIPTS.restore, dump, OCCUPIED, **owner, **how)

    administrate(served, PROVISIONER.delete, ACCOUNTS=f"{EVE} health/code/iot")
    # An account that is not there is made locked, and provisioning opens it.
    administrate(served, SCRIPTS.restore, dump, **owner, **how)
    assert Client(served, EVE).answer == "Not authorized"
    served.provision(only=EVE)
    eve = Client(served, EVE)
    assert all_retained(eve, EVE) == {f"{EVE}/états/\u6811": "\u6986\u6811\n"}
    assert Client(served, f"{EVE}/pump", password).answer == "Success"

    # In the place of what came since; a backup without its end is an error.
    assert eve.publish(f"{EVE}/since", "x", retained=True) == "Success"
    administrate(served, SCRIPTS.restore, dump, **{**owner, **how, "REPLACE": "yes"})
    assert all_retained(Client(served, EVE), EVE) == {f"{EVE}/états/\u6811": "\u6986\u6811\n"}
    half = dump.removesuffix("end\n")
    assert half != dump
    said = administrate(served, SCRIPTS.restore, half, 1, **{**owner, **how, "REPLACE": "yes"})
    assert "the stream ends before its end" in said
    eve = Client(served, EVE)
    clear(eve, EVE)
    assert register(Client(served, EVE), EVE, "pump", "remove") == "removed"


def test_a_server_that_is_started_anew_has_all_of_it(served: Served) -> None:
    bob = Client(served, BOB)
    password = register(bob, BOB, "gate").split(" ")[1]
    bob.publish(f"{BOB}/state", "kept", retained=True)
    away = Client(served, BOB, name="away", kept=True)
    away.subscribe(f"{BOB}/news")
    away.close()
    bob.publish(f"{BOB}/news", "missed")
    # As the kubelet ends a container.
    os.killpg(served.groups["mosquitto"], signal.SIGTERM)
    assert bob.lost()
    wait_until(lambda: not ready(served))
    with server(served):
        wait_until(lambda: ready(served))
        bob = Client(served, BOB)
        assert all_retained(bob, BOB) == {f"{BOB}/state": "kept"}
        assert Client(served, f"{BOB}/gate", password).answer == "Success"
        back = Client(served, BOB, name="away", kept=True)
        assert back.found_session and back.heard()[1] == "missed"
        assert served.probe().returncode == 0
