"""The machines that are attacked are those of the whole runs."""

from tests.e2e.conftest import ending_in_order, home

__all__ = ["ending_in_order", "home"]
