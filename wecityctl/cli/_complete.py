"""Shell completion from a city's files: stacks, apps and secrets.

Unreadable files give no completions: an error in the middle of a command line would be of no use.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from wecityctl.cli._common import HERE

if TYPE_CHECKING:
    from wecityctl.model.city import City


def complete_stack(context: typer.Context, incomplete: str) -> list[str]:
    """Return parts of stack names: layers, clouds, platforms and tenants."""
    return _complete(context, incomplete, _stack_parts)


def complete_app(context: typer.Context, incomplete: str) -> list[str]:
    """Return the city's apps as `TENANT/NAME`."""
    return _complete(context, incomplete, lambda city: (f"{app.tenant}/{app.called}" for app in city.apps))


def complete_target(context: typer.Context, incomplete: str) -> list[str]:
    """Return the city's apps as `TENANT/NAME`, and after one its components as `TENANT/NAME/COMPONENT`."""

    def names(city: City) -> Iterable[str]:
        for app in city.apps:
            name = f"{app.tenant}/{app.called}"
            yield name
            if incomplete.startswith(name):
                yield from (f"{name}/{part.name}" for part in app.components)

    return _complete(context, incomplete, names)


def complete_tenant(context: typer.Context, incomplete: str) -> list[str]:
    """Return the city's tenants."""
    return _complete(context, incomplete, lambda city: (tenant.name for tenant in city.tenants))


def complete_watched(context: typer.Context, incomplete: str) -> list[str]:
    """Return the city's tenants, capabilities, and apps as `TENANT/NAME`."""

    def names(city: City) -> Iterable[str]:
        yield from (tenant.name for tenant in city.tenants)
        yield from (capability.name for capability in city.capabilities)
        yield from (f"{app.tenant}/{app.called}" for app in city.apps)

    return _complete(context, incomplete, names)


def complete_job(context: typer.Context, incomplete: str) -> list[str]:
    """Return the city's jobs as `TENANT/APP/JOB`."""
    return _complete(
        context,
        incomplete,
        lambda city: (
            f"{app.tenant}/{app.called}/{part.name}" for app in city.apps for part in app.components if part.is_job
        ),
    )


def complete_secret(context: typer.Context, incomplete: str) -> list[str]:
    """Return the secrets that the city's apps use, as `TENANT/NAME`."""
    from wecityctl.operations.secrets import secrets_of

    return _complete(context, incomplete, secrets_of)


def complete_capability(context: typer.Context, incomplete: str) -> list[str]:
    """The city's capabilities."""
    return _complete(context, incomplete, lambda city: (item.name for item in city.capabilities))


def complete_credential(context: typer.Context, incomplete: str) -> list[str]:
    """The generated passwords of apps' accounts, and of administrators, as the secret store names them."""
    return _complete(context, incomplete, _credentials)


def _credentials(city: City) -> Iterable[str]:
    from wecityctl.model import naming
    from wecityctl.model.catalogue import credential_key

    yield from (credential_key("password", app.tenant, app.name, use.alias) for app in city.apps for use in app.uses)
    yield from (naming.admin_key(item.name) for item in city.capabilities if not item.is_entry)


def _stack_parts(city: City) -> list[str]:
    from wecityctl.model.stacknames import LAYERS

    subjects = [cloud.name for cloud in city.clouds] + [platform.name for platform in city.platforms]
    return [*LAYERS, *dict.fromkeys([*subjects, *(tenant.name for tenant in city.tenants)])]


def _complete(context: typer.Context, incomplete: str, names: Callable[[City], Iterable[str]]) -> list[str]:
    from stacks.catalogue import load_catalogue
    from wecityctl.errors import WecityError
    from wecityctl.spec import load_city

    try:
        city = load_city(path_of(context), load_catalogue()).city
    except (WecityError, OSError):
        return []
    return [name for name in names(city) if name.startswith(incomplete)]


def path_of(context: typer.Context) -> Path:
    """Return the PATH argument. The parser stops at an option without its value; then the command line is read."""
    parsed = Path(context.params.get("path") or context.params.get("files") or HERE)
    if parsed != HERE:
        return parsed
    line = os.environ.get("_TYPER_COMPLETE_ARGS") or os.environ.get("COMP_WORDS", "")
    try:
        words = shlex.split(line)[2:]
    except ValueError:
        # An unclosed quotation mark.
        words = line.split()[2:]
    return next((Path(word) for word in words if not word.startswith("-") and Path(word).exists()), HERE)
