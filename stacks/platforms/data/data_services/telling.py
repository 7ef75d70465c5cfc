"""What running data services say of themselves: which personal data other tenants may read, and what cannot be read.

The object is `status` in `image/go/serve`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stacks.platforms.telling import Teller, Told
from wecityctl.model.city import City
from wecityctl.model.words import counted, listed


def judge(status: Mapping[str, Any], city: City, nodes: Sequence[str]) -> Told:
    """A fact for each grant of personal data to another tenant; a problem for each table that could not be read."""
    facts = [f"it describes {counted(status['assets'], 'asset')}"]
    facts += [_shared(item) for item in status["sharing"]]
    if not status["sharing"]:
        facts.append("no personal data is granted to another tenant")
    problems = [
        f"the table of {asset} could not be read when it was last asked for: its owner grants the reader its rights"
        for asset in status["failing"]
    ]
    return Told(tuple(facts), tuple(problems))


def _shared(item: Mapping[str, Any]) -> str:
    masks = item.get("masks", {})
    columns = [f"{name} ({masks[name]})" if name in masks else name for name in item["columns"]]
    return f"{item['consumer']} may read {listed(columns)} of {item['asset']} for {item['purpose']!r}"


TELLER = Teller("/status", judge)
