"""What a running notification server says of itself: its channels, and whose messages are not taken, with the reason.

The object is made by `status` in `image/go/serve`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stacks.platforms.telling import Teller, Told
from wecityctl.model.city import City
from wecityctl.model.words import counted


def judge(status: Mapping[str, Any], city: City, nodes: Sequence[str]) -> Told:
    """A fact for each channel and for what waits; a problem for each app and channel with messages that failed."""
    shown = status["channels"]
    facts = [
        f"{name} is kept in a sink" if shown[name] == "sink" else f"{name} goes to {shown[name]}" for name in shown
    ]
    if not facts:
        facts = ["the city has no channels in `notification`: apps can send nothing"]
    facts.append(f"{counted(status['queued'], 'message')} queued")
    problems = [_problem(item) for item in status["failing"]]
    return Told(tuple(facts), tuple(problems))


def _problem(item: Mapping[str, Any]) -> str:
    what = "are tried again" if item["state"] == "queued" else "were given up within a day"
    return f"{counted(item['count'], 'message')} of {item['app']} by {item['channel']} {what}: {item['reason']}"


TELLER = Teller("/status", judge)
