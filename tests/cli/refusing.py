"""Programs of capabilities that do not come to an end: one refuses the city's files, one is broken."""

from __future__ import annotations

from stacks.platforms.component import CapabilityComponent, CapabilityScope
from wecityctl.errors import ConfigurationError
from wecityctl.model.outputs import Endpoint


class Refusing(CapabilityComponent):
    def build(self, context: CapabilityScope) -> Endpoint:
        raise ConfigurationError("its SDK is not installed")


class Broken(CapabilityComponent):
    def build(self, context: CapabilityScope) -> Endpoint:
        raise KeyError("nobody foresaw this")
