"""The objects of notification, and what is made of what its server says."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from stacks.catalogue import load_catalogue
from stacks.platforms.application.notification.program import settings
from stacks.platforms.application.notification.telling import judge
from tests.stacks.cities import CLUSTER, app, city, one, record_city
from wecityctl.model.city import Capability, City, Use
from wecityctl.model.notification import Channel, Notification
from wecityctl.plan import make_plan
from wecityctl.resource_graph import Recording

CHANNELS = Notification(
    mail=Channel(
        server="relay.example", sender="noreply@city.example", addresses=("203.0.113.16/28",), credentials="relay"
    ),
    sms=Channel(url="https://sms.example/send", credentials="token", authority="roots"),
    webhook=Channel(url="https://198.18.0.9:8443/hook"),
)


def whole(notification: Notification | None = CHANNELS) -> City:
    base = city(app("web", tenant="parks", uses=(Use("notification", "notify"),)), app("code"))
    first, *others = base.platforms
    sending = Capability(first.name, "notification", "notification")
    platform = replace(first, capabilities=(*first.capabilities, sending))
    return replace(base, platforms=(platform, *others), notification=notification)


@pytest.fixture(scope="module")
def recorded() -> dict[str, Recording]:
    return record_city(whole(), CLUSTER)


def test_it_reaches_the_servers_of_the_channels_and_nothing_else_outside(recorded: dict[str, Recording]) -> None:
    spec = one(recorded, "NetworkPolicy", "platform-application/notification-to-channels").inputs["spec"]
    mail, sms, webhook = spec["egress"]
    assert mail == {"to": [{"ipBlock": {"cidr": "203.0.113.16/28"}}], "ports": [{"protocol": "TCP", "port": 587}]}
    (internet,) = sms["to"]
    assert internet["ipBlock"]["cidr"] == "0.0.0.0/0" and "10.0.0.0/8" in internet["ipBlock"]["except"]
    assert webhook["to"] == [{"ipBlock": {"cidr": "198.18.0.9/32"}}] and webhook["ports"][0]["port"] == 8443
    # Without a channel that sends, and without any.
    for notification in (Notification(sms=Channel(sink=True)), None):
        found = record_city(whole(notification), CLUSTER)
        names = {item.name for each in found.values() for item in each.resources}
        assert any("notification" in name for name in names) and not any("to-channels" in name for name in names)


def test_an_app_reaches_the_port_of_apps_alone(recorded: dict[str, Recording]) -> None:
    policy = one(recorded, "NetworkPolicy", "platform-application/from-parks-web-notify").inputs["spec"]
    assert policy["ingress"][0]["ports"] == [{"protocol": "TCP", "port": 8443}]


def test_the_secrets_of_channels_are_asked_for_where_they_are_used() -> None:
    stack = make_plan(whole(), load_catalogue()).stack("xc.platform.application.main")
    assert {f"notification/{name}" for name in ("relay", "token", "roots")} <= set(stack.secrets)
    # An environment that sends nothing states that alone, beside what the others send by.
    kept = replace(CHANNELS.mail, sink=True) if CHANNELS.mail is not None else None
    sink = make_plan(whole(Notification(mail=kept)), load_catalogue())
    assert not any(name.startswith("notification/") for each in sink.stacks for name in each.secrets)


def test_the_file_of_the_channels_has_their_secrets() -> None:
    found = json.loads(settings(CHANNELS, {"relay": "user:word", "token": "t", "roots": "PEM"}))
    mail, sms = found["mail"], found["sms"]
    assert (mail["host"], mail["port"], mail["credentials"], mail["authority"]) == (
        "relay.example",
        587,
        "user:word",
        "",
    )
    assert (sms["host"], sms["port"], sms["credentials"], sms["authority"]) == ("sms.example", 443, "t", "PEM")
    assert json.loads(settings(Notification(sms=Channel(sink=True)), {})) == {"sms": {"sink": True}}


def test_what_is_not_taken_is_told() -> None:
    failing = {"app": "parks/web", "channel": "mail", "state": "failed", "count": 2, "reason": "no such mailbox"}
    told = judge(
        {"channels": {"mail": "relay.example:587", "sms": "sink"}, "queued": 1, "failing": [failing]}, whole(), []
    )
    assert told.facts == ("mail goes to relay.example:587", "sms is kept in a sink", "1 message queued")
    assert told.problems == ("2 messages of parks/web by mail were given up within a day: no such mailbox",)
    told = judge({"channels": {}, "queued": 0, "failing": []}, whole(), [])
    assert "the city has no channels" in told.facts[0]
