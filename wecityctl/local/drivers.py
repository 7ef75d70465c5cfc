"""Imports the node driver and the add-ons by name, so that the control plane loads them only when needed."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from wecityctl.local.driver import Addon, NodeDriver

_NODE_DRIVER = "wecityctl.local.node.driver"
_ADDONS = ("wecityctl.local.node.provisioner",)


def node_driver() -> NodeDriver:
    """The driver of real nodes: `wecityctl.local.node.driver.driver()`."""
    return cast(NodeDriver, import_module(_NODE_DRIVER).driver())


def addons() -> tuple[Addon, ...]:
    """The add-ons of every cloud: `addon()` of each listed module."""
    return tuple(cast(Addon, import_module(name).addon()) for name in _ADDONS)
