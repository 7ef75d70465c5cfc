"""Collects records of devices by MQTT, on `devices/<device>/records`. A device speaks for the group of its own name.

A message is acknowledged after it is stored. What was not is sent again, and is then a duplicate if it was stored.
"""

from __future__ import annotations

import queue
import threading
from typing import Any

import paho.mqtt.client as mqtt
from sample_app.bindings import Binding
from sample_app.log import say

from pipeline import intake
from pipeline.description import Description
from pipeline.errors import PipelineError
from pipeline.store import Store

ANSWER_SECONDS = 20
RETRY_SECONDS = 5.0


def listen(binding: Binding, description: Description, store: Store, ended: threading.Event) -> None:
    """Take messages until `ended`."""
    prefix = binding.get("prefix")

    def connected(client: mqtt.Client, _data: Any, _flags: Any, code: Any, _properties: Any) -> None:
        say("mqtt", answer=str(code))
        client.subscribe(f"{prefix}devices/+/records", qos=1)

    def received(client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        device = message.topic.removeprefix(f"{prefix}devices/").partition("/")[0]
        while not _taken(description, store, device, message.payload):
            if ended.wait(RETRY_SECONDS):
                return
        client.ack(message.mid, message.qos)

    # The session is kept for what comes while no replica runs.
    client = _client(binding, "collect", clean=False)
    client.manual_ack_set(True)
    client.on_connect, client.on_message = connected, received
    client.connect_async(binding.get("host"), int(binding.get("port")))
    client.loop_start()
    ended.wait()
    client.disconnect()
    client.loop_stop()


def _taken(description: Description, store: Store, device: str, payload: bytes) -> bool:
    """Whether a message need not come again."""
    try:
        try:
            raws: list[Any] = intake.records_of_json(payload)
        except intake.WholeError:
            # A device is told nothing: what it sent is kept apart as it is.
            raws = [payload.decode(errors="replace")]
        intake.take(description, store, "mqtt", raws, device)
    except intake.WholeError as error:
        say("message refused", device=device, reason=str(error))
    except PipelineError as error:
        say("failed", source="mqtt", problem=str(error)[:300])
        return False
    return True


def add_device(binding: Binding, name: str) -> str:
    """Add a device and return its password; one that is there gets another. Raises `PipelineError`."""
    answers: queue.Queue[str] = queue.Queue()
    topic = f"{binding.get('prefix')}registry/{name}"
    client = _client(binding, "", clean=True)
    client.on_connect = lambda *_: client.subscribe(f"{topic}/answer", qos=1)
    client.on_subscribe = lambda *_: client.publish(topic, "add", qos=1)
    client.on_message = lambda _1, _2, message: answers.put(message.payload.decode())
    try:
        client.connect(binding.get("host"), int(binding.get("port")))
    except OSError as error:
        raise PipelineError(f"the MQTT server: {error}; try again") from error
    client.loop_start()
    try:
        answer = answers.get(timeout=ANSWER_SECONDS)
    except queue.Empty:
        raise PipelineError(f"the server has not answered for {ANSWER_SECONDS} s; add the device again") from None
    finally:
        client.disconnect()
        client.loop_stop()
    if not answer.startswith("password "):
        raise PipelineError(f"device {name}: {answer}")
    return answer.removeprefix("password ")


def _client(binding: Binding, name: str, *, clean: bool) -> mqtt.Client:
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, name, clean, protocol=mqtt.MQTTv311)
    client.username_pw_set(binding.get("username"), binding.get("password"))
    if context := binding.tls:
        client.tls_set_context(context)
    return client
