"""A supervised service as a value: what is run, when, how one sees that it is ready, how it is stopped.

Values only, with their JSON form; running them is `wecityctl.local.supervisor`'s.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

ProbeKind = Literal["http", "tcp", "socket", "file", "exec", "process"]


@dataclass(frozen=True, slots=True)
class Probe:
    """How one sees that a service is ready; asked every `interval` seconds until it says yes.

    http: GET `target` (http:// or https://, an IP address) answers 2xx, with `any_status` anything; `ca`, `cert`, `key`
    are PEM files for https. tcp: `host:port` accepts. socket: the Unix socket `target` accepts, and where there is
    something to `say` (characters up to U+00FF, one byte each), answers it. file: the path exists and was written after
    the start of the service. exec: `argv` (placeholders as in `Service.argv`) exits 0. process: the process whose
    number the file `target` holds runs and is not stopped. All of them within `timeout` seconds.

    The kernel accepts connections for a process that has been stopped: what is to tell the living from the dead must
    wait for an answer.
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
        """The probe whose fields these are."""
        return cls(**{**value, "argv": tuple(value["argv"])})


@dataclass(frozen=True, slots=True)
class Service:
    """One process that the cloud's supervisor runs, in a session and process group of its own.

    argv         `{pid:NAME}` in any argument becomes the PID of the running service NAME: a service of a node enters
                 the holder's namespaces with `nsenter -t {pid:node-hold} …`.
    env          the whole environment, on top of PATH, HOME and LANG.
    after        services that must be ready before this one starts.
    bound_to     as `after`, and: when one of these ends, this one is stopped, and starts again with it.
    ready        None: ready as soon as it runs.
    alive        asked every `watch_interval` seconds once the service is ready; None: as `ready`. While the answer is
                 no, the service is not ready; several silences in a row (no answer at all, or a stopped process) count
                 as a death. Where `ready` is None, silence before the first answer is let pass for `ready_timeout`.
    ready_timeout  seconds from start to ready; past it the process is killed and counted as a death.
    stop_signal  sent to the process group; whatever is left of the group after `stop_timeout` gets SIGKILL.
    parent_death the signal this process gets from the kernel if the supervisor dies (0: none).
    required     whether the cloud counts as ready only with it, and as degraded without it.
    retries      deaths (in `retry_window` seconds, or since it was last ready) after which it is left dead and reported
                 as failed. Back-off doubles from half a second to ten.
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
        """Every service that must be ready before this one starts."""
        return tuple(dict.fromkeys((*self.after, *self.bound_to)))

    def to_json(self) -> dict[str, Any]:
        """A JSON object that `from_json` turns into an equal service."""
        return {**asdict(self), "env": dict(self.env)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Service:
        lists = {name: tuple(value[name]) for name in ("argv", "after", "bound_to")}
        probes = {name: Probe.from_json(value[name]) if value[name] else None for name in ("ready", "alive")}
        return cls(**{**value, **lists, **probes})
