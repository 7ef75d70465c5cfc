"""The registry of readiness rules: which rule judges which kind. Pure; the rules lie in the modules beside it."""

from __future__ import annotations

from wecityctl.kube.readiness.model import Readiness, Related
from wecityctl.kube.resource import Object


def assess(obj: Object, related: Related | None = None) -> Readiness:
    """Whether `obj` (live, with status) is ready. Kinds without a rule are judged by their conditions."""
    raise NotImplementedError
