"""Accounts of a shared IoT access: provisioned, locked, removed, backed up, and still there after a restart."""

from __future__ import annotations

import os
import signal
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
    clear,
    closed,
    iot_server,
    measured,
    ready,
    register,
    server,
    told,
)
from tests.attack.served import Served, attacked, wait_until
from tests.images.rootfs import needs_root
from wecityctl.model.city import Use

pytestmark = [pytest.mark.build, pytest.mark.by_digest, needs_root, pytest.mark.timeout(300)]

EVE, BOB, GUS = "health.code.iot", "transport.bus.iot", "parks.trees.iot"
WHOSE = f"{EVE} health/code/iot"


@pytest.fixture(scope="module")
def served(unpacked: Unpacked) -> Iterator[Served]:
    users = (("health", "code"), ("transport", "bus"), ("parks", "trees"))
    city = attacked(*((*user, Use("iot", "iot")) for user in users), platform=PLATFORM)
    with iot_server(city, unpacked("iot")) as found:
        found.provision()
        yield found


def text_of(served: Served, name: str) -> str:
    """A file on the volume, empty if there is none."""
    assert served.data is not None
    path = served.data / name
    return path.read_text() if path.is_file() else ""


def test_small_retained_messages_all_come_to_whoever_asks(served: Served) -> None:
    """So that a backup has them all: the server queues as many for one connection as an account may have."""
    gus = Client(served, GUS)
    # As many as the front lets through at once.
    for number in range(1900):
        gus.send(f"{GUS}/{number}", "x", retained=True)
    gus.publish(f"{GUS}/last", "x", retained=True)
    assert len(all_retained(gus, GUS)) == 1901
    dump = administrate(served, SCRIPTS.dump, {"ACCOUNT": GUS, "OWNER": "parks/trees/iot"})
    assert sum(line.startswith("retained ") for line in dump.splitlines()) == 1901
    gus.close()
    administrate(served, PROVISIONER.delete, {"ACCOUNTS": f"{GUS} parks/trees/iot"})


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
    assert done.returncode == 0 and "a message was published and retained, read and cleared" in done.stdout
    assert served.probe(5, ADMIN_PASSWORD="wrong").returncode != 0


def test_liveness_is_an_answer_of_the_server(served: Served) -> None:
    probes = (served.container("mosquitto")[f"{kind}Probe"] for kind in ("liveness", "startup"))
    (command,) = {tuple(probe["exec"]["command"]) for probe in probes}
    ((_, port),) = (pair for pair in served.replacing if pair[0] == ":1883")
    assert served.image.run(*(word.replace(":1883", port) for word in command)).returncode == 0
    assert served.image.run(*(word.replace(":1883", ":1") for word in command)).returncode == 1


def test_metrics_tell_of_each_app_and_of_the_server(served: Served) -> None:
    bob = Client(served, BOB)
    bob.subscribe(f"{BOB}/x")
    bob.publish(f"{BOB}/x")
    bob.heard()
    assert measured(served, BOB, "received_messages_total") > 0
    assert measured(served, BOB, "sent_messages_total") > 0
    # At size small.
    assert measured(served, BOB, "retained_bytes_limit") == 256 * 1024**2 // QUEUE_SHARE
    found = dict(line.rsplit(" ", 1) for line in told(served).splitlines() if not line.startswith("#"))
    assert 0 < int(found["wecity_volume_bytes_used"]) < int(found["wecity_volume_bytes_size"])
    wait_until(lambda: "wecity_iot_server_stored_bytes " in told(served))
    bob.close()


def test_the_server_goes_on_when_devices_go(served: Served) -> None:
    """Its plug-in ends with a segmentation fault, mostly, where a role goes before its user."""
    eve, bob = Client(served, EVE), Client(served, BOB)
    devices = [f"d{number}" for number in range(10)]
    assert all(register(eve, EVE, device).startswith("password ") for device in devices)
    assert [register(eve, EVE, device, "remove") for device in devices] == ["removed"] * len(devices)
    assert bob.publish(f"{BOB}/x") == "Success"
    closed(eve, bob)


def test_a_use_that_has_ended_is_locked_kept_and_removed_when_asked_for(served: Served) -> None:
    eve, bob = Client(served, EVE), Client(served, BOB)
    password = register(eve, EVE, "pump").split(" ")[1]
    device = Client(served, f"{EVE}/pump", password, name="d", kept=True)
    assert eve.publish(f"{EVE}/state", "kept", retained=True) == "Success"
    wait_until(lambda: f"{EVE}/pump:d" in text_of(served, "sessions.json"))
    # One that is not there, and one that is another's, are left alone.
    others = f"nobody.x.y nobody/x/y\n{BOB} somebody/else/iot\n"
    administrate(served, PROVISIONER.deprovision, {"ACCOUNTS": f"{WHOSE}\n{others}"})
    assert eve.lost() and device.lost()
    assert Client(served, EVE).answer == "Not authorized"
    assert Client(served, f"{EVE}/pump", password).answer == "Not authorized"
    assert bob.publish(f"{BOB}/x") == "Success"
    lines = {line.split()[1]: line.split() for line in administrate(served, PROVISIONER.inventory).splitlines()}
    size = len(f"{EVE}/state") + len("kept") + 256
    assert lines[EVE][2:5] == ["-", str(size), "locked"] and abs(int(lines[EVE][5]) - time.time()) < 60
    assert lines[BOB][4:] == ["open", "-"]
    # Locked again: the time stays.
    administrate(served, PROVISIONER.deprovision, {"ACCOUNTS": WHOSE})
    assert f"locked {lines[EVE][5]}\n" in administrate(served, PROVISIONER.inventory)

    # Opened again: what it had is there.
    served.provision(only=EVE)
    eve = Client(served, EVE)
    assert all_retained(eve, EVE) == {f"{EVE}/state": "kept"}
    assert Client(served, f"{EVE}/pump", password).answer == "Success"

    for _ in range(2):
        administrate(served, PROVISIONER.delete, {"ACCOUNTS": WHOSE})
    assert eve.lost()
    assert EVE not in administrate(served, PROVISIONER.inventory)
    assert EVE not in text_of(served, "users.json")
    # Nothing of it comes to whoever has the name afterwards, not even a session.
    wait_until(lambda: f"{EVE}/pump:d" not in text_of(served, "sessions.json"))
    served.provision(only=EVE)
    eve, app = Client(served, EVE), Client(served, EVE)
    assert all_retained(eve, EVE) == {}
    password = register(app, EVE, "pump").split(" ")[1]
    assert not Client(served, f"{EVE}/pump", password, name="d", kept=True).found_session
    assert register(app, EVE, "pump", "remove") == "removed"
    closed(eve, app, bob)


def test_what_was_backed_up_is_restored_elsewhere_with_devices(served: Served) -> None:
    eve, topic, tree = Client(served, EVE), f"{EVE}/états/树", "榆树\n"
    password = register(eve, EVE, "pump").split(" ")[1]
    assert eve.publish(topic, tree, retained=True) == "Success"
    owner = {"ACCOUNT": EVE, "OWNER": "health/code/iot"}
    dump = administrate(served, SCRIPTS.dump, owner)
    how = {**owner, "REPLACE": "no", "CHANGED": "/tmp/changed"}
    said = administrate(served, SCRIPTS.restore, how, given=dump, code=OCCUPIED)
    assert "has retained messages or devices" in said

    administrate(served, PROVISIONER.delete, {"ACCOUNTS": WHOSE})
    # An account that is not there is made locked, with its devices, and provisioning opens it.
    administrate(served, SCRIPTS.restore, how, given=dump)
    for user, secret in ((EVE, "apps-password"), (f"{EVE}/pump", password)):
        assert Client(served, user, secret).answer == "Not authorized"
    served.provision(only=EVE)
    assert Client(served, f"{EVE}/pump", password).answer == "Success"
    assert all_retained(Client(served, EVE), EVE) == {topic: tree}

    # In the place of what came since; a backup without its end is an error.
    eve = Client(served, EVE)
    assert eve.publish(f"{EVE}/since", "x", retained=True) == "Success"
    how["REPLACE"] = "yes"
    administrate(served, SCRIPTS.restore, how, given=dump)
    assert all_retained(Client(served, EVE), EVE) == {topic: tree}
    half = dump.removesuffix("end\n")
    assert half != dump
    assert "the stream ends before its end" in administrate(served, SCRIPTS.restore, how, given=half, code=1)
    clear(Client(served, EVE), EVE)
    assert register(Client(served, EVE), EVE, "pump", "remove") == "removed"


def test_a_server_that_is_started_anew_has_all_of_it(served: Served) -> None:
    """The last test: the server that it ends is not the fixture's any longer."""
    bob, sender = Client(served, BOB), Client(served, BOB)
    password = register(bob, BOB, "gate").split(" ")[1]
    sender.publish(f"{BOB}/state", "kept", retained=True)
    away = Client(served, BOB, name="away", kept=True)
    away.subscribe(f"{BOB}/news")
    away.drop()
    sender.publish(f"{BOB}/news", "missed")
    # As the kubelet ends a container.
    os.killpg(served.groups["mosquitto"], signal.SIGTERM)
    assert bob.lost()
    wait_until(lambda: not ready(served))
    with server(served):
        wait_until(lambda: ready(served))
        reader = Client(served, BOB)
        assert all_retained(reader, BOB) == {f"{BOB}/state": "kept"}
        assert Client(served, f"{BOB}/gate", password).answer == "Success"
        back = Client(served, BOB, name="away", kept=True)
        assert back.found_session and back.heard()[1] == "missed"
        assert served.probe().returncode == 0
