"""Backups as values: what a snapshot says of itself, and which snapshots a restore takes. Pure functions.

Every capability of a city has a repository of its own below the target, so that nothing that happens to the one keeps
the other from its backup.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from wecityctl.model import naming
from wecityctl.model.city import City

# The image whose program makes snapshots, and the version of what we write into them.
BACKUP_IMAGE, FORMAT = "backup", 1
# A clock that is further ahead than this has jumped.
_AHEAD = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A complete backup of one account. `at` is when it was taken (UTC), `bytes` what was read from the capability.

    `owner` is `<tenant>/<app>/<binding>`, or `-` where the capability does not record it. `type` and `version` are
    those of the capability that it was taken of; `format` is the version of the tags themselves.
    """

    id: str
    at: datetime
    city: str
    cloud: str
    capability: str
    account: str
    owner: str
    type: str
    version: str
    format: int
    path: str
    bytes: int

    def is_ahead(self, now: datetime) -> bool:
        """Whether it was taken by a clock that is ahead of ours."""
        return self.at > now + _AHEAD


def repository(city: City, capability: str) -> str:
    """The address of a capability's repository, as the program in the image `BACKUP_IMAGE` takes it."""
    backup = city.compliance.backup
    return f"s3:{backup.endpoint}/{backup.bucket}/{city.name}/{capability}"


def cron_job_name(capability: str) -> str:
    """The name of a capability's CronJob, its Secret and its network policy for backups."""
    return naming.fit(f"{capability}-backup", 52)


def tags(**values: str) -> str:
    """The tags of a snapshot as one argument. Values have no commas, as names have none."""
    return ",".join(f"{name}={value}" for name, value in values.items())


def parse_snapshots(text: str) -> tuple[Snapshot, ...]:
    """The snapshots in a list in JSON, oldest first. Those that we have not made are passed over.

    Raises `ValueError` for text that is no such list.
    """
    try:
        found = json.loads(text)
        if not isinstance(found, list):
            raise ValueError("no list of snapshots")
        return tuple(sorted(_snapshots(found), key=lambda item: item.at))
    except (LookupError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"no list of snapshots: {error}") from error


def _snapshots(found: Iterable[Any]) -> Iterator[Snapshot]:
    for item in found:
        said = dict(tag.split("=", 1) for tag in item.get("tags") or () if "=" in tag)
        if not {"city", "capability", "account", "owner", "type", "version", "format"} <= said.keys():
            continue
        yield Snapshot(
            id=str(item["id"]),
            at=parse_time(str(item["time"])),
            city=said["city"],
            cloud=said.get("cloud", ""),
            capability=said["capability"],
            account=said["account"],
            owner=said["owner"],
            type=said["type"],
            version=said["version"],
            format=int(said["format"]) if said["format"].isdecimal() else FORMAT + 1,
            path=str((item.get("paths") or [""])[0]),
            bytes=int((item.get("summary") or {}).get("total_bytes_processed") or 0),
        )


def parse_time(text: str) -> datetime:
    """A time in RFC 3339, with a time zone, in UTC. Raises `ValueError` for any other text."""
    head, dot, rest = text.partition(".")
    if dot:
        # Nanoseconds, which Python does not read.
        digits = len(rest) - len(rest.lstrip("0123456789"))
        text = f"{head}.{rest[: min(digits, 6)]}{rest[digits:]}"
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    return found.astimezone(UTC)


def when(at: datetime) -> str:
    """A time of a snapshot as people read and give it, to the second and in UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def newest(snapshots: Iterable[Snapshot], now: datetime, at: datetime | None = None) -> dict[str, Snapshot]:
    """The newest snapshot of each account, or with `at` the newest that is not younger, by account.

    Those of a clock that is ahead are passed over unless `at` asks for them: else they would hide all later ones.
    """
    found: dict[str, Snapshot] = {}
    for item in sorted(snapshots, key=lambda one: one.at):
        if item.at <= at if at is not None else not item.is_ahead(now):
            found[item.account] = item
    return found
