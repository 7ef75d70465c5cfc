"""How clouds say that others reach them: node ports that are fixed belong to somebody, and to one alone."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.spec.draft import Draft


def fixed_ports(draft: Draft) -> Iterator[Problem]:
    """A fixed port names a capability or an app of the city; no two of a cloud are the same."""
    known = set(draft.capability_by_name) | {f"{app.value.tenant}/{app.value.name}" for app in draft.apps}
    for cloud in draft.clouds:
        owners: dict[int, str] = {}
        for subject, port in cloud.value.crossing.ports.items():
            path = ("spec", "crossing", "ports", subject)
            if subject not in known and draft.knows_all("Platform", "App"):
                message = (
                    f"there is no capability {subject!r}" if "/" not in subject else f"there is no app {subject!r}"
                )
                yield cloud.problem(path, message, "a capability's name, or <tenant>/<app>", on_key=True)
            elif owners.setdefault(port, subject) != subject:
                yield cloud.problem(path, f"node port {port} is {owners[port]}'s already", "another one")
