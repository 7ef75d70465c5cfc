"""Translates the supervisor's events into progress for the user, and into an error if the cloud does not start."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wecityctl.errors import DeploymentError, TimedOutError, WecityError
from wecityctl.local.spec import Death, EventKind, LocalEvent, Report, ServiceStatus
from wecityctl.local.supervisor import client


class StartError(DeploymentError):
    """A service of the cloud died repeatedly. The details have its last log lines."""


class StartTimeoutError(TimedOutError):
    """The cloud was not ready in time. The details say what each missing service was waiting for."""


@dataclass(slots=True)
class Teller:
    """Adds the seconds since the start of the operation to events and passes them to the user's report."""

    report: Report
    began: float = field(default_factory=time.monotonic)

    def tell(self, kind: EventKind, message: str, service: str = "", lines: tuple[str, ...] = ()) -> None:
        self.report(LocalEvent(kind, message, service, self.seconds, lines))

    def relay(self, event: LocalEvent) -> None:
        """Pass on an event of a driver or add-on, which does not know when the operation began."""
        self.tell(event.kind, event.message, event.service, event.lines)

    @property
    def seconds(self) -> float:
        return round(time.monotonic() - self.began, 3)


def follow(found: client.Found, teller: Teller, seconds: float) -> None:
    """Wait until all required services are ready, and report progress. Raises `StartError` or `StartTimeoutError`."""
    seen: dict[str, ServiceStatus] = {}
    for event in client.stream(found, {"do": "wait", "seconds": seconds}, seconds=seconds + 10):
        if event["event"] == "service":
            now = service_status(event)
            before = seen.get(now.name)
            seen[now.name] = now
            if now.state == "ready" and now.reason:
                teller.tell("warning", f"{now.name} does not answer as it should: {now.reason}", now.name)
            elif now.state == "ready" and before is not None and before.state != "ready":
                teller.tell("service", f"{now.name} is ready after {now.seconds:.1f} s", now.name)
        elif event["event"] == "death":
            teller.tell("death", f"{event['name']} {event['how']}", event["name"], tuple(event["lines"]))
        elif event["result"] != "ready":
            raise _failure(event["result"], seen.values())
        else:
            return
    raise client.SupervisorError("the cloud's supervisor ended while the cloud was starting")


def service_status(value: Mapping[str, Any]) -> ServiceStatus:
    """Parse the status of a service as the supervisor describes it."""
    deaths = tuple(Death(each["at"], each["how"], tuple(each["lines"])) for each in value["deaths"])
    fields = ("name", "state", "pid", "since", "seconds", "restarts", "required", "log", "reason")
    return ServiceStatus(**{name: value[name] for name in fields}, deaths=deaths)


def _failure(result: str, services: Any) -> WecityError:
    missing = [each for each in services if each.required and (each.state != "ready" or each.reason)]
    culprits = [each for each in missing if each.state == "failed"] or [
        each for each in missing if each.state != "waiting"
    ]
    names = ", ".join(each.name for each in culprits or missing) or "a service"
    details = "\n".join(line for each in culprits or missing for line in _explain(each))
    logs = ", ".join(each.log for each in culprits or missing)
    if result == "failed":
        return StartError(f"the cloud did not start: {names} keeps dying", details=details, resolution=f"see {logs}")
    return StartTimeoutError(f"the cloud was not ready in time: {names}", details=details, resolution=f"see {logs}")


def _explain(service: ServiceStatus) -> Iterator[str]:
    yield f"{service.name}: {service.state}" + (f", {service.reason}" if service.reason else "")
    if service.deaths:
        last = service.deaths[-1]
        yield f"{service.name} {last.how}; its last lines:"
        yield from (f"    {line}" for line in last.lines)
