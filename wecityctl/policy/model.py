"""The types of a rule, its input and its findings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.placement import Placement
from wecityctl.resource_graph import RecordedResource, Recording

Level = Literal["advisory", "mandatory"]
# Who enforces a rule: this program, before a run and in the clusters; somebody that it cannot ask, such as a vendor; or
# nobody yet.
Enforcement = Literal["here", "elsewhere", "nobody"]
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PolicyInput:
    """The input of the rules: the city's files, the placement, and the resources that the stacks would register.

    `images` maps catalogue image names to references. `recordings` is empty if only the files are checked; `placement`
    is empty if the city cannot be placed.
    """

    city: City
    catalogue: Catalogue
    placement: Placement
    images: Mapping[str, str]
    recordings: tuple[Recording, ...] = ()

    def objects(self, *kinds: str) -> Iterator[tuple[Recording, RecordedResource]]:
        """The Kubernetes objects of these kinds (of all, if none is given), each with its stack's recording."""
        for recording in self.recordings:
            for item in recording.resources:
                if item.is_kubernetes_object and (not kinds or item.inputs.get("kind") in kinds):
                    yield recording, item


@dataclass(frozen=True, slots=True)
class Finding:
    """One violation of a rule.

    Waivers match `subject`: `<tenant>/<app>`, `tenant <name>`, `capability <name>`, `cloud <name>`, `<Kind>
    <namespace>/<name>` or `city`. `document` and `path` lead to the line in the files, if there is one: ("App",
    "health/code") and ("spec", "zone"). `unsaid`: no violation is known, but an optional field that would show one is
    missing, or nothing implements that field yet. Such a finding is advisory, whatever the rule's level.
    """

    subject: str
    message: str
    resolution: str
    stack: str = ""
    document: tuple[str, str] | None = None
    path: tuple[str | int, ...] = ()
    unsaid: bool = False


def clouds_with_apps(policy_input: PolicyInput) -> tuple[str, ...]:
    """The clouds on which apps run, in order; all clouds of a city that cannot be placed."""
    city, placed = policy_input.city, policy_input.placement.apps
    running = {placed[app.tenant, app.name] for app in city.apps if app.runs and (app.tenant, app.name) in placed}
    return tuple(item.name for item in city.clouds if item.name in running or not placed)


def lacking(policy_input: PolicyInput, kind: str) -> tuple[str, ...]:
    """The clouds that run apps and have no instance of the capability type `kind`."""
    placed = policy_input.placement.capabilities
    having = {placed.get(item.name) for item in policy_input.city.capabilities if item.type == kind}
    return tuple(cloud for cloud in clouds_with_apps(policy_input) if cloud not in having)


Check = Callable[[PolicyInput], Iterable[Finding]]
# The second argument maps catalogue image names to references.
Admission = Callable[[City, Mapping[str, str]], Iterable[Manifest]]
Evidence = Callable[[PolicyInput], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy rule.

    `why` is a paragraph for users. A rule with a `veto` is mandatory and cannot be waived. `mlps` is the lowest level
    of GB/T 22239 at which the rule is mandatory; below it is advisory (0: always `level`). `controls` are the controls
    of GB/T 22239 for which it is evidence. `admission` creates the objects that enforce it in a cluster. `evidence`
    describes in sentences what the rule has found to hold. If `enforced` is `nobody`, only the files are checked and
    all findings are advisory. `of_objects`: the rule checks Kubernetes objects, so it also applies to live objects.
    `applies` tells whether a city has anything that the rule checks; if not, the absence of findings is no evidence.
    `observed` tells of a rule that is not enforced here whether the city has what does what the files say, so that its
    work is observed. `of_files`: the rule also checks the files alone, and is evaluated even for a city that cannot be
    placed. `enforced_by` is the capability type whose instances enforce the rule, each on its cloud; what they say of
    themselves is evidence.
    """

    name: str
    title: str
    why: str
    check: Check
    level: Level = "mandatory"
    veto: bool = False
    mlps: int = 0
    controls: tuple[str, ...] = ()
    admission: Admission | None = None
    evidence: Evidence | None = None
    applies: Callable[[City], bool] | None = None
    observed: Callable[[City], bool] | None = None
    of_files: bool = False
    enforced: Enforcement = "here"
    of_objects: bool = False
    enforced_by: str = ""

    def enforced_in(self, policy_input: PolicyInput) -> Enforcement:
        """Who enforces the rule in this city: nobody, if it needs a capability that a cloud with running apps lacks."""
        return "nobody" if self.lacking(policy_input) else self.enforced

    def lacking(self, policy_input: PolicyInput) -> tuple[str, ...]:
        """The clouds that run apps and have no instance of the capability type that enforces the rule."""
        return lacking(policy_input, self.enforced_by) if self.enforced_by else ()

    def level_for(self, city: City) -> Level:
        """The rule's level in `city`."""
        if self.enforced == "nobody":
            return "advisory"
        return "advisory" if self.mlps > city.compliance.mlps else self.level
