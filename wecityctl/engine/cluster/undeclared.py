"""Handles undeclared objects on a run's clouds: reports them in every `preview` and `up`, removes confirmed ones.

`drift.undeclared` defines which objects are undeclared; this module applies it to the states and the run's results.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from wecityctl.engine.cluster import probe
from wecityctl.engine.cluster.lost import Registered, is_a_providers, with_their_stacks
from wecityctl.engine.cluster.query import ask
from wecityctl.engine.cluster.up_to_date import UpToDateCheck
from wecityctl.engine.context.context import Context
from wecityctl.engine.process.outcome import describe
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, Deployment
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster
from wecityctl.model.city import City
from wecityctl.model.events import Diagnostic, Emit, ResourceChange, StackResult
from wecityctl.model.findings import Finding
from wecityctl.model.stacknames import LAYERS

if TYPE_CHECKING:
    from wecityctl.drift.undeclared import Found, Place
    from wecityctl.kube.client import KubeClient

Results = Mapping[str, StackResult]
# By UID: empty if the object was removed, otherwise why it was not.
Removed = dict[str, str]
_GOOD = ("succeeded", "unchanged", "skipped")


def declared_in(deployment: Deployment, cluster: Cluster) -> Iterator[Place]:
    """Yield the objects that a stack's state has on the cluster, including those whose creation was interrupted."""
    from wecityctl.drift.undeclared import place

    pending = [item.get("resource") or {} for item in deployment.get("pending_operations") or ()]
    resources = [*(deployment.get("resources") or ()), *pending]
    for item in resources:
        known = (item.get("inputs") or {}).get("clusterIdentifier") if item.get("type") == KUBERNETES_PROVIDER else None
        if isinstance(known, str) and known and known != cluster.identifier:
            return
    for item in resources:
        if not str(item.get("type")).startswith("kubernetes:"):
            continue
        for side in (item.get("outputs") or {}, item.get("inputs") or {}):
            meta = side.get("metadata")
            if isinstance(meta, Mapping) and meta.get("name"):
                version, kind = str(side.get("apiVersion")), str(side.get("kind"))
                yield place(version, kind, str(meta.get("namespace") or ""), str(meta["name"]))


def _place(key: str) -> Place:
    """Parse an object's key of the probe."""
    from wecityctl.drift.undeclared import place

    return place(*key.split(probe.SEPARATOR))


def look(cluster: Cluster, city: City, deployments: Mapping[str, Deployment | None], home: str) -> Found:
    """Return the undeclared objects on a cluster, and the kinds that could not be listed; changes nothing.

    `deployments` are those of all the city's stacks; `home` is the stack under which objects that belong to no stack
    are reported. Raises the Kubernetes client's errors.
    """
    from wecityctl.drift.undeclared import find_on

    declared = {
        each: stack
        for stack, deployment in deployments.items()
        if deployment is not None
        for each in declared_in(deployment, cluster)
    }
    return ask(cluster, lambda client: find_on(client, city, cluster.cloud, declared, home=home))


def unseen_notes(cloud: str, found: Found) -> Iterator[str]:
    """Yield the messages for kinds that may not be listed, and for extension API servers that do not answer."""
    start = f"cloud {cloud}: not looked for undeclared objects of"
    if found.unseen:
        yield f"{start} {', '.join(found.unseen)}: this identity may not list them"
    if found.silent:
        yield f"{start} {', '.join(found.silent)}: the extension that serves them does not answer"


def unasked_note(cloud: str, error: WecityError) -> str:
    """Return the message for a cloud that could not be examined."""
    return f"cloud {cloud}: not looked for undeclared objects: {error.message}"


class UndeclaredControl:
    """Looks for undeclared objects after the stacks of a run have ended. `notes` lists what could not be examined."""

    def __init__(
        self,
        context: Context,
        up_to_date: UpToDateCheck,
        emit: Emit,
        elsewhere: Collection[str],
        with_kept: Mapping[str, Deployment],
        registered: Registered,
    ) -> None:
        """`elsewhere` are the city's stacks outside this run; their objects are not reported. `with_kept` are
        deployments that include what an `up` would restore, for a preview. `registered` returns the URNs of all stacks
        when they are needed.
        """
        self._registered = registered
        self._with_kept = with_kept
        self._context = context
        self._elsewhere = elsewhere
        self._up_to_date = up_to_date
        self._emit = emit
        self.notes: list[str] = []

    def settle(self, results: Results) -> dict[str, StackResult]:
        """Return the results with the undeclared objects on the stacks' clouds; removes those that were confirmed."""
        done = dict(results)
        for cluster, home in self._homes(results):
            try:
                found, removed = ask(cluster, partial(self._look, cluster=cluster, home=home, results=results))
            except WecityError as error:
                self.notes.append(unasked_note(cluster.cloud, error))
                continue
            self.notes += unseen_notes(cluster.cloud, found)
            is_preview = self._context.options.operation == "preview"
            told = [
                item.finding
                for item in found.strangers
                if not (is_preview and self._is_to_come(item.finding, results))
                and self._stack_of(item.finding, home, done)
            ]
            for finding in with_their_stacks(told, cluster, self._registered, partial(self._urns, results=results)):
                stack = self._stack_of(finding, home, done)
                done[stack] = self._within(done[stack], finding, removed)
        return done

    def _homes(self, results: Results) -> Iterator[tuple[Cluster, str]]:
        """Yield the clusters of the run's stacks, each once, with the first stack on it."""
        known: set[str] = set()
        for name, stack in self._context.stacks.items():
            cluster = self._context.cluster_of(name) if LAYERS[stack.layer].needs_cluster else None
            if name in results and cluster is not None and cluster.identifier not in known:
                known.add(cluster.identifier)
                yield cluster, name

    async def _look(self, client: KubeClient, cluster: Cluster, home: str, results: Results) -> tuple[Found, Removed]:
        from wecityctl.drift.undeclared import find_on, remove

        city, declared = self._context.plan.city, self._declared(cluster, results)
        found = await find_on(client, city, cluster.cloud, declared, home=home)
        if found.strangers and self._elsewhere:
            # Another run may have created the object meanwhile, so an object must be undeclared in two readings of the
            # states.
            first = {item.finding.uid for item in found.strangers}
            declared |= self._declared(cluster, results)
            found = await find_on(client, city, cluster.cloud, declared, home=home)
            found = replace(found, strangers=tuple(item for item in found.strangers if item.finding.uid in first))
        removed: Removed = {}
        confirmed = [item for item in found.strangers if self._is_confirmed(item.finding, home, results)]
        if obstacle := self._obstacle(results):
            self.notes += [f"{item.finding.title} was not removed, because {obstacle}" for item in confirmed]
            confirmed = []
        for item in confirmed:
            try:
                removed[item.finding.uid] = await remove(client, item)
            except WecityError as error:
                removed[item.finding.uid] = describe(error)
        return found, removed

    def _declared(self, cluster: Cluster, results: Results) -> dict[Place, str]:
        found: dict[Place, str] = {}
        for stack in dict.fromkeys((*self._context.backend.list_stacks(), *self._with_kept)):
            keys = self._up_to_date.objects(stack) if self._is_untouched(stack, results) else ()
            there = self._context.cluster_of(stack) if keys else None
            if there is not None:
                if there.identifier == cluster.identifier:
                    found |= {_place(key): stack for key in keys}
            elif (deployment := self._deployment(stack, results)) is not None:
                found |= dict.fromkeys(declared_in(deployment, cluster), stack)
        return found

    def _urns(self, stack: str, results: Results) -> frozenset[str]:
        deployment = self._deployment(stack, results) or {}
        return frozenset(item["urn"] for item in deployment.get("resources") or () if not item.get("delete"))

    @staticmethod
    def _is_untouched(stack: str, results: Results) -> bool:
        return stack in results and results[stack].outcome in ("unchanged", "skipped")

    def _deployment(self, stack: str, results: Results) -> Deployment | None:
        if stack in self._with_kept:
            return self._with_kept[stack]
        if self._context.backend.states is None and (
            self._context.options.operation == "preview" or self._is_untouched(stack, results)
        ):
            # Without direct access to the states, each read costs a call of the engine's CLI.
            state = self._context.state(stack)
            return state.deployment if state is not None else None
        return self._context.backend.store.read(stack)[0]

    def _stack_of(self, finding: Finding, home: str, results: Results) -> str:
        """Return the stack under which the finding is reported; empty if it belongs to a stack outside this run."""
        if finding.stack in results:
            return finding.stack
        return "" if finding.stack in self._elsewhere else home

    @staticmethod
    def _is_to_come(finding: Finding, results: Results) -> bool:
        """Whether the preview shows that an `up` would create the object. The `up` then adopts it, as after the loss of
        a state.
        """
        created = {
            (change.type.rpartition(":")[2], change.name)
            for result in results.values()
            for change in result.changes
            if change.op == "create"
        }
        if finding.is_removable:
            return (finding.kind, finding.title.partition(" ")[2]) in created
        # Not every name in a URN is the object's name, but all these objects were created by a provider of ours.
        return bool(created) and is_a_providers(finding)

    def _obstacle(self, results: Results) -> str:
        """Return why confirmed objects are not removed; empty if they are.

        A stack that did not run successfully may have lost its state and then does not know its own objects.
        """
        if self._elsewhere:
            return "only part of the city was run"
        bad = [name for name, result in results.items() if result.outcome not in _GOOD]
        return f"the run of {bad[0]} did not succeed" if bad else ""

    def _is_confirmed(self, finding: Finding, home: str, results: Results) -> bool:
        options = self._context.options
        if options.operation != "up" or not finding.is_removable:
            return False
        stack = self._stack_of(finding, home, results)
        return bool(stack) and options.confirms(stack) and (options.shown is None or finding.uid in options.shown)

    def _within(self, result: StackResult, found: Finding, removed: Mapping[str, str]) -> StackResult:
        finding = replace(found, stack=result.stack, resolved=removed.get(found.uid) == "")
        result = replace(result, findings=(*result.findings, finding))
        failure = removed.get(found.uid)
        if failure:
            return replace(result, outcome="failed", errors=(*result.errors, f"{finding}; not removed: {failure}"))
        if failure == "":
            text = f"{finding}; removed"
            name = finding.title.partition(" ")[2]
            kind = f"kubernetes:{finding.api_version}:{finding.kind}"
            gone = ResourceChange(f"{kind}::{name}", kind, name, "delete")
            outcome = "succeeded" if result.outcome in ("unchanged", "skipped") else result.outcome
            result = replace(result, outcome=outcome, changes=(*result.changes, gone))
        elif finding.of_stack:
            text = str(finding)
        elif finding.what == "altered":
            text = f"{finding}; left as it is, delete it, and its controller makes it anew"
        elif finding.deleting and finding.finalizers:
            text = f"{finding}; it goes once its finalizers are removed, by what they stand for or by hand"
        elif finding.is_removable:
            text = f"{finding}; `wecityctl up --confirm={self._context.plan.city.name}` removes it"
        elif found.stack not in self._context.stacks and found.stack not in self._elsewhere:
            # The namespace belongs to a stack that was removed from the configuration.
            confirm = f"`wecityctl up --confirm={self._context.plan.city.name}`"
            text = f"{finding}; {confirm} deletes it with {found.stack}, unless a volume keeps its namespace"
        else:
            text = f"{finding}; left as it is"
        self._emit(Diagnostic(result.stack, "warning", text))
        return replace(result, warnings=(*result.warnings, text))
