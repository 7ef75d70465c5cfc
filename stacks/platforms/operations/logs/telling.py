"""What a running log store says of itself: how long it keeps lines, whether they fit, and who sends them.

The object is `Status` in `image/go/store`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from stacks.platforms.telling import Teller, Told
from wecityctl.model.city import City
from wecityctl.model.quantity import rounded_bytes
from wecityctl.model.times import rfc3339
from wecityctl.model.words import counted

DAY = 86400
# Seconds without a report after which a shipper counts as missing; they send one every ten.
SILENT = 60
# Seconds that a shipper may be behind.
BEHIND = 300


def judge(status: Mapping[str, Any], city: City, nodes: Sequence[str]) -> Told:
    """What holds and what is missing, from the status of a store and the nodes that are ready."""
    reports = {str(item["node"]): item for item in status["shippers"]}
    heard = [node for node in nodes if node in reports and status["now"] - reports[node]["heard"] <= SILENT]
    facts = [
        f"it keeps lines for {counted(status['retention_days'], 'day')}",
        f"its lines are of {rfc3339(status['oldest'])} to {rfc3339(status['newest'])}"
        if status["oldest"]
        else "it has no line yet",
        f"it takes {_size(status['used_bytes'])} of {_size(status['limit_bytes'])}",
        f"shippers send from {len(heard)} of {counted(len(nodes), 'node')}",
    ]
    dropped = sum(item["dropped_lines"] for item in reports.values())
    if dropped:
        facts.append(f"since the shippers began, {counted(dropped, 'line')} of too many at once were not stored")
    # A server of before does not say so.
    if gaps := sum(item.get("gaps", 0) for item in reports.values()):
        places = counted(gaps, "place")
        facts.append(
            f"since the shippers began, lines may be missing in {places}: nodes had rotated logs that were not read"
        )
    if status["dropped_too_old"]:
        facts.append(f"{counted(status['dropped_too_old'], 'line')} came when they were too old to be kept")
    # A server of before does not say so.
    if status.get("dropped_too_new"):
        lines = counted(status["dropped_too_new"], "line")
        facts.append(f"{lines} were not stored, as the clock of their node is more than two days ahead of the store's")
    return Told(tuple(facts), tuple(_problems(status, city, nodes, heard, reports)))


def _problems(
    status: Mapping[str, Any],
    city: City,
    nodes: Sequence[str],
    heard: Sequence[str],
    reports: Mapping[str, Mapping[str, Any]],
) -> Iterator[str]:
    wanted = city.compliance.log_retention_days
    if status["retention_days"] < wanted:
        yield f"it keeps lines for {status['retention_days']} days and not for {wanted}: `wecityctl up` changes that"
    if status["read_only"]:
        yield "its volume is full and it takes no lines; shippers wait, and nodes keep what they have: enlarge it"
    yield from _room(status)
    for node in nodes:
        if node not in heard:
            yield f"no shipper of node {node} was heard of in the last {SILENT} s, so its lines are not stored"
    for node in heard:
        report = reports[node]
        if report["behind_seconds"] > BEHIND:
            why = report["problem"] or "it does not say why"
            yield f"the shipper of node {node} is {report['behind_seconds']} s behind: {why}"


def _room(status: Mapping[str, Any]) -> Iterator[str]:
    """Whether what is to be kept fits. The oldest day goes when it does not, so that the newest lines are kept."""
    began, now, days = status["began"], status["now"], status["retention_days"]
    if not began:
        return
    first = max(began, now - days * DAY)
    if status["oldest"] and status["oldest"] > first + 2 * DAY and status["used_bytes"] > status["limit_bytes"] // 2:
        yield (
            f"its oldest line is of {rfc3339(status['oldest'])}, though it began on {rfc3339(began)}: its volume is too"
            f" small for {days} days"
        )
        return
    age = (now - max(first, status["oldest"])) / DAY
    if age >= 1 and status["limit_bytes"]:
        daily = status["used_bytes"] / age
        fits = int(status["limit_bytes"] / daily) if daily else days
        if fits < days:
            yield (
                f"it takes {_size(int(daily))} a day, so that {fits} of {days} days fit: give it more storage "
                "before the oldest day goes"
            )


def _size(count: int) -> str:
    text = rounded_bytes(Decimal(count))
    return f"{text} bytes" if text.isdecimal() else text


TELLER = Teller("/status", judge)
