"""A supervised service as a value: command, dependencies, readiness probe, and how it is stopped.

Values and their JSON form only; `wecityctl.local.supervisor` runs services.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ProbeKind = Literal["http", "tcp", "socket", "file", "exec", "process"]


@dataclass(frozen=True, slots=True)
class Probe:
    """How to check that a service is ready.

    Repeated every `interval` seconds until it succeeds; times out after `timeout` seconds.

    http: GET `target` (http:// or https://, an IP address) returns 2xx, or with `any_status` any response. `ca`, `cert`
    and `key` are PEM files for https. tcp: `host:port` accepts a connection. socket: the Unix socket `target` accepts a
    connection and, if `say` is given (characters up to U+00FF, one byte each), responds to it. file: the path exists
    and was written after the start of the service. exec: `argv` (placeholders as in `Service.argv`) exits with 0.
    process: the process whose PID is in the file `target` runs and is not stopped.

    The kernel accepts connections for a stopped process, so a probe that detects stopped processes must wait for a
    response.
    """

    kind: ProbeKind
    target: str = ""
    ca: str = ""
    cert: str = ""
    key: str = ""
    argv: tuple[str, ...] = ()
    say: str = ""
    any_status: bool = False
    interval: float = 0.1
    timeout: float = 5.0

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Probe:
        """Create a probe from its JSON form."""
        return cls(**{**value, "argv": tuple(value["argv"])})


@dataclass(frozen=True, slots=True)
class Service:
    """One process that the cloud's supervisor runs, in its own session and process group.

    argv         `{pid:NAME}` in any argument becomes the PID of the running service NAME: a service of a node enters
                 the holder's namespaces with `nsenter -t {pid:node-hold} …`.
    env          the whole environment, besides PATH, HOME and LANG.
    after        services that must be ready before this one starts.
    bound_to     like `after`; in addition, when one of these ends, this one is stopped, and restarted with it.
    ready        None: ready as soon as it runs.
    alive        probed every `watch_interval` seconds once the service is ready; None: the same as `ready`. While it
                 fails, the service is not ready. Several probes in a row without any response (or a stopped process)
                 count as a death. If `ready` is None, missing responses are ignored for `ready_timeout` at first.
    ready_timeout  seconds from start to ready; after that the process is killed, which counts as a death.
    stop_signal  sent to the process group; what is left of the group after `stop_timeout` seconds gets SIGKILL.
    parent_death the signal that the kernel sends to the process if the supervisor dies (0: none).
    required     whether the cloud is ready only with it, and degraded without it.
    retries      the number of deaths (within `retry_window` seconds, or since it was last ready) after which it is not
                 restarted and reported as failed. Back-off doubles from half a second to ten seconds.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    cwd: str = "/"
    after: tuple[str, ...] = ()
    bound_to: tuple[str, ...] = ()
    ready: Probe | None = None
    alive: Probe | None = None
    watch_interval: float = 5.0
    ready_timeout: float = 60.0
    stop_signal: int = int(signal.SIGTERM)
    stop_timeout: float = 10.0
    parent_death: int = int(signal.SIGKILL)
    required: bool = True
    retries: int = 5
    retry_window: float = 120.0

    @property
    def needs(self) -> tuple[str, ...]:
        """All services that must be ready before this one starts."""
        return tuple(dict.fromkeys((*self.after, *self.bound_to)))

    def to_json(self) -> dict[str, Any]:
        """The service as a JSON object, which `from_json` reverses."""
        return {**asdict(self), "env": dict(self.env)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Service:
        lists = {name: tuple(value[name]) for name in ("argv", "after", "bound_to")}
        probes = {name: Probe.from_json(value[name]) if value[name] else None for name in ("ready", "alive")}
        return cls(**{**value, **lists, **probes})
