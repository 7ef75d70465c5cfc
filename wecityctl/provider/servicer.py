"""Maps the provider protocol to the provider's operations, for one port: decodes, dispatches and encodes.

Each connection of the engine is one provider resource of the stack, so Configure's settings are kept per connection.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Final, NoReturn, TypeVar

from google.protobuf.empty_pb2 import Empty
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from wecityctl.errors import WecityError
from wecityctl.provider import checking, create_update, deleting, grpc_errors, preview, reading, resource_diff, schema
from wecityctl.provider import settings as config
from wecityctl.provider.annotations import REPLACE_UNREADY, is_true
from wecityctl.provider.cancellation import Cancellation
from wecityctl.provider.connection import Connection, Connections, access_for
from wecityctl.provider.grpc_errors import Context
from wecityctl.provider.instance import Instance, Target
from wecityctl.provider.kinds import name_of_urn, not_served, refusal, type_of_urn
from wecityctl.provider.log import EngineLog
from wecityctl.provider.properties import decode, encode

T = TypeVar("T")
Kind = provider_pb2.PropertyDiff
_MODES: Final = {0: "propose", 1: "enforce", 2: "disable"}
_KINDS: Final = {
    ("add", False): Kind.ADD,
    ("add", True): Kind.ADD_REPLACE,
    ("delete", False): Kind.DELETE,
    ("delete", True): Kind.DELETE_REPLACE,
    ("update", False): Kind.UPDATE,
    ("update", True): Kind.UPDATE_REPLACE,
}


class PortServicer(provider_pb2_grpc.ResourceProviderServicer):
    """One port: the providers of one stack run."""

    def __init__(
        self,
        name: str,
        connections: Connections,
        environ: Mapping[str, str],
        kubeconfigs: frozenset[str] | None = None,
    ) -> None:
        self.name = name
        self._kubeconfigs = kubeconfigs
        self._connections = connections
        self._environ = environ
        self._log = EngineLog()
        self._instances: dict[str, Instance] = {}
        self._taken: dict[str, Connection] = {}

    # -- the provider itself

    async def Handshake(  # noqa: N802
        self, request: provider_pb2.ProviderHandshakeRequest, context: Context
    ) -> provider_pb2.ProviderHandshakeResponse:
        """Receive the engine's address and answer with the supported features."""
        self._log.attach(request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    async def Attach(self, request: plugin_pb2.PluginAttach, context: Context) -> Empty:  # noqa: N802
        """Receive the engine's address."""
        self._log.attach(request.address)
        return Empty()

    async def GetPluginInfo(self, request: Empty, context: Context) -> plugin_pb2.PluginInfo:  # noqa: N802
        """The version of the SDK whose resources the provider serves."""
        return plugin_pb2.PluginInfo(version=schema.VERSION)

    async def GetSchema(  # noqa: N802
        self, request: provider_pb2.GetSchemaRequest, context: Context
    ) -> provider_pb2.GetSchemaResponse:
        """The package schema, without resources."""
        if request.subpackage_name:
            await grpc_errors.not_implemented(
                context, not_served(f"the parameterized package {request.subpackage_name}")
            )
        return provider_pb2.GetSchemaResponse(schema=schema.schema())

    async def CheckConfig(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: Context
    ) -> provider_pb2.CheckResponse:
        """Reject provider settings that need the official plug-in."""
        failures = config.check_settings(decode(request.news))
        return provider_pb2.CheckResponse(inputs=request.news, failures=_failures(failures))

    async def DiffConfig(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        """Whether new provider settings are for another cluster."""
        olds = decode(request.old_inputs) or decode(request.olds)
        found = config.diff_settings(olds, decode(request.news), self._environ)
        changes = provider_pb2.DiffResponse.DIFF_SOME if found.changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=changes, diffs=found.changed, replaces=found.replaces)

    async def Configure(  # noqa: N802
        self, request: provider_pb2.ConfigureRequest, context: Context
    ) -> provider_pb2.ConfigureResponse:
        """Take a provider resource's settings. An unusable cluster is reported by the operations that need it."""
        found = config.read_settings(decode(request.args), request.variables, self._environ)
        await self._forget(context.peer())
        connection, failure, made = None, None, None
        try:
            config.require_given(found, self._kubeconfigs)
            connection = self._connections.take(access_for(found, self._environ))
            self._taken[context.peer()] = connection
            made = self._connections.made_namespaces(connection.access)
        except WecityError as error:
            failure = error
        self._instances[context.peer()] = Instance(found, self._log, Cancellation(), connection, failure, made)
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    async def Cancel(self, request: Empty, context: Context) -> Empty:  # noqa: N802
        """Cancel this provider's operations. The engine also calls it on a provider that it deletes; others go on."""
        provider = self._instances.get(context.peer())
        if provider is not None:
            provider.cancellation.throw()
        return Empty()

    # -- resources

    async def Check(  # noqa: N802
        self, request: provider_pb2.CheckRequest, context: Context
    ) -> provider_pb2.CheckResponse:
        """Normalise a resource's inputs."""
        provider, target, news = self._instance(context), _target(request), decode(request.news)
        naming = checking.Naming(seed=request.randomSeed)
        if request.HasField("autonaming"):
            mode: Any = _MODES.get(request.autonaming.mode, "default")
            naming = checking.Naming(mode, request.autonaming.proposed_name, request.randomSeed)

        async def run() -> provider_pb2.CheckResponse:
            checked = await checking.check(
                target.token,
                target.name,
                news,
                decode(request.olds),
                namespace=provider.default_namespace,
                namespaced=provider.namespaced,
                naming=naming,
            )
            return provider_pb2.CheckResponse(inputs=encode(checked.inputs), failures=_failures(checked.failures))

        return await self._answer(context, run, news)

    async def Diff(  # noqa: N802
        self, request: provider_pb2.DiffRequest, context: Context
    ) -> provider_pb2.DiffResponse:
        """Compare a resource's inputs with those in the state."""
        same = request.old_inputs.ByteSize() and request.old_inputs == request.news
        news = decode(request.news)
        provider, target = self._instance(context), _target(request)
        if same and not is_true(news, REPLACE_UNREADY):
            # The engine may replace it for reasons of its own, and asks whether that deletes first.
            first = resource_diff.deletes_first(provider, target, news, news, {})
            changes = provider_pb2.DiffResponse.DIFF_NONE
            return provider_pb2.DiffResponse(changes=changes, deleteBeforeReplace=first, hasDetailedDiff=True)
        state = decode(request.olds)

        async def run() -> provider_pb2.DiffResponse:
            olds = decode(request.old_inputs)
            return _diff_response(
                await resource_diff.diff(provider, target, olds, state, news, list(request.ignoreChanges))
            )

        return await self._answer(context, run, news, state)

    async def Create(  # noqa: N802
        self, request: provider_pb2.CreateRequest, context: Context
    ) -> provider_pb2.CreateResponse:
        """Create an object, or preview it."""
        provider, target, inputs = self._instance(context), _target(request), decode(request.properties)

        async def run() -> provider_pb2.CreateResponse:
            if request.preview:
                outputs = await preview.preview_create(provider, target, inputs)
                return provider_pb2.CreateResponse(properties=encode(outputs))
            with provider.noting_failure(target):
                made = await create_update.create(provider, target, inputs, seconds=request.timeout)
            return provider_pb2.CreateResponse(id=made.identifier, properties=encode(made.outputs))

        return await self._answer(context, run, inputs)

    async def Update(  # noqa: N802
        self, request: provider_pb2.UpdateRequest, context: Context
    ) -> provider_pb2.UpdateResponse:
        """Change an object, or preview the change."""
        provider, target = self._instance(context), _target(request)
        inputs, state = decode(request.news), decode(request.olds)
        ignored = list(request.ignoreChanges)

        async def run() -> provider_pb2.UpdateResponse:
            if request.preview:
                outputs = await preview.preview_update(provider, target, inputs, state, ignored)
                return provider_pb2.UpdateResponse(properties=encode(outputs))
            with provider.noting_failure(target):
                made = await create_update.update(
                    provider, target, inputs, state, seconds=request.timeout, ignored=ignored
                )
            return provider_pb2.UpdateResponse(properties=encode(made.outputs))

        return await self._answer(context, run, inputs, state)

    async def Read(self, request: provider_pb2.ReadRequest, context: Context) -> provider_pb2.ReadResponse:  # noqa: N802
        """Read an object, for a refresh or an import."""
        provider, target = self._instance(context), _target(request)
        inputs, state = decode(request.inputs), decode(request.properties)
        sentence = refusal(target.token)
        if sentence:
            await grpc_errors.not_implemented(context, sentence)

        async def run() -> provider_pb2.ReadResponse:
            found = await reading.read(provider, target, request.id, inputs, state)
            if not found.identifier:
                return provider_pb2.ReadResponse()
            return provider_pb2.ReadResponse(
                id=found.identifier, properties=encode(found.outputs or {}), inputs=encode(found.inputs or {})
            )

        return await self._answer(context, run, inputs, state)

    async def Delete(self, request: provider_pb2.DeleteRequest, context: Context) -> Empty:  # noqa: N802
        """Delete an object and wait until it is gone."""
        provider, target, state = self._instance(context), _target(request), decode(request.properties)
        inputs = decode(request.old_inputs)

        async def run() -> Empty:
            await deleting.delete(provider, target, request.id, state, inputs, seconds=request.timeout)
            return Empty()

        return await self._answer(context, run, inputs, state)

    # -- supported by the official plug-in only

    async def Invoke(self, request: provider_pb2.InvokeRequest, context: Context) -> NoReturn:  # noqa: N802
        """Helm, Kustomize and YAML functions: not supported."""
        await grpc_errors.not_implemented(context, not_served(f"the function {request.tok}"))

    async def StreamInvoke(  # noqa: N802 - left out of newer protocols, still called by older engines
        self, request: provider_pb2.InvokeRequest, context: Context
    ) -> AsyncIterator[provider_pb2.InvokeResponse]:
        """Lists, watches and logs: not supported."""
        await grpc_errors.not_implemented(context, not_served(f"the function {request.tok}"))
        yield provider_pb2.InvokeResponse()

    async def Call(self, request: provider_pb2.CallRequest, context: Context) -> NoReturn:  # noqa: N802
        """Methods of components: not supported."""
        await grpc_errors.not_implemented(context, not_served(f"the method {request.tok}"))

    async def Construct(self, request: provider_pb2.ConstructRequest, context: Context) -> NoReturn:  # noqa: N802
        """Components of the package: not supported."""
        sentence = refusal(request.type) or not_served(f"the component {request.type}")
        await grpc_errors.not_implemented(context, sentence)

    async def Parameterize(self, request: provider_pb2.ParameterizeRequest, context: Context) -> NoReturn:  # noqa: N802
        """Packages generated from definitions: not supported."""
        await grpc_errors.not_implemented(context, not_served("parameterized packages"))

    async def GetMapping(  # noqa: N802
        self, request: provider_pb2.GetMappingRequest, context: Context
    ) -> provider_pb2.GetMappingResponse:
        """No mapping from other tools. The protocol requires an empty answer instead of an error."""
        return provider_pb2.GetMappingResponse()

    async def GetMappings(  # noqa: N802
        self, request: provider_pb2.GetMappingsRequest, context: Context
    ) -> provider_pb2.GetMappingsResponse:
        """No mappings."""
        return provider_pb2.GetMappingsResponse()

    # -- life cycle of the port

    def cancel(self) -> None:
        """Cancel this port's operations; other ports continue."""
        for provider in self._instances.values():
            provider.cancellation.throw()

    async def aclose(self) -> None:
        """Release all connections."""
        self.cancel()
        for peer in list(self._instances):
            await self._forget(peer)
        await self._log.aclose()

    async def _forget(self, peer: str) -> None:
        self._instances.pop(peer, None)
        connection = self._taken.pop(peer, None)
        if connection is not None:
            await self._connections.release(connection)

    def _instance(self, context: Context) -> Instance:
        found = self._instances.get(context.peer())
        if found is not None:
            return found
        # A connection that was re-established has a new address. It can only be matched if there is one provider.
        if len(self._instances) == 1:
            return next(iter(self._instances.values()))
        missing = WecityError(
            f"the engine's connection to the built-in provider ({self.name}) was lost, and the stack has "
            f"{len(self._instances)} providers: which one is meant cannot be told",
            resolution="run it again",
        )
        return Instance(config.Settings(), self._log, Cancellation(), None, missing)

    async def _answer(self, context: Context, run: Callable[[], Awaitable[T]], *objects: Mapping[str, Any]) -> T:
        try:
            result = await run()
        except WecityError as error:
            await self._log.flush()
            await grpc_errors.refuse(context, error, objects)
        if self._log.waiting:
            await self._log.flush()
        return result


def _target(request: Any) -> Target:
    return Target(request.urn, request.type or type_of_urn(request.urn), request.name or name_of_urn(request.urn))


def _failures(found: Any) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=name, reason=reason) for name, reason in found]


def _diff_response(found: resource_diff.ResourceDiff) -> provider_pb2.DiffResponse:
    changed = bool(found.differences)
    response = provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=sorted(found.replaces),
        deleteBeforeReplace=found.delete_before_replace,
        diffs=sorted({str(d.path[0]) for d in found.differences}),
        hasDetailedDiff=True,
    )
    for difference in found.differences:
        entry = response.detailedDiff[difference.text]
        entry.kind = _KINDS[difference.change, difference.text in found.replaces]
        # Inputs are compared with inputs: the engine takes both sides from there.
        entry.inputDiff = True
    return response
