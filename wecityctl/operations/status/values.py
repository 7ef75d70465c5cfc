"""The values of a city's status: stacks, workloads, load balancers, and the clouds that were not examined."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from wecityctl.errors import WecityError
from wecityctl.model.events import KeptObject
from wecityctl.model.findings import Finding

StackState = Literal[
    "ok",
    "failed",
    "incomplete",
    "drifted",
    "cloud-stopped",
    "cloud-unreachable",
    "cloud-forbidden",
    "never-made",
    "taken-down",
    "kept",
    "not-in-files",
]


@dataclass(frozen=True, slots=True)
class StackStatus:
    """A stack's status. `last_update` is an RFC 3339 time, empty for a stack that does not exist.

    `state` is the worst known condition: `failed` if its last run did not succeed, `incomplete` if that was
    interrupted, `drifted` if its objects differ from its state (`drift` lists them), `taken-down` if it was destroyed,
    `kept` if its data was retained then (`kept` lists the objects). `reason` explains it in a sentence. `last_run` is
    the operation of the last run that ended, `last_result` its result.
    """

    stack: str
    layer: str
    resources: int
    last_update: str
    pending: int = 0
    errors: tuple[str, ...] = ()
    planned: bool = True
    state: StackState = "ok"
    reason: str = ""
    cloud: str = ""
    last_run: str = ""
    last_result: str = ""
    drift: tuple[Finding, ...] = ()
    kept: tuple[KeptObject, ...] = ()


@dataclass(frozen=True, slots=True)
class WorkloadStatus:
    """A workload in a cluster. `simulated` says that its pods do not really run.

    `schedule` says of a CronJob when it runs and when it last did; empty for others.
    """

    cloud: str
    namespace: str
    kind: str
    name: str
    part_of: str
    ready: int
    wanted: int
    state: str
    reason: str
    simulated: bool
    schedule: str = ""


@dataclass(frozen=True, slots=True)
class AppAddress:
    """An address of an app (`tenant/name`) on one cloud.

    `way` says whether the app is reached there by its `route` or by what it `provides`, or `uses` what is there. `name`
    is that of what is provided or of the binding, `of` the other end. `served`: for a route, whether the entry point
    has its host by now.
    """

    cloud: str
    app: str
    way: Literal["route", "provides", "uses"]
    name: str
    of: str
    address: str
    served: bool = True


@dataclass(frozen=True, slots=True)
class BalancerStatus:
    """The load balancer of the entry point of `zone`: its identifier at the vendor and its address, which is on the
    internet if `public`.
    """

    cloud: str
    zone: str
    balancer: str
    address: str
    public: bool


@dataclass(frozen=True, slots=True)
class Away:
    """The clouds that could not be examined, with the reasons: stopped embedded ones, those that deny these credentials
    the required reads, and unreachable ones.
    """

    stopped: Mapping[str, str] = field(default_factory=dict)
    unreachable: Mapping[str, str] = field(default_factory=dict)
    forbidden: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, stopped: Mapping[str, str], unreachable: Mapping[str, str], failed: Mapping[str, WecityError]) -> Away:
        """Sort the clouds by reason. `failed` has the errors of the clouds that were queried."""
        from wecityctl.kube.errors import Forbidden

        forbidden = {
            cloud: f"it answers, and these credentials may not read what `status` looks at: {error.message}"
            for cloud, error in failed.items()
            if isinstance(error, Forbidden)
        }
        silent = {cloud: error.message for cloud, error in failed.items() if cloud not in forbidden}
        return cls(stopped, {**silent, **unreachable}, forbidden)


@dataclass(frozen=True, slots=True)
class Examined:
    """The differences between clusters and states, the objects retained by earlier runs by stack, and the error of each
    cloud that could not be read.

    `notes` list what was not examined.
    """

    found: tuple[Finding, ...] = ()
    kept: Mapping[str, tuple[KeptObject, ...]] = field(default_factory=dict)
    failed: Mapping[str, WecityError] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Workloads:
    """The workloads that were read, and the error of each cloud whose workloads could not be read."""

    found: tuple[WorkloadStatus, ...]
    failed: Mapping[str, WecityError]
