"""A city that holds data of citizens says in which regions it may lie."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.model.city import DataRule
from wecityctl.policy.data import CITIZENS, lodgings
from wecityctl.policy.model import Finding, PolicyInput, Rule

WHY = """\
The Personal Information Protection Law (个人信息保护法, articles 36 and 40) keeps personal information that state
organs handle inside the country, and the rule data-class holds data of class L3 and L4 to the regions that the city
names. A city that names none has a region for every cloud and yet no rule about any: a placement, or a new cloud, may
take the data anywhere. So a city whose L3 or L4 data lies on other clouds than embedded ones should name the regions
in compliance.residency.regions, or in compliance.dataClasses for the class. It is advice: only the city knows them."""


def check(policy_input: PolicyInput) -> Iterator[Finding]:
    """Classes of data that may lie in any region, though they lie on clouds that are not embedded."""
    compliance = policy_input.city.compliance
    if compliance.regions:
        return
    anywhere = {
        place.app.data_class
        for place in lodgings(policy_input)
        if place.app.data_class in CITIZENS
        and not compliance.data_classes.get(place.app.data_class, DataRule()).regions
        and (place.cloud is None or place.cloud.provider != "local")
    }
    if anywhere:
        yield Finding(
            subject="city",
            message=f"{' and '.join(sorted(anywhere))} data may lie in any region: the city names none",
            resolution="name the regions in compliance.residency.regions",
            document=("City", policy_input.city.name),
            path=("spec", "compliance", "residency"),
        )


RULE = Rule(
    name="residency",
    title="A city names the regions of its citizens' data 数据驻留",
    why=WHY,
    check=check,
    level="advisory",
    controls=("8.1.4.11 个人信息保护",),
    applies=lambda city: any(app.runs and app.data_class in CITIZENS for app in city.apps),
    enforced="elsewhere",
)
