"""Reports undeclared objects in the namespaces of stacks that are being destroyed, before anything is deleted.

Deleting a namespace deletes everything in it, including other users' volumes and Secrets. `takedown` decides which
namespaces are deleted.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from wecityctl.engine.cluster.undeclared import look, unasked_note, unseen_notes
from wecityctl.engine.removal.takedown import namespaces
from wecityctl.engine.state.checkpoint import Deployment, StackState
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.city import City
from wecityctl.model.events import Diagnostic, Emit, KeptObject, StackResult
from wecityctl.model.findings import Finding
from wecityctl.model.kinds import gives_or_opens, runs_pods
from wecityctl.model.security import group_of


@dataclass(frozen=True, slots=True)
class TakenDown:
    """A stack to be destroyed. `state` includes what earlier runs have retained; `kept` is what this run retains."""

    stack: str
    cluster: Cluster
    state: StackState
    kept: tuple[KeptObject, ...] = ()


@dataclass(frozen=True, slots=True)
class Beside:
    """The undeclared objects in the namespaces of destroyed stacks, by stack; `notes` list what
    could not be examined.
    """

    found: Mapping[str, Sequence[Finding]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def tell(self, emit: Emit) -> None:
        """Emit a warning for each object."""
        for stack, findings in self.found.items():
            for item in findings:
                emit(Diagnostic(stack, "warning", item.told(_fate(item))))

    def within(self, result: StackResult, *, planned: bool = False) -> StackResult:
        """Return a stack's result with its undeclared objects. `planned`: nothing was deleted, as in a preview."""
        found = self.found.get(result.stack, ())
        is_done = result.outcome == "succeeded" and not planned
        return replace(
            result,
            findings=(*result.findings, *(replace(item, resolved=is_done and item.with_namespace) for item in found)),
            warnings=(*result.warnings, *(item.told(_fate(item)) for item in found)),
        )


def look_beside(city: City, taken: Iterable[TakenDown], deployments: Mapping[str, Deployment | None]) -> Beside:
    """Return the undeclared objects in the namespaces of these stacks.

    In a namespace that is deleted, that is every object; in one that is retained, only workloads, whose pods keep
    running, and objects that grant rights, allow access or set limits. `deployments` are those of all the city's
    stacks. A cluster that does not answer becomes a note.
    """
    by_cluster: dict[str, list[TakenDown]] = {}
    for item in taken:
        by_cluster.setdefault(item.cluster.identifier, []).append(item)
    found: dict[str, list[Finding]] = {}
    notes: list[str] = []
    for stacks in by_cluster.values():
        going, staying = dict[str, str](), dict[str, str]()
        for item in stacks:
            gone, kept = namespaces(item.state, item.kept)
            going |= dict.fromkeys(gone, item.stack)
            staying |= dict.fromkeys(kept, item.stack)
        if not going and not staying:
            continue
        cluster = stacks[0].cluster
        whole = {**deployments, **{item.stack: item.state.deployment for item in stacks}}
        try:
            looked = look(cluster, city, whole, stacks[0].stack)
        except WecityError as error:
            notes.append(unasked_note(cluster.cloud, error))
            continue
        notes += unseen_notes(cluster.cloud, looked)
        for one in looked.findings:
            if one.what != "undeclared":
                continue
            if stack := going.get(one.namespace):
                found.setdefault(stack, []).append(replace(one, stack=stack, with_namespace=True))
            elif (stack := staying.get(one.namespace)) and (
                gives_or_opens(group_of(one.api_version), one.kind) or runs_pods(group_of(one.api_version), one.kind)
            ):
                found.setdefault(stack, []).append(replace(one, stack=stack))
    return Beside(found, tuple(notes))


def _fate(item: Finding) -> str:
    if item.with_namespace:
        return "deleted with its namespace"
    if not runs_pods(group_of(item.api_version), item.kind):
        return "left in the namespace that is kept"
    command = f"kubectl delete {item.kind.lower()} {item.name} -n {item.namespace}"
    return f"left running in the namespace that is kept; `{command}` ends it"
