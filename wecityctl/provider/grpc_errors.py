"""Reports errors over gRPC: status codes, readable texts, and the detail that keeps a partly created object."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeAlias

import grpc
from pulumi.runtime.proto import provider_pb2, status_pb2

from wecityctl.errors import CancelledError, ConfigurationError, WecityError
from wecityctl.kube.errors import BadRequest, Forbidden, Invalid, Unauthorized
from wecityctl.provider.properties import encode
from wecityctl.provider.redaction import redact
from wecityctl.provider.waiting import PartialError

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"

_DETAILS: Final = "grpc-status-details-bin"
# "Unknown" and "Internal" make the engine assume that the resource's state is uncertain. These say that nothing was
# changed.
_CODES: Final = (
    (CancelledError, grpc.StatusCode.ABORTED),
    (ConfigurationError, grpc.StatusCode.INVALID_ARGUMENT),
    (Invalid, grpc.StatusCode.INVALID_ARGUMENT),
    (BadRequest, grpc.StatusCode.INVALID_ARGUMENT),
    (Forbidden, grpc.StatusCode.PERMISSION_DENIED),
    (Unauthorized, grpc.StatusCode.UNAUTHENTICATED),
)


async def refuse(context: Context, error: WecityError, secrets: tuple[Mapping[str, Any], ...]) -> NoReturn:
    """End the call with the error, without any secret of the given objects in it."""
    if isinstance(error, PartialError):
        await _refuse_partially(context, error, secrets)
    code = next((code for kind, code in _CODES if isinstance(error, kind)), grpc.StatusCode.FAILED_PRECONDITION)
    await context.abort(code, redact(text_of(error), *secrets))
    raise AssertionError("abort raises")


async def not_implemented(context: Context, sentence: str) -> NoReturn:
    """End a call that this provider does not support."""
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, sentence)
    raise AssertionError("abort raises")


def text_of(error: WecityError) -> str:
    """Message, details and resolution of an error as one text."""
    return "\n".join(part for part in (error.message, error.details, error.resolution) if part)


async def _refuse_partially(context: Context, error: PartialError, secrets: tuple[Mapping[str, Any], ...]) -> NoReturn:
    reasons = [redact(reason, *secrets) for reason in error.reasons]
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.identifier,
        properties=encode(error.outputs),
        reasons=reasons,
        inputs=encode(error.inputs) if error.inputs is not None else None,
    )
    message = reasons[0] if reasons else error.message
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=message)
    status.details.add().Pack(detail)
    trailer = ((_DETAILS, status.SerializeToString()),)
    await context.abort(grpc.StatusCode.UNKNOWN, message, trailing_metadata=trailer)
    raise AssertionError("abort raises")
