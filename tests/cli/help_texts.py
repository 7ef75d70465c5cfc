"""Every command's `--help`, in this process, at one width: for the snapshots and the reference page."""

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import typer

from wecityctl.cli.main import PROGRAM, app

SNAPSHOTS = Path(__file__).parent / "snapshots"


@cache
def all_help() -> dict[str, str]:
    """Help texts by command, such as `wecityctl engine install`, the program's own first."""
    with patch.dict(os.environ, {"COLUMNS": "100"}):
        root = typer.main.get_command(app)
        context = root.make_context(PROGRAM, [], resilient_parsing=True)
        return dict(_walk(root, context, PROGRAM))


def is_group(name: str, helps: dict[str, str]) -> bool:
    return any(other.startswith(f"{name} ") for other in helps)


def reference_page(helps: dict[str, str]) -> str:
    """The reference of the command line, as Markdown."""
    head = "# The command line\n\nGenerated from the code by `make schema`; do not edit.\n"
    return head + "".join(f"\n## {name}\n\n```\n{text}```\n" for name, text in helps.items())


def _walk(command: Any, context: Any, name: str) -> Iterator[tuple[str, str]]:
    lines = command.get_help(context).splitlines()
    yield name, "\n".join(line.rstrip() for line in lines) + "\n"
    for child_name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        child = command.get_command(context, child_name)
        child_context = child.make_context(child_name, [], parent=context, resilient_parsing=True)
        yield from _walk(child, child_context, f"{name} {child_name}")
