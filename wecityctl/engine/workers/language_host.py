"""The language host of a stack run: runs our program at the engine's request, and captures its outputs.

Implements the SDK's LanguageRuntime protocol. The worker decides which stack is run and why.
"""

from __future__ import annotations

import asyncio
import dataclasses
import importlib
import inspect
import logging
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from threading import Lock
from typing import Any, cast

import grpc
import pulumi
from google.protobuf import empty_pb2
from pulumi.runtime import reset_options, run_in_stack, set_all_config
from pulumi.runtime.proto import LanguageRuntimeServicer, language_pb2, language_pb2_grpc, plugin_pb2

from wecityctl.engine.context.landing_outputs import SECRET_OUTPUTS
from wecityctl.engine.process.ipc import Job
from wecityctl.engine.sdk.patches import lighten
from wecityctl.listeners.callers import OwnCallers, is_served_by
from wecityctl.model.outputs import Outputs, to_json
from wecityctl.model.stacknames import StackName

EXPORT = "wecity"
PROTECTED_TYPES = (
    "kubernetes:core/v1:Namespace",
    "kubernetes:core/v1:PersistentVolumeClaim",
    "kubernetes:apps/v1:StatefulSet",
)
_CHANNEL_OPTIONS = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))


class GuardError(pulumi.RunError):
    """The program lacks a resource that may not be deleted without confirmation."""


class Program:
    """The program of one job. After a run, `outputs` has its resolved outputs, or `None` if they are not known.

    `lifting`: this is the first of the job's two runs, which only removes the vendor's deletion protection.
    """

    def __init__(self, job: Job, *, lifting: bool = False) -> None:
        self._job = job
        self._lifted = job.lifted if lifting else ()
        self._resources: list[pulumi.Resource] = []
        self.outputs: Mapping[str, Any] | None = None

    async def __call__(self) -> None:
        """Register the resources and export one stack output. Called by the SDK's `run_in_stack`."""
        pulumi.runtime.register_stack_transformation(self._observe)
        last_good = self._job.last_good
        if last_good is not None:
            # Exported until the new outputs are known, so that a run that fails in between keeps the old ones.
            pulumi.export(EXPORT, _sealed(last_good))
        if self._job.values is not None:
            pulumi.export(EXPORT, pulumi.Output.secret({"values": dict(self._job.values)}))
            self.outputs = {"values": dict(self._job.values)}
            return
        if not self._job.program:
            self._lift(self._register_providers())
            return
        returned = _load(self._job.program)(self._job.inputs)
        if inspect.isawaitable(returned):
            returned = await returned
        await self._export(returned)
        await self._check_guarded()

    def _observe(self, args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        self._resources.append(args.resource)
        if args.type_ not in PROTECTED_TYPES or args.opts.protect is not None:
            return None
        return pulumi.ResourceTransformationResult(
            args.props, pulumi.ResourceOptions.merge(args.opts, pulumi.ResourceOptions(protect=True))
        )

    async def _export(self, returned: Any) -> None:
        values = to_json(cast("Outputs", returned)) if dataclasses.is_dataclass(returned) else dict(returned or {})
        values = _sealed(values)
        combined: pulumi.Output[Any] = pulumi.Output.from_input(values)
        known = await combined.is_known()
        value = await combined.future(with_unknowns=True)
        if known and not _has_unknown(value):
            self.outputs = value
            pulumi.export(EXPORT, combined)
        elif pulumi.runtime.is_dry_run():
            pulumi.export(EXPORT, combined)

    async def _check_guarded(self) -> None:
        if not self._job.guarded or pulumi.runtime.is_dry_run():
            return
        registered = {await resource.urn.future() for resource in self._resources}
        missing = sorted(self._job.guarded - registered)
        if missing:
            names = ", ".join(urn.rpartition("::")[2] for urn in missing)
            city = StackName.parse(self._job.stack).city
            raise GuardError(f"not deleted without a confirmation: {names}\nto delete them, add --confirm={city}")

    def _register_providers(self) -> dict[str, pulumi.ProviderResource]:
        return {
            provider["name"]: pulumi.ProviderResource(
                provider["package"],
                provider["name"],
                {
                    key: pulumi.Output.secret(value) if key == "kubeconfig" else value
                    for key, value in provider["inputs"].items()
                },
                pulumi.ResourceOptions(version=provider.get("version") or None),
            )
            for provider in self._job.providers
        }

    def _lift(self, providers: Mapping[str, pulumi.ProviderResource]) -> None:
        made: dict[str, pulumi.Resource] = {}
        for item in self._lifted:
            timeouts = {name: f"{seconds:.0f}s" for name, seconds in item.timeouts.items()}
            options = pulumi.ResourceOptions(
                provider=providers.get(item.provider),
                protect=item.kept,
                # Determines the order of deletion: dependants are deleted before their dependencies.
                depends_on=[made[urn] for urn in item.dependencies if urn in made],
                custom_timeouts=pulumi.CustomTimeouts(**timeouts) if timeouts else None,
            )
            made[item.urn] = pulumi.CustomResource(item.type, item.name, dict(item.inputs), options)


def _sealed(outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the outputs with the confidential ones made secret, even if the program did not mark them."""
    return {key: pulumi.Output.secret(value) if key in SECRET_OUTPUTS else value for key, value in outputs.items()}


def _has_unknown(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_has_unknown(item) for item in value.values())
    if isinstance(value, (list, tuple)):
        return any(_has_unknown(item) for item in value)
    return type(value).__name__ == "Unknown"


def _load(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), attribute)
    return found


class LanguageHost(LanguageRuntimeServicer):
    """A LanguageRuntime server on a free loopback port. It runs one program once, for the engine with the given PID."""

    def __init__(self, program: Program, engine: int) -> None:
        self._program = program
        self._engine = engine
        self._begun = Lock()
        callers = OwnCallers()
        self._server = grpc.server(ThreadPoolExecutor(max_workers=4), options=_CHANNEL_OPTIONS, interceptors=[callers])
        language_pb2_grpc.add_LanguageRuntimeServicer_to_server(self, self._server)
        callers.port = self.port = int(self._server.add_insecure_port("127.0.0.1:0"))

    def start(self) -> None:
        """Start the server."""
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)
        lighten()
        self._server.start()

    def stop(self) -> None:
        self._server.stop(0)

    def GetRequiredPlugins(self, request: Any, context: Any) -> Any:  # noqa: N802
        return language_pb2.GetRequiredPluginsResponse()

    def GetRequiredPackages(self, request: Any, context: Any) -> Any:  # noqa: N802
        return language_pb2.GetRequiredPackagesResponse()

    def GetPluginInfo(self, request: Any, context: Any) -> Any:  # noqa: N802
        return plugin_pb2.PluginInfo()

    def About(self, request: Any, context: Any) -> Any:  # noqa: N802
        return language_pb2.AboutResponse()

    def Cancel(self, request: Any, context: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()

    def Run(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Run the program in an event loop of its own; an error is returned in the response.

        All resources are sent to the monitor address in the request, so the address is checked to be our own engine's.
        """
        engine_address = request.args[0] if request.args else ""
        for address in filter(None, (request.monitor_address, engine_address)):
            if not is_served_by(address, self._engine):
                context.abort(grpc.StatusCode.PERMISSION_DENIED, f"not an address of this run's engine: {address}")
        if not self._begun.acquire(blocking=False):
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the program has been run already")
        reset_options(
            project=request.project,
            monitor_address=request.monitor_address,
            engine_address=engine_address,
            stack=request.stack,
            parallel=request.parallel,
            preview=request.dryRun,
            organization=request.organization or "organization",
        )
        if request.config:
            set_all_config(request.config, request.configSecretKeys or None)
        loop = asyncio.new_event_loop()
        # Each registration occupies a thread until its resource is ready.
        loop.set_default_executor(ThreadPoolExecutor(max_workers=max(request.parallel, 1) * 2 + 4))
        loop.set_exception_handler(lambda loop, context: None)
        try:
            loop.run_until_complete(run_in_stack(self._program))
        except BaseException as error:
            message = explain(error)
            told = not message
            if message:
                with suppress(Exception):
                    pulumi.log.error(message)
                    told = True
            # With `bail`, the engine adds no second error message.
            return language_pb2.RunResponse(error=message, bail=told)
        finally:
            _close(loop)
        return language_pb2.RunResponse()


def explain(error: BaseException) -> str:
    """Return the error as one message; empty if the engine is shutting down and has reported the reason itself."""
    if isinstance(error, pulumi.RunError):
        return str(error)
    if isinstance(error, grpc.RpcError) and hasattr(error, "code"):
        return "" if error.code() == grpc.StatusCode.UNAVAILABLE else str(error.details())
    frames = "".join(traceback.format_exception(error, limit=-6))
    return f"the stack's program failed: {type(error).__name__}: {error}\n{frames}"


def _close(loop: asyncio.AbstractEventLoop) -> None:
    pending = asyncio.all_tasks(loop)
    for task in pending:
        task.cancel()
    with suppress(BaseException):
        loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
    loop.close()
