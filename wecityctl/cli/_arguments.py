"""Parsing of arguments shared by all commands: options that affect the reporting of parse errors, and the default of
`PATH` before another argument.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

from wecityctl.model.command_line import current, remember

_OUTPUT = ("-o", "--output")


def wants_detailed_exit_code(arguments: Sequence[str]) -> bool:
    """Whether exit code 2 stands for changes, so that every error must exit with 1."""
    return "--detailed-exitcode" in _options(arguments)


def wants_json(arguments: Sequence[str]) -> bool:
    """Whether JSON output is requested, so that errors are written to stdout too."""
    options = _options(arguments)
    if any(one in ("-ojson", "--output=json") for one in options):
        return True
    return any(name in _OUTPUT and value == "json" for name, value in pairwise(options))


def _options(arguments: Sequence[str]) -> Sequence[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments


class PathBeforeName(TyperCommand):
    """A command with the arguments PATH and NAME, of which PATH may be left out: then it is the current directory."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            return super().parse_args(ctx, args)
        except typer.TyperException as error:
            if getattr(getattr(error, "param", None), "name", "") != "name":
                raise
            try:
                return super().parse_args(ctx, [".", *given])
            except typer.TyperException:
                raise error from None


class PathBeforeNames(TyperCommand):
    """A command with the arguments PATH and any number of NAMEs. Where the first of them is no path that exists, PATH
    is the current directory."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        given = list(args)
        try:
            left = super().parse_args(ctx, args)
        except typer.TyperException as error:
            if getattr(getattr(error, "param", None), "name", "") != "names":
                raise
            return super().parse_args(ctx, [".", *given])
        path, names = ctx.params.get("path"), ctx.params.get("names") or ()
        if path is not None and not Path(path).exists():
            ctx.params |= {"path": Path(), "names": [str(path), *names]}
            remember(replace(current(), path="."))
        return left


class PathBeforeNameAndCommand(PathBeforeName):
    """`PathBeforeName` with a command after `--`, which becomes the parameter `command` as it is."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--" not in args:
            return super().parse_args(ctx, args)
        place = args.index("--")
        left = super().parse_args(ctx, args[:place])
        ctx.params["command"] = [*(ctx.params.get("command") or ()), *args[place + 1 :]]
        return left
