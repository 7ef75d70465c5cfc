"""Compares a Cloud with its vendor's offers in a region: availability zones, Kubernetes versions and machine types.

The vendor's own plug-in is asked; the questions are in each vendor's folder. What a vendor cannot be asked is reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from wecityctl.errors import DeploymentError
from wecityctl.model.city import Cloud
from wecityctl.model.discovery import TYPES, VERSION, ZONES, Question, discovery_of, machine_types
from wecityctl.model.offers import Comparison, Missing

if TYPE_CHECKING:
    from wecityctl.importing.plugin import Plugin


def compare(cloud: Cloud, plugin: Plugin) -> Comparison:
    """Ask the vendor and compare. Raises `DeploymentError` if it does not answer."""
    discovery = discovery_of(cloud.provider)
    known: dict[str, set[str]] = {}
    missing: list[Missing] = []
    for what, word, question in discovery.questions(cloud):
        if word:
            known.setdefault(what, set())
            if said := _refusal(plugin, question):
                missing.append(Missing(what, word, said=said))
        else:
            known.setdefault(what, set()).update(_answers(plugin, question))
    for what, word in words(cloud):
        if known.get(what) and word not in known[what]:
            missing.append(Missing(what, word, tuple(sorted(known[what]))))
    asked = tuple(what for what in (ZONES, VERSION, TYPES) if what in known)
    unknown = discovery.version_unknown
    return Comparison(tuple(missing), asked, (unknown,) if unknown and cloud.settings.version else ())


def words(cloud: Cloud) -> Iterator[tuple[str, str]]:
    """The values of a Cloud that only its vendor can validate."""
    yield from ((ZONES, place) for place in cloud.settings.places)
    if cloud.settings.version:
        yield VERSION, cloud.settings.version
    yield from ((TYPES, name) for name in machine_types(cloud))


def _answers(plugin: Plugin, question: Question) -> Iterator[str]:
    found: Any = plugin.invoke(question.token, question.arguments).get(question.items) or ()
    for item in found:
        text = item.get(question.name) if question.name and isinstance(item, dict) else item
        if isinstance(text, str) and text:
            yield text


def _refusal(plugin: Plugin, question: Question) -> str:
    """The vendor's error if something does not exist or may not be read; empty if it exists."""
    try:
        plugin.invoke(question.token, question.arguments)
    except DeploymentError as error:
        return error.details or error.message
    return ""
