"""Between the internet and the government extranet lies a data-exchange zone, and nothing goes past it."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.policy.model import Finding, Posture, Rule

WHY = """\
The government extranet 政务外网 is kept apart from the internet so that a hole in a public service does not open the
departments' systems and the citizens' data in them. What has to pass goes through a data-exchange zone, where it is
inspected, recorded and handed on by a service of its own. A flow that joins the two directly takes that zone out of the
way, whoever approved it, so no waiver lifts this rule. In the other direction a department's systems reach out through
the zone's own egress, never through a zone that the internet can talk to."""


def check(posture: Posture) -> Iterator[Finding]:
    """Declared flows from an internet zone straight into a government extranet."""
    city = posture.city
    kinds = {zone.name: zone.kind for zone in city.zones}
    for index, flow in enumerate(city.flows):
        if kinds[flow.source] == "internet" and kinds[flow.target] == "government-extranet":
            yield Finding(
                subject=f"flow {flow.source} → {flow.target}",
                message=f"the flow leads from the internet straight into the government extranet {flow.target!r}",
                resolution="declare a flow into a data-exchange zone and another one from there",
                document=("City", city.name),
                path=("spec", "flows", index),
            )


RULE = Rule(
    name="through-exchange",
    title="Internet to extranet only through a data-exchange zone 经数据交换区",
    why=WHY,
    check=check,
    veto=True,
    of_files=True,
    controls=("8.1.3.1 边界防护", "8.1.3.2 访问控制"),
    applies=lambda city: bool(city.flows),
)
