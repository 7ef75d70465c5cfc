"""The blocks of vendors' settings in a Cloud document, made from the settings of each vendor's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin, get_type_hints

from pydantic import create_model

from wecityctl.model.vendors import VendorSettings, providers, vendors
from wecityctl.spec.schema import amounts, names
from wecityctl.spec.schema.base import Schema, options

if TYPE_CHECKING:
    Provider = str
else:
    Provider = Literal[providers()]


def with_blocks(base: type[Schema]) -> type[Schema]:
    """A shape with the fields of `base` and, after them, a block for each vendor."""
    blocks: dict[str, Any] = {
        name: (_block(vendor.settings) | None, options(f"Settings where provider is {name}.", default=None))
        for name, vendor in vendors().items()
    }
    return create_model("VendorBlocks", __base__=base, **blocks)


def _block(settings: type[VendorSettings]) -> type[Schema]:
    """The shape of a vendor's settings: a field for each, with its text, examples and default."""
    hints = get_type_hints(settings)
    found: dict[str, Any] = {}
    for item in fields(settings):
        default = (
            {"default": item.default} if item.default is not MISSING else {"default_factory": item.default_factory}
        )
        if isinstance(item.default, tuple):
            default = {"default_factory": list}
        said = options(item.metadata["description"], *item.metadata["examples"], **default)
        found[item.name] = (_type(hints[item.name]), said)
    return create_model(settings.__name__, __base__=Schema, __doc__=settings.__doc__, **found)


def _type(hint: Any) -> Any:
    """The type of a setting in a document. Raises `TypeError` for one that `VendorSettings` does not allow."""
    if hint is bool:
        return bool
    if hint is int:
        return amounts.Replicas
    if hint is str:
        return names.VendorWord
    if hint == tuple[str, ...]:
        return list[names.VendorWord]
    if get_origin(hint) is Mapping:
        return dict[get_args(hint)[0], names.VendorWord]  # type: ignore[misc]
    raise TypeError(f"a vendor's settings cannot have a {hint}")
