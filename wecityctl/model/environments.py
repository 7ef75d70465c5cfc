"""Names of a city's environments, and `${environment}` in the values of environment variables."""

from __future__ import annotations

import re
from contextvars import ContextVar

# The environment that a city's documents describe by themselves, unless the City says otherwise.
PRODUCTION = "production"
ENVIRONMENT_NAME_TEXT = "at most 30 lower-case letters, digits and hyphens, the first one a letter"
# Replaced in the values of environment variables.
ENVIRONMENT_NAME = "${environment}"
_NAME = re.compile(r"[a-z](?:[-a-z0-9]{0,28}[a-z0-9])?")
_PLACEHOLDER = re.compile(r"\$\$\{|\$\{environment\}")

# The environment that a run works on: one for the whole run, set where the command line is parsed; `None` for the
# city's default. What loads a city takes it from here, so that no command can forget it.
_chosen: ContextVar[str | None] = ContextVar("environment", default=None)


def is_environment_name(text: str) -> bool:
    """Whether an environment may be called `text`."""
    return _NAME.fullmatch(text) is not None


def choose_environment(name: str | None) -> None:
    """Set the environment that this run works on."""
    _chosen.set(name)


def chosen_environment() -> str | None:
    """The environment that this run works on; `None` for the city's default."""
    return _chosen.get()


def with_environment(value: str, environment: str) -> str:
    """`value` with each `${environment}` replaced by the name; `$${` stays, as it stands for `${`."""
    return _PLACEHOLDER.sub(lambda found: found[0] if found[0] == "$${" else environment, value)
