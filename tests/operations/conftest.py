"""The engine's tests have the fixtures that operations need."""

from tests.engine.conftest import home

__all__ = ["home"]
