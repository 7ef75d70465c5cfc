"""Which underlying cloud carries which capability and app, and why. Pure: no state, no cluster, no files."""

from wecityctl.placement.place import Placement, place

__all__ = ["Placement", "place"]
