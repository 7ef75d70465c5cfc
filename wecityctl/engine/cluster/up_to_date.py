"""Decides which stacks an `up` may skip, and writes the records that a later `up` needs to decide.

A stack is never skipped after a failure, with pending operations, past the age limit of its record, or if the bytes of
its state cannot be read.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from wecityctl.engine.cluster import probe
from wecityctl.engine.cluster.query import ask
from wecityctl.engine.context.fingerprint import fingerprint, values_of
from wecityctl.engine.context.landing_outputs import LAYER as LANDING
from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.process.provider_choice import ProviderChoice
from wecityctl.engine.state import records
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import StackState
from wecityctl.engine.state.records import Record
from wecityctl.engine.workers.vendors import vendor_sdk
from wecityctl.errors import WecityError
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model.events import StackResult
from wecityctl.model.findings import Finding
from wecityctl.model.times import in_utc
from wecityctl.plan import Plan, Stack


@dataclass(frozen=True, slots=True)
class Look:
    """What a run has observed of a stack's objects.

    `seen` maps the probe's keys to the objects as they were examined; `written` has the URNs that the engine has
    written since, whose content is in the state; `left` are the findings that were reported and not resolved.
    """

    seen: Mapping[str, probe.Seen] = field(default_factory=dict)
    written: frozenset[str] = frozenset()
    left: tuple[Finding, ...] = ()


def _written(state: StackState, urns: Collection[str]) -> dict[str, probe.Seen]:
    """Return the objects as the API server returned them to the engine's writes."""
    found: dict[str, probe.Seen] = {}
    for item in state.resources:
        for key in probe.keys_of(replace(state, resources=(item,))) if item.urn in urns else ():
            found[key] = probe.as_seen(item.outputs)
    return found


def _without_values(found: Finding) -> Finding:
    """Return a finding without the values that others have added, since they may be confidential."""
    if found.what != "addition":
        return found
    return replace(found, fields=tuple(replace(item, live=None) for item in found.fields))


class UpToDateCheck:
    """The records of one run's stacks, compared with the clusters."""

    def __init__(
        self,
        plan: Plan,
        options: RunOptions,
        clusters: Mapping[str, Cluster],
        backend: Backend,
        provider: ProviderChoice,
        tools: Callable[[], str],
    ) -> None:
        self._plan = plan
        self._options = options
        self._clusters = clusters
        self._states = backend.states
        self._provider = provider
        self._make_tools = tools
        self._tools = ""
        self._records: dict[str, Record] = {}
        self._differences: dict[str, str] = {}
        self._secrets_digest: str | None = None
        self._probed: set[str] = set()
        self._seen: dict[str, probe.Seen] = {}
        self._mutators: dict[str, str] = {}

    def load(self) -> None:
        """Read the records that match the current states; before an `up`, also probe the clusters."""
        if self._states is None or self._options.operation not in ("preview", "up"):
            return
        for stack in self._plan.stacks:
            record = records.load(self._states, stack.name)
            if record is not None and record.state == self._state_digest(stack.name):
                self._records[stack.name] = record
        if self._options.operation == "up":
            self._probe()

    @property
    def _may_skip(self) -> bool:
        """Whether stacks may be skipped after a probe of the cluster. A preview compares every object instead."""
        return self._options.operation == "up" and self._may_settle

    @property
    def _may_settle(self) -> bool:
        options = self._options
        return options.skip and not options.refresh and not options.targets

    def record(self, stack: str) -> Record | None:
        """Return the stack's record if its state is still the one recorded; otherwise `None`."""
        return self._records.get(stack)

    def is_recent(self, stack: str) -> bool:
        """Whether the stack's record is within the age limit."""
        record = self._records.get(stack)
        return record is not None and 0 <= time.time() - record.looked_at <= self._options.timeouts.age

    def _is_plausible(self, stack: str) -> bool:
        record = self._records.get(stack)
        if record is None or not self.is_recent(stack):
            return False
        # To remove others' additions, they have to be found again.
        return not self._differences.get(stack) and not (self._options.take_over and record.left)

    def _probe(self) -> None:
        for cloud, cluster in self._clusters.items():
            stacks = [
                stack.name
                for stack in self._plan.stacks
                if stack.cloud == cloud and stack.layer != LANDING and stack.name not in self._options.given
            ]
            noted = {name: self._records[name] for name in stacks if self._may_skip and self._is_plausible(name)}
            if noted and self._options.given:
                # The probe lists each kind in all namespaces, which a deployer may not. Each object is examined
                # instead.
                self._differences |= dict.fromkeys(noted, "these credentials may not list the city's objects")
                continue
            kinds = probe.kinds_in(key for record in noted.values() for key in record.objects)
            try:
                # Runs before any examination, so that the record has the admission configuration of that time.
                live, self._mutators[cloud] = self._look(cluster, kinds)
            except WecityError as error:
                # The run itself reports this error in full.
                self._differences |= dict.fromkeys(noted, error.message)
                continue
            for name, record in noted.items():
                if record.cluster != cluster.identifier:
                    self._differences[name] = "the cluster is another one"
                elif record.mutators != self._mutators.get(cloud, ""):
                    self._differences[name] = "what changes objects on admission is another"
                elif difference := probe.differs(record.objects, live):
                    self._differences[name] = difference
                else:
                    self._probed.add(name)
                    self._seen |= {key: live[key] for key in record.objects}

    def _look(self, cluster: Cluster, kinds: set[tuple[str, str]]) -> tuple[probe.Objects, str]:
        """Return the city's objects of these kinds, and a digest of what modifies objects on admission."""
        from wecityctl.drift.mutators import Mutators

        city = self._plan.city.name
        return ask(cluster, lambda client: asyncio.gather(probe.look(client, city, kinds), Mutators(client).digest()))

    def has_same_inputs(self, inputs: StackInputs) -> bool:
        """Whether the program's inputs equal those of its last successful run. It then registers the same resources."""
        record = self._records.get(inputs.stack.name)
        return record is not None and record.fingerprint == self._fingerprint(inputs)

    def has_same_values(self, inputs: StackInputs) -> bool:
        """Whether a landing zone's inputs and state equal those of its last successful run.

        Then only an expired record or another version of this program would be a reason to run it.
        """
        record = self._records.get(inputs.stack.name)
        return self._may_skip and record is not None and record.values == values_of(inputs)

    def is_probed(self, stack: str) -> bool:
        """Whether the probe of this run found the stack's objects as its last run left them."""
        return stack in self._probed

    def has_left(self, stack: str) -> bool:
        """Whether the last run left findings unresolved. The next run reports them again."""
        record = self._records.get(stack)
        return record is not None and bool(record.left)

    def objects(self, stack: str) -> tuple[str, ...]:
        """Return the keys of the objects of a probed stack; empty for others."""
        return tuple(self._records[stack].objects) if stack in self._probed else ()

    def seen(self, stack: str) -> dict[str, probe.Seen]:
        """Return the objects of a probed stack as the probe saw them."""
        return {key: self._seen[key] for key in self.objects(stack)}

    def skip_reason(self, inputs: StackInputs) -> StackResult | None:
        """Return the result of a stack that need not run; `None` for one that must."""
        name = inputs.stack.name
        record = self._records.get(name)
        if record is None or not self._may_skip or not self.is_settled(inputs) or not self._is_plausible(name):
            return None
        when = in_utc(datetime.fromtimestamp(record.looked_at, UTC).isoformat())
        if not record.objects:
            return StackResult(name, "skipped", reason=f"last looked at {when}")
        reason = (
            f"{len(record.objects)} objects are as the run of {when} left them"
            if len(record.objects) > 1
            else f"its one object is as the run of {when} left it"
        )
        warnings = tuple(item.notice for item in record.left)
        return StackResult(
            name, "unchanged", unchanged=record.unchanged, reason=reason, warnings=warnings, findings=record.left
        )

    def is_settled(self, inputs: StackInputs) -> bool:
        """Whether the engine would find nothing to do, regardless of the objects on the cluster."""
        name = inputs.stack.name
        record = self._records.get(name)
        if record is None or not self._may_settle or not self.is_recent(name):
            return False
        # A landing zone has no cluster to probe: its record alone decides, and its result is never "unchanged".
        if inputs.stack.layer != LANDING and (inputs.cluster is None or inputs.cluster.identifier != record.cluster):
            return False
        return record.fingerprint == self._fingerprint(inputs) and record.provider == self._provider_of(inputs.stack)

    def unchanged(self, stack: str) -> int:
        """Return the number of the stack's resources by its record."""
        record = self._records.get(stack)
        return record.unchanged if record is not None else 0

    def _fingerprint(self, inputs: StackInputs) -> str:
        self._tools = self._tools or self._make_tools()
        if self._secrets_digest is None:
            self._secrets_digest = self._state_digest(self._secrets_stack)
        return fingerprint(
            inputs,
            provider=self._provider_of(inputs.stack),
            program=self._options.program,
            tools=self._tools,
            secrets_digest=self._secrets_digest,
        )

    def _provider_of(self, stack: Stack) -> str:
        """Return what executes the stack: the Kubernetes provider, or the vendor's SDK with its version."""
        return vendor_sdk(self._plan.city.cloud(stack.cloud)) if stack.layer == LANDING else str(self._provider)

    @property
    def _secrets_stack(self) -> str:
        return next((stack.name for stack in self._plan.stacks if stack.layer == "secrets"), "")

    def _state_digest(self, stack: str) -> str:
        stored = self._states.stored(stack) if self._states is not None and stack else b""
        return hashlib.sha256(stored).hexdigest() if stored else ""

    def forget(self, stack: str) -> None:
        """Delete the stack's record, because the stack is about to be changed."""
        if self._states is not None and self._options.operation != "preview":
            records.discard(self._states, stack)
            if stack == self._secrets_stack:
                self._secrets_digest = None

    def noted_secrets(self) -> tuple[str, ...]:
        """Return the names of the values that the secret store had after the last `up`."""
        found = records.load(self._states, self._secrets_stack) if self._states is not None else None
        return found.names if found is not None else ()

    def note_secrets(self, names: tuple[str, ...], certificate_names: str) -> None:
        """Record the names of the values in the secret store, and a digest of the subject names of its certificates."""
        if self._states is not None and (digest := self._state_digest(self._secrets_stack)):
            record = Record(
                self._secrets_stack,
                "",
                digest,
                time.time(),
                str(self._provider),
                "",
                names=names,
                values=certificate_names,
            )
            records.save(self._states, record)

    def note(self, backend: Backend, done: Mapping[str, StackInputs], looks: Mapping[str, Look]) -> None:
        """Write the records of the stacks that a run has just updated or examined.

        `looks` has what the run observed of each stack's objects. A stack with an object that was written to since gets
        no record, so that the next run examines it.
        """
        # A record needs lists of all namespaces, which a deployer may not make.
        if self._states is None or self._options.targets or self._options.given:
            return
        states = {name: state for name in done if (state := backend.read_state(name)) is not None}
        self._note_landings(states, done)
        for cloud, cluster in self._clusters.items():
            here = [name for name in states if done[name].stack.cloud == cloud and done[name].stack.layer != LANDING]
            keys = {name: probe.keys_of(states[name]) for name in here}
            try:
                kinds = probe.kinds_in(key for found in keys.values() for key in found)
                if cloud not in self._mutators:
                    # A landing zone has created the cluster in this run.
                    live, self._mutators[cloud] = self._look(cluster, kinds)
                else:
                    live = ask(cluster, partial(probe.look, city=self._plan.city.name, kinds=kinds)) if kinds else {}
            except WecityError:
                # No record: the next run examines these stacks.
                continue
            for name in here:
                seen = dict(looks[name].seen) | _written(states[name], looks[name].written)
                if states[name].pending or any(key not in live or key not in seen for key in keys[name]):
                    continue
                if not all(probe.is_still(seen[key], live[key]) for key in keys[name]):
                    continue
                record = Record(
                    name,
                    self._fingerprint(done[name]),
                    states[name].digest,
                    time.time(),
                    str(self._provider),
                    cluster.identifier,
                    states[name].outputs,
                    {key: (live[key].uid, live[key].mark) for key in keys[name]},
                    (),
                    len([item for item in states[name].resources if item.parent and not item.is_provider]),
                    left=tuple(map(_without_values, looks[name].left)),
                    mutators=self._mutators.get(cloud, ""),
                )
                records.save(self._states, record)

    def _note_landings(self, states: Mapping[str, StackState], done: Mapping[str, StackInputs]) -> None:
        """Write the records of landing zones, without their outputs: a record must not contain a kubeconfig."""
        assert self._states is not None
        for name, state in states.items():
            stack = done[name].stack
            if stack.layer == LANDING and not state.pending:
                provider = self._provider_of(stack)
                record = Record(
                    name,
                    self._fingerprint(done[name]),
                    state.digest,
                    time.time(),
                    provider,
                    "",
                    values=values_of(done[name]),
                )
                records.save(self._states, record)
