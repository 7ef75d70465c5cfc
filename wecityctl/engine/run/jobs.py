"""Builds a worker's job for a stack of the plan: CLI arguments, environment variables, and resources to protect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wecityctl.engine.context.options import RunOptions
from wecityctl.engine.process.ipc import Job, Lifted, OpenState
from wecityctl.engine.state.backend import Backend
from wecityctl.engine.state.checkpoint import KUBERNETES_PROVIDER, Deployment, StackState
from wecityctl.engine.workers.engine import Engine, cli_path
from wecityctl.inputs import Cluster, StackInputs
from wecityctl.model.events import Operation

_COMMON = (
    "--non-interactive",
    "--color=never",
    "--exec-kind=auto.inline",
    "--skip-plugin-pre-install",
    "--skip-config-validation",
    "--suppress-progress",
    "--suppress-outputs",
)
_CHANGING = ("--yes", "--skip-preview")
_PER_OPERATION: Mapping[Operation, tuple[str, ...]] = {
    "preview": ("preview",),
    "up": ("up", *_CHANGING, "--continue-on-error"),
    "refresh": ("refresh", *_CHANGING, "--run-program"),
    "destroy": ("destroy", *_CHANGING, "--continue-on-error", "--run-program", "--ignore-protect"),
}


@dataclass(frozen=True, slots=True)
class JobMaker:
    """Builds the jobs of one run."""

    backend: Backend
    engine: Engine
    options: RunOptions

    def make(
        self,
        stack: str,
        operation: Operation,
        *,
        state: StackState | None,
        inputs: StackInputs | None = None,
        values: Mapping[str, str] | None = None,
        providers: tuple[Mapping[str, Any], ...] = (),
        guarded: frozenset[str] = frozenset(),
        port: int = 0,
        shown: Deployment | None = None,
        lifted: tuple[Lifted, ...] = (),
        excluded: tuple[str, ...] = (),
    ) -> Job:
        """Return the job of one stack.

        `shown` replaces the stack's own state in a preview; a preview of a stack that does not exist uses an empty
        state. `lifted` are resources whose protection at the vendor a `destroy` removes first. `excluded` are URNs of
        resources that stay as they are, with everything that is registered below them or depends on them.

        With the option `refresh`, an `up` first reads the live objects, because the engine compares only with its
        state. This is a separate run of the CLI: with `up --refresh --run-program --continue-on-error`, engine 3.259.0
        never ends once a resource has failed, because it skips the refresh of each dependent and goes on waiting for
        it.
        """
        if operation != "preview":
            self.backend.ensure_stack(stack)
        states = self.backend.states
        if states is not None:
            previews = operation == "preview"
            seen = shown or ({} if previews and state is None else None)
            order = OpenState(states.url, stack, previews, seen, self.backend.seal(stack))
            environment = self.backend.sealed_environment() | self.engine.open_state(order)
        else:
            environment = self.backend.environment()
            if operation == "preview" and (state is None or shown is not None):
                scratch = self.engine.workdir.scratch
                scratch.create(stack)
                if shown is not None:
                    scratch.write(stack, shown)
                environment["PULUMI_BACKEND_URL"] = scratch.url
        if port:
            environment["PULUMI_DEBUG_PROVIDERS"] = f"kubernetes:{port}"
        return Job(
            stack,
            operation,
            self.options.program if inputs is not None else "",
            inputs,
            str(cli_path()),
            (*self._arguments(stack, operation), *_exclusions(excluded)),
            str(self.engine.workdir.path),
            environment,
            state.outputs if state is not None else None,
            guarded,
            providers,
            values,
            self.options.timeouts.stack,
            self.options.timeouts.cancel,
            self.options.timeouts.idle,
            self._before(stack, operation, lifted),
            lifted,
        )

    def _before(self, stack: str, operation: Operation, lifted: tuple[Lifted, ...]) -> tuple[str, ...]:
        if self.options.refresh and operation == "up":
            return tuple(self._arguments(stack, "refresh"))
        if lifted:
            targets = (word for item in lifted if item.protected for word in ("--target", item.urn))
            return ("up", *_CHANGING, *_COMMON, "--stack", stack, *targets)
        return ()

    def _arguments(self, stack: str, operation: Operation) -> list[str]:
        arguments = [*_PER_OPERATION[operation], *_COMMON, "--stack", stack]
        arguments += ["--parallel", str(self.options.resource_parallelism)]
        if operation == "preview" and self.options.refresh:
            arguments += ["--refresh", "--run-program"]
        # A preview shows deletions of protected resources; only `up` refuses them.
        if operation == "preview" or (operation == "up" and self.options.confirms(stack)):
            arguments.append("--ignore-protect")
        for target in self.options.targets:
            arguments += ["--target", target]
        return arguments


def _exclusions(excluded: tuple[str, ...]) -> tuple[str, ...]:
    words = tuple(word for urn in excluded for word in ("--exclude", urn))
    return (*words, "--exclude-dependents") if words else ()


def provider_registrations(
    backend: Backend, state: StackState, clusters: Mapping[str, Cluster]
) -> tuple[Mapping[str, Any], ...]:
    """Return the Kubernetes providers of the state, to be registered again with current credentials
    for their clusters.
    """
    by_identifier = {cluster.identifier: cluster for cluster in clusters.values()}
    found = []
    for resource in state.resources:
        # A vendor's provider works with the inputs in the state.
        if resource.type != KUBERNETES_PROVIDER or state.deployment is None:
            continue
        inputs = dict(backend.reveal(state.deployment, dict(resource.inputs)))
        version = inputs.pop("version", "")
        inputs.pop("__internal", None)
        cluster = by_identifier.get(str(inputs.get("clusterIdentifier", "")))
        if cluster is not None:
            inputs["kubeconfig"] = cluster.kubeconfig
            if cluster.context and "context" in inputs:
                inputs["context"] = cluster.context
        package = resource.type.rpartition(":")[2]
        found.append({"package": package, "name": resource.name, "inputs": inputs, "version": version})
    return tuple(found)
