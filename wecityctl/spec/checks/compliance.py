"""What the city says of classes of data: zones that there are, and regions that its residency allows."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.spec.draft import Draft
from wecityctl.spec.fields import nearest, one_of

_RESIDENT = ("L3", "L4")


def zones_of_classes(draft: Draft) -> Iterator[Problem]:
    """A class of data is held to zones that the City declares: a misspelt one would hold it to none."""
    if draft.city is None or not draft.knows_all("City"):
        return
    names = draft.zone_names
    for data_class, rule in draft.city.value.compliance.data_classes.items():
        for index, zone in enumerate(rule.zones):
            if zone not in names:
                path = ("spec", "compliance", "dataClasses", data_class, "zones", index)
                yield draft.city.problem(path, f"there is no zone {zone!r}", one_of(names), nearest(zone, names))


def regions_of_classes(draft: Draft) -> Iterator[Problem]:
    """Citizens' data is held to regions among those of the residency; that of other classes may lie elsewhere."""
    if draft.city is None:
        return
    compliance = draft.city.value.compliance
    for data_class, rule in compliance.data_classes.items():
        for index, region in enumerate(rule.regions if compliance.regions else ()):
            if data_class in _RESIDENT and region not in compliance.regions:
                path = ("spec", "compliance", "dataClasses", data_class, "regions", index)
                message = f"region {region!r} is none of residency.regions, which {data_class} data must not leave"
                yield draft.city.problem(path, message, one_of(compliance.regions), nearest(region, compliance.regions))
