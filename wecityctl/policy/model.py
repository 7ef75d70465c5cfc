"""What a rule is, what it looks at, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from wecityctl.model.catalogue import Catalogue
from wecityctl.model.city import City
from wecityctl.placement import Placement
from wecityctl.resource_graph import RecordedResource, Recording

Level = Literal["advisory", "mandatory"]
# Who does what a rule asks for: this program, in its gate and in the clusters; somebody whom it does not ask, such as a
# vendor; or nobody yet.
Enforcement = Literal["here", "elsewhere", "nobody"]
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PolicyInput:
    """What rules judge: the city as its files say, where everything is placed, and what the stacks would register.

    `images` maps catalogue image names to references. `recordings` is empty where only the files are judged, and
    `placement` where the city cannot be placed.
    """

    city: City
    catalogue: Catalogue
    placement: Placement
    images: Mapping[str, str]
    recordings: tuple[Recording, ...] = ()

    def objects(self, *kinds: str) -> Iterator[tuple[Recording, RecordedResource]]:
        """The Kubernetes objects of these kinds (all, when none is named), each with its stack's recording."""
        for recording in self.recordings:
            for item in recording.resources:
                if item.is_kubernetes_object and (not kinds or item.inputs.get("kind") in kinds):
                    yield recording, item


@dataclass(frozen=True, slots=True)
class Finding:
    """One place where a rule is broken.

    `subject` is what waivers match: `<tenant>/<app>`, `tenant <name>`, `capability <name>`, `cloud <name>`,
    `<Kind> <namespace>/<name>` or `city`. `document` and `path` lead to the line in the files, where there is one:
    ("App", "health/code") and ("spec", "zone"). `unsaid`: nothing is known to be wrong, but an optional field that
    would show it is left out, or what it says is done by nobody yet; such a finding is advice, whatever the rule
    weighs.
    """

    subject: str
    message: str
    resolution: str
    stack: str = ""
    document: tuple[str, str] | None = None
    path: tuple[str | int, ...] = ()
    unsaid: bool = False


Check = Callable[[PolicyInput], Iterable[Finding]]
# The second argument maps catalogue image names to references.
Admission = Callable[[City, Mapping[str, str]], Iterable[Manifest]]
Evidence = Callable[[PolicyInput], Iterable[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One policy rule.

    `why` is a paragraph for people. A rule with a `veto` is mandatory and cannot be waived. `mlps` is the lowest level
    of GB/T 22239 from which on it is mandatory: below it is advisory (0: `level` holds always). `controls` name the
    controls of GB/T 22239 that it is evidence for. `admission` makes the objects that hold the line in a cluster;
    `evidence` says in sentences what the rule has seen. Where `enforced` is `nobody`, the files' words are all there
    is: its findings are advice, whatever it weighs otherwise. `of_objects`: it judges Kubernetes objects, and so the
    live ones as well as those that would be registered. `applies` says of a city whether it has anything that
    the rule could judge: where it has not, the absence of findings is no evidence. With `of_files` it has something to
    say of the files alone, and is asked even of a city that cannot be placed.
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
    of_files: bool = False
    enforced: Enforcement = "here"
    of_objects: bool = False

    def level_for(self, city: City) -> Level:
        """How much the rule weighs in `city`."""
        if self.enforced == "nobody":
            return "advisory"
        return "advisory" if self.mlps > city.compliance.mlps else self.level
