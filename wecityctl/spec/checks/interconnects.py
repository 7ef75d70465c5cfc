"""Checks the fixed node ports of a Cloud's `interconnect`: each has one owner, which exists."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.spec.checks.check import Check
from wecityctl.spec.parsed_city import ParsedCity


def fixed_ports(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A fixed node port names a capability or an app of the city, and no port of a cloud is used twice."""
    apps = {f"{app.value.tenant}/{app.value.name}": app.value for app in parsed_city.apps}
    provided = {f"{name}/{item.name}" for name, app in apps.items() for item in app.provides}
    known = {*parsed_city.capability_by_name, *apps, *provided}
    for cloud in parsed_city.clouds:
        owners: dict[int, str] = {}
        for subject, port in cloud.value.interconnect.ports.items():
            path = ("spec", "interconnect", "ports", subject)
            if subject not in known and parsed_city.knows_all("Platform", "App"):
                what = ("capability", "app", "provided port")[subject.count("/")]
                message = f"there is no {what} {subject!r}"
                expected = "a capability's name, <tenant>/<app> for its route, or <tenant>/<app>/<what it provides>"
                yield cloud.problem(path, message, expected, on_key=True)
            elif owners.setdefault(port, subject) != subject:
                yield cloud.problem(path, f"node port {port} is {owners[port]}'s already", "another one")


CHECKS: tuple[Check, ...] = (fixed_ports,)
