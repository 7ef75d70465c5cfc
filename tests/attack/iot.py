"""The IoT access as the stacks declare it, served on the loopback interface, and a client of it (`paho-mqtt`)."""

from __future__ import annotations

import os
import queue
import shutil
import ssl
import subprocess
import tempfile
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from stacks.platforms import tls
from tests.attack.served import ADMIN, PASSWORD, Attacked, Served, wait_until
from tests.images.rootfs import RootFilesystem, free_port
from tests.stacks.cities import one
from wecityctl.model.city import Capability, Platform

# The platform whose one capability is the IoT access, for `attacked`.
PLATFORM = Platform("data", (Capability("data", "iot", "iot"),))
# Seconds for an answer.
_ANSWER = 20


@contextmanager
def iot_server(city: Attacked, image: RootFilesystem) -> Iterator[Served]:
    """The MQTT server of `city` with its front."""
    served = Served(city, "iot", image)
    moved = ((":8883", f":{served.port}"), (":8884", f":{free_port()}"), (":1883", f":{free_port()}"))
    served.certify()
    with ExitStack() as stack:
        # Not under pytest's own directory, which other users may not enter.
        data = served.data = Path(tempfile.mkdtemp(prefix="attacked-"))
        stack.callback(shutil.rmtree, data, ignore_errors=True)
        os.chown(data, 65532, 65532)
        served.replacing = (*moved, ("/data", f"/tmp{data}"))
        _write_settings(served)
        stack.enter_context(server(served))
        wait_until(lambda: (data / "users.json").is_file())
        stack.enter_context(served.running("front", served.command("front"), [data], ADMIN_PASSWORD=ADMIN))
        try:
            wait_until(lambda: ready(served))
            yield served
        except BaseException:
            print("\n".join(served.log[-40:]))
            raise


@contextmanager
def server(served: Served) -> Iterator[None]:
    """The server itself, after what is done before each start."""
    assert served.data is not None
    start = f"({served.command('prepare')[-1]}) && {served.command('mosquitto')[-1]}"
    with served.running("mosquitto", ["/bin/sh", "-c", start], [served.data], ADMIN_PASSWORD=ADMIN):
        yield


def _write_settings(served: Served) -> None:
    name = "platform-data/iot-configuration"
    text = str(one(served.city.recordings, "ConfigMap", name).inputs["data"]["mosquitto.conf"])
    ((_, port),) = (pair for pair in served.replacing if pair[0] == ":1883")
    assert "listener 1883 " in text and "/data/" in text
    text = text.replace("listener 1883 ", f"listener {port[1:]} ").replace("/data/", f"/tmp{served.data}/")
    place = served.image.root / "etc/iot"
    place.mkdir(exist_ok=True)
    (place / "mosquitto.conf").write_text(text)


def told(served: Served, path: str = "/metrics") -> str:
    """What the front answers to whoever asks for metrics."""
    ((_, port),) = (pair for pair in served.replacing if pair[0] == ":8884")
    context = ssl.create_default_context(cadata=served.authority)
    with urllib.request.urlopen(f"https://127.0.0.1{port}{path}", timeout=10, context=context) as answer:
        return str(answer.read().decode())


def ready(served: Served) -> bool:
    """Whether the pod's readiness probe would pass."""
    path = served.container("front")["readinessProbe"]["httpGet"]["path"]
    try:
        told(served, path)
    except OSError:
        return False
    return True


def administrate(
    served: Served, script: str, values: Mapping[str, str] | None = None, *, given: str = "", code: int = 0
) -> str:
    """What one of the capability's scripts prints, on standard error if it ends with another code than 0.

    `values` are variables, `given` is its standard input, `code` how it ends.
    """
    where = {"HOST": "127.0.0.1", "PORT": str(served.port), "ADMIN_PASSWORD": ADMIN, "AUTHORITY": tls.AUTHORITY}
    done = subprocess.run(
        served.image.command(["/bin/sh", "-c", script]),
        env={**served.image.environment, "WRITABLE": "", "SHARED": "", **where, **(values or {})},
        input=given,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


class Client:
    """A client with a network loop of its own, by MQTT 5 or, without `five`, by MQTT 3.1.1.

    `name` is its identifier; `kept` has the server keep its session for an hour and give it what it has; `will` is a
    topic and a text. `answer` is what the server said to its CONNECT.
    """

    def __init__(
        self,
        served: Served,
        user: str,
        password: str = PASSWORD,
        name: str = "",
        *,
        five: bool = True,
        kept: bool = False,
        will: tuple[str, str] | None = None,
        will_retained: bool = False,
    ) -> None:
        version = MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311
        clean = None if five else not kept
        self._client = client = paho.Client(
            CallbackAPIVersion.VERSION2, name, clean, protocol=version, reconnect_on_failure=False
        )
        self._connected: queue.Queue[tuple[str, bool]] = queue.Queue()
        self._subscribed: queue.Queue[str] = queue.Queue()
        self._published: queue.Queue[str] = queue.Queue()
        self._messages: queue.Queue[tuple[str, str, bool]] = queue.Queue()
        self._waiting = 0
        self.ended = threading.Event()
        self.reason = ""
        client.on_connect = lambda _1, _2, flags, code, _3: self._connected.put((str(code), flags.session_present))
        client.on_subscribe = lambda _1, _2, _3, codes, _4: self._subscribed.put(str(codes[0]))
        # "No matching subscribers" is a success, too: whether anybody listens is not what is asked.
        client.on_publish = lambda _1, _2, _3, code, _4: self._published.put(
            str(code) if code.is_failure else "Success"
        )
        client.on_message = lambda _1, _2, item: self._messages.put((item.topic, item.payload.decode(), item.retain))
        client.on_disconnect = self._end
        client.username_pw_set(user, password)
        client.tls_set_context(ssl.create_default_context(cadata=served.authority))
        if will is not None:
            client.will_set(*will, qos=1, retain=will_retained)
        options: dict[str, Any] = {}
        if five:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600 if kept else 0
            options = {"clean_start": not kept, "properties": properties}
        client.connect("127.0.0.1", served.port, **options)
        client.loop_start()
        self.answer, self.found_session = self._connected.get(timeout=_ANSWER)

    def _end(self, _client: Any, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        self.reason = str(code)
        self.ended.set()

    def subscribe(self, topic: str, qos: int = 1) -> str:
        """What the server says to a subscription."""
        self._client.subscribe(topic, qos)
        return self._subscribed.get(timeout=_ANSWER)

    def publish(self, topic: str, text: str = "hello", *, qos: int = 1, retained: bool = False) -> str:
        """What the server says to a message, after it has answered all that were sent before."""
        self.send(topic, text, qos=qos, retained=retained)
        answer = ""
        while self._waiting:
            answer = self._published.get(timeout=_ANSWER)
            self._waiting -= 1
        return answer

    def send(self, topic: str, text: str, *, qos: int = 1, retained: bool = False) -> None:
        """Publish without waiting for an answer."""
        self._client.publish(topic, text, qos, retained)
        self._waiting += 1

    def heard(self) -> tuple[str, str, bool]:
        """The next message: its topic, its text, and whether it was retained."""
        return self._messages.get(timeout=_ANSWER)

    def heard_until(self, text: str) -> list[tuple[str, str, bool]]:
        """All messages before one with that text."""
        found = []
        while (message := self.heard())[1] != text:
            found.append(message)
        return found

    def lost(self) -> bool:
        """Whether the server ends the connection."""
        return self.ended.wait(_ANSWER)

    def close(self) -> None:
        """Say goodbye."""
        self._client.disconnect()
        self._client.loop_stop()

    def drop(self) -> None:
        """Be gone without a word."""
        connection = self._client.socket()
        assert connection is not None
        self._client.loop_stop()
        connection.close()


def all_retained(client: Client, own: str) -> dict[str, str]:
    """The retained messages of an app that its `client` is sent."""
    assert client.subscribe(f"{own}/#").startswith("Granted")
    client.publish(f"{own}/end", "end")
    return {topic: text for topic, text, retained in client.heard_until("end") if retained}


def labels(account: str) -> str:
    """The labels of an account's metrics."""
    tenant, app, _ = account.split(".")
    return f'{{account="{account}",tenant="{tenant}",app="{app}"}}'


def measured(served: Served, account: str, name: str) -> int:
    """One of an account's metrics."""
    found = dict(line.rsplit(" ", 1) for line in told(served).splitlines() if not line.startswith("#"))
    return int(found[f"wecity_iot_{name}{labels(account)}"])


def clear(client: Client, own: str) -> None:
    """Clear all retained messages of an app."""
    for topic in all_retained(client, own):
        client.publish(topic, "", retained=True)


def closed(*clients: Client) -> None:
    """End the connections of clients."""
    for client in clients:
        client.close()


def register(app: Client, account: str, device: str, wish: str = "add") -> str:
    """What the app is answered that adds or removes a device."""
    topic = f"{account}/registry/{device}"
    assert app.subscribe(f"{topic}/answer").startswith("Granted")
    assert app.publish(topic, wish) == "Success"
    found, text, _ = app.heard()
    assert found == f"{topic}/answer"
    return text
