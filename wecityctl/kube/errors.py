"""The errors of requests to a Kubernetes API server and of the connection to it.

One class for each case that a caller may want to handle. `from_status` maps a `Status` object; `transport_errors` maps
failures of sockets and TLS.
"""
# The classes have the API's names (`reason: NotFound`).
# ruff: noqa: N818

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from wecityctl.errors import DeploymentError, ExitCode

UnreachableKind = Literal[
    "refused",
    "dns",
    "timeout",
    "reset",
    "proxy",
    "unknown-authority",
    "server-certificate-expired",
    "server-certificate-not-yet-valid",
    "hostname",
    "client-certificate-expired",
    "client-certificate-refused",
    "not-tls",
    "tls",
    "other",
]


class ApiError(DeploymentError):
    """The API server rejected a request. `kind` and `name` are the object of its answer, if it names one."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        body: Mapping[str, Any] | None = None,
        *,
        details: str = "",
        resolution: str = "",
    ) -> None:
        super().__init__(message, details=details, resolution=resolution)
        self.status = status
        self.reason = reason
        self.body: dict[str, Any] = dict(body or {})
        found = self.body.get("details")
        info = found if isinstance(found, dict) else {}
        self.group = str(info.get("group") or "")
        self.kind = str(info.get("kind") or "")
        self.name = str(info.get("name") or "")
        self.retry_after = _seconds(info.get("retryAfterSeconds"))
        causes = info.get("causes")
        self._causes: list[dict[str, Any]] = [c for c in causes or [] if isinstance(c, dict)]


class BadRequest(ApiError):
    """400: the request is malformed, for instance an unknown field under strict validation."""


class Unauthorized(ApiError):
    """401: the credentials are missing, expired or unknown to this cluster."""

    exit_code = ExitCode.AUTHENTICATION


class Forbidden(ApiError):
    """403: not allowed, over quota, or refused by an admission rule."""

    @property
    def namespace_terminating(self) -> bool:
        """Whether it was refused because its namespace is being deleted: it may work later."""
        return any(c.get("reason") == "NamespaceTerminating" for c in self._causes)


class NotFound(ApiError):
    """404: the object does not exist, or (see `kind`) its namespace does not."""


class AlreadyExists(ApiError):
    """409 on create: an object of that name exists."""


@dataclass(frozen=True, slots=True)
class FieldConflict:
    """A field that another field manager owns."""

    manager: str
    field: str
    message: str


class Conflict(ApiError):
    """409: the object has changed in the meantime, or another field manager owns fields that an apply sets."""

    @property
    def conflicts(self) -> tuple[FieldConflict, ...]:
        """The fields owned by others; empty when this is not an apply conflict."""
        return tuple(
            FieldConflict(_quoted(str(c.get("message", ""))), str(c.get("field", "")), str(c.get("message", "")))
            for c in self._causes
            if c.get("reason") == "FieldManagerConflict"
        )

    @property
    def fields(self) -> tuple[str, ...]:
        """Paths of the fields in conflict, such as `.spec.replicas`."""
        return tuple(c.field for c in self.conflicts)

    @property
    def managers(self) -> tuple[str, ...]:
        """Names of the field managers that own them, without duplicates."""
        return tuple(dict.fromkeys(c.manager for c in self.conflicts))


class Invalid(ApiError):
    """422: the object violates its schema or a validation rule."""

    @property
    def causes(self) -> list[tuple[str, str]]:
        """(field, message) of every violation."""
        return [(str(c.get("field", "")), str(c.get("message", ""))) for c in self._causes]

    @property
    def immutable_fields(self) -> tuple[str, ...]:
        """The fields of this error that cannot change on an existing object, so that a replacement is needed."""
        return tuple(f for f, m in self.causes if "immutable" in m or "may not be changed" in m or "are forbidden" in m)


class Gone(ApiError):
    """410: the resource version (or page token) is too old; list again."""


class TooManyRequests(ApiError):
    """429, after the retries: the server throttles, or a disruption budget blocks an eviction."""


class ServerError(ApiError):
    """5xx, after the retries."""


class WebhookUnreachable(ServerError):
    """500, after the retries: a mandatory admission webhook did not answer, so the write was rejected."""


class KindNotFound(DeploymentError):
    """The cluster does not serve that kind (yet)."""

    def __init__(self, api_version: str, kind: str, *, details: str = "", resolution: str = "") -> None:
        super().__init__(f"the cluster does not serve {kind} in {api_version}", details=details, resolution=resolution)
        self.api_version = api_version
        self.kind = kind


class KindUnavailable(DeploymentError):
    """The server of an API group does not answer, so it is unknown whether objects of the kind exist."""

    def __init__(self, api_version: str, kind: str, why: str) -> None:
        super().__init__(
            f"{kind} in {api_version} cannot be read or changed: the server of that group does not answer",
            details=why,
            resolution="look at the APIService of that group version (kubectl get apiservices)",
        )


class Unreachable(DeploymentError):
    """The API server could not be reached. `why` tells the causes apart."""

    def __init__(
        self, server: str, why: UnreachableKind, message: str, *, details: str = "", resolution: str = ""
    ) -> None:
        super().__init__(message, details=details, resolution=resolution)
        self.server = server
        self.why = why
        if why in ("client-certificate-expired", "client-certificate-refused"):
            self.exit_code = ExitCode.AUTHENTICATION


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: BadRequest,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: TooManyRequests,
}


# Advice for answers that do not come from an API server.
_LATER = "see that the API server runs, and any proxy or balancer on the way; then run it again"
_ELSEWHERE = "check the server's URL, and any proxy on the way"
_ADVICE: Mapping[int, str] = {
    403: "see that the credentials are for this cluster, and that no proxy on the way keeps you out",
    407: "give the proxy on the way its credentials, in the kubeconfig's proxy-url",
    429: "the server has too much to do: wait, then run it again",
}


def from_status(status: int, body: Mapping[str, Any] | str, *, what: str, server: str = "") -> ApiError:
    """The error for an HTTP status and the answer's body: a `Status` object, or text of a proxy or load balancer."""
    resolution = ""
    if isinstance(body, str):
        reason, found, message = "", None, f"{server or 'the server'} answered with HTTP status {status}"
        what += f" answered: {' '.join(body.split())[:300]}" if body.strip() else ""
        resolution = _ADVICE.get(status) or (_LATER if status >= 500 else _ELSEWHERE)
    else:
        reason, message, found = (
            str(body.get("reason") or ""),
            str(body.get("message") or f"HTTP status {status}"),
            body,
        )
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    if status == 500 and "failed calling webhook" in message:
        kind = WebhookUnreachable
    if status == 409 and reason == "AlreadyExists":
        kind = AlreadyExists
    if status == 410 or reason == "Expired":
        kind = Gone
    return kind(status, reason, message, found, details=what, resolution=resolution)


def _seconds(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _quoted(message: str) -> str:
    # 'conflict with "kubectl" with subresource "scale" using apps/v1': the first quoted word is the manager
    parts = message.split('"')
    return parts[1] if len(parts) > 2 else ""


def no_api_server(server: str, details: str) -> Unreachable:
    """Something answers at that address, but it is not an API server."""
    return Unreachable(
        server,
        "other",
        f"{server} does not answer like a Kubernetes API server",
        details=details,
        resolution="check the server's URL, and any proxy on the way",
    )
