"""Server-side apply for the provider: retries for conditions that pass by themselves, and readable conflicts.

The client retries connection problems (throttling, restarts). Nothing here decides what the state records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from wecityctl.errors import DeploymentError
from wecityctl.kube.client import KubeClient
from wecityctl.kube.errors import Conflict, Forbidden, Invalid, KindNotFound, NotFound
from wecityctl.kube.readiness import NotReady, wait_deleted
from wecityctl.kube.replicas import is_autoscalers_alone
from wecityctl.provider.kinds import Kind, kind_of_object
from wecityctl.provider.state import describe, metadata_of, name_of, namespace_of, uid_of

# Seconds: the API server serves a kind only some time after its definition is established.
KIND_PATIENCE: Final = 10.0
# Seconds: the default service account of a new namespace is created only some time after the namespace.
ACCOUNT_PATIENCE: Final = 10.0
_PAUSE: Final = 0.25
_ATTEMPTS: Final = 6


class ApplyConflictError(DeploymentError):
    """Other field managers (`managers`) own fields (`fields`, such as `.spec.replicas`) that the resource sets."""

    def __init__(
        self, message: str, *, details: str, resolution: str, managers: tuple[str, ...], fields: tuple[str, ...]
    ) -> None:
        super().__init__(message, details=details, resolution=resolution)
        self.managers = managers
        self.fields = fields


@dataclass(frozen=True, slots=True)
class Apply:
    """How an object is applied: the field manager, whether to force, the timeout in seconds, and who is told.

    `former` are earlier field managers of the same owner. Their fields are taken over even without `force`.
    """

    client: KubeClient
    manager: str
    force: bool
    warn: Callable[[str], None]
    report: Callable[[str], None]
    timeout: float
    former: frozenset[str] = frozenset()

    def under(self, manager: str) -> Apply:
        """The same with another field manager."""
        return replace(self, manager=manager)

    async def preview(self, body: dict[str, Any]) -> dict[str, Any]:
        """The object as a dry run on the API server returns it. Raises `ApplyConflictError` and the client's errors."""
        try:
            body = await self._placed(body)
            return await self._send(body, dry_run=True)
        except Conflict as error:
            raise _readable(error, body) from error

    async def make(self, body: dict[str, Any]) -> dict[str, Any]:
        """Create or change the object and return its live state. Waits first if an object of that name is being
        deleted.
        """
        while True:
            live = await self._patiently(body)
            if not is_going(live):
                return live
            await wait_gone(self.client, live, timeout=self.timeout, report=self.report)

    async def _patiently(self, body: dict[str, Any]) -> dict[str, Any]:
        start = asyncio.get_running_loop().time()
        attempts = 0
        while True:
            waited = asyncio.get_running_loop().time() - start
            try:
                return await self._once(body)
            except Conflict as error:
                attempts += 1
                if error.conflicts or attempts >= _ATTEMPTS:
                    raise _readable(error, body) from error
            except Invalid:
                # An object that is being deleted rejects changes. They may still be valid for the object that follows
                # it.
                if not await self._gone_first(body):
                    raise
            except (KindNotFound, NotFound) as error:
                if not _kind_missing(error) or waited > KIND_PATIENCE:
                    raise
                self.report(f"waiting for the cluster to serve {body['kind']} in {body['apiVersion']}")
            except Forbidden:
                if waited > ACCOUNT_PATIENCE or not await self._account_missing(body):
                    raise
                self.report("waiting for the namespace's service account")
            await asyncio.sleep(_PAUSE)

    async def _placed(self, body: dict[str, Any]) -> dict[str, Any]:
        # The kind may not have been served when the inputs were checked. It was treated as namespaced then.
        kind = kind_of_object(body, Kind("", "", ""))
        if kind.known_scope is None and namespace_of(body):
            rt = await self.client.resource(kind.api_version, kind.name)
            if not rt.namespaced:
                metadata = {key: value for key, value in body["metadata"].items() if key != "namespace"}
                return {**body, "metadata": metadata}
        return body

    async def _once(self, body: dict[str, Any]) -> dict[str, Any]:
        return await self._send(await self._placed(body))

    async def _send(self, body: dict[str, Any], *, dry_run: bool = False) -> dict[str, Any]:
        async def send(*, force: bool) -> dict[str, Any]:
            return await self.client.apply(
                body, field_manager=self.manager, force=force, dry_run=dry_run, on_warning=self.warn
            )

        try:
            return await send(force=self.force)
        except Conflict as error:
            # A replica count in the inputs is taken back from the autoscaler, but from no other manager. A former
            # manager of the same owner can conflict although nothing differs: the API server has added defaults to an
            # atomic field, or does not store a zero.
            is_ours = bool(error.managers) and self.former.issuperset(error.managers)
            if not is_ours and not is_autoscalers_alone(error):
                raise
            return await send(force=True)

    async def _gone_first(self, body: dict[str, Any]) -> bool:
        # Whether an object of that name was being deleted. It is gone when this returns true.
        rt = await self.client.resource(body["apiVersion"], body["kind"])
        place = (namespace_of(body) or self.client.access.namespace) if rt.namespaced else None
        try:
            live = await self.client.get(rt, name_of(body), place)
        except NotFound:
            return False
        if not is_going(live):
            return False
        await wait_gone(self.client, live, timeout=self.timeout, report=self.report)
        return True

    async def _account_missing(self, body: dict[str, Any]) -> bool:
        if body.get("kind") != "Pod":
            return False
        name = (body.get("spec") or {}).get("serviceAccountName") or "default"
        place = namespace_of(body) or self.client.access.namespace
        try:
            await self.client.get(await self.client.resource("v1", "ServiceAccount"), name, place)
        except NotFound as error:
            return error.kind != "namespaces"
        return False


def is_going(live: dict[str, Any]) -> bool:
    """Whether an object is being deleted."""
    return bool(metadata_of(live).get("deletionTimestamp"))


async def wait_gone(
    client: KubeClient,
    live: dict[str, Any],
    *,
    timeout: float,  # noqa: ASYNC109 - running out of time is an answer of its own, with reasons
    report: Callable[[str], None],
) -> None:
    """Wait until an object that is being deleted is gone. Raises `DeploymentError` with what blocks the deletion."""
    what = describe(live)
    report(f"waiting for an older {what} to be gone")
    rt = await client.resource(live["apiVersion"], live["kind"])
    place = namespace_of(live) or None
    try:
        await wait_deleted(client, rt, name_of(live), place, uid_of(live), timeout=timeout, report=report)
    except NotReady as error:
        raise DeploymentError(
            f"an older {what} is being deleted, but is still there", details="\n".join((error.message, *error.reasons))
        ) from error


def _kind_missing(error: KindNotFound | NotFound) -> bool:
    # A 404 that names no object is about the path: the kind is not served yet.
    return isinstance(error, KindNotFound) or not (error.name or error.kind == "namespaces")


def _readable(error: Conflict, body: dict[str, Any]) -> DeploymentError:
    if not error.conflicts:
        return error
    fields = "\n".join(f"{c.field} is owned by {c.manager!r}" for c in error.conflicts)
    return ApplyConflictError(
        f"server-side apply field conflict detected: {describe(body)}: "
        + "; ".join(f"{c.field} is owned by {c.manager!r}" for c in error.conflicts[:3])
        + (f" and {len(error.conflicts) - 3} more" if len(error.conflicts) > 3 else ""),
        details=fields if len(error.conflicts) > 3 else "",
        resolution="let the other manager release them or write its values into the files, or take them over with "
        "`wecityctl up --take-over`",
        managers=error.managers,
        fields=tuple(c.field for c in error.conflicts),
    )
