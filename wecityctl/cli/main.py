"""The program's command line: the table of commands, the global options, and the only place that exits.

Every error is caught here and becomes one screen and an exit code; no module below prints a traceback.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from contextvars import copy_context
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from wecityctl import __version__
from wecityctl.cli._arguments import wants_detailed_exit_code, wants_json
from wecityctl.cli._common import EPILOG, Colour, Settings, apply_settings, say, settings
from wecityctl.cli._errors import (
    error_line,
    lacks_command,
    show_error,
    show_internal_error,
    system_error,
    usage_message,
)
from wecityctl.cli._lazy import LazyGroup, discover
from wecityctl.cli._streams import (
    READER_GONE,
    close_after_failure,
    drop_unread_output,
    flushes,
    open_standard_streams,
    reader_is_gone,
)
from wecityctl.errors import CancelledError, ConfigurationError, ExitCode, WecityError
from wecityctl.model.words import printable

PROGRAM = "wecityctl"
_INTERRUPTED_WHILE_PARSING = 130
# Set by a shell that asks for completions, which Typer answers and then exits.
_COMPLETING = f"_{PROGRAM.upper()}_COMPLETE"

COMMANDS = discover(Path(__file__).parent)
_PREVIEW = "`wecityctl preview` shows what `up` would change."
_UP = "`wecityctl up` makes the changes."
_DESTROY = "`wecityctl destroy` takes a city down."
_STATUS = "`wecityctl status` shows how a city is."
# What Terraform, Pulumi, Helm and kubectl call it.
HINTS = {
    "plan": _PREVIEW,
    "diff": _PREVIEW,
    "apply": _UP,
    "deploy": _UP,
    "create": _UP,
    "install": "`wecityctl engine install` installs the programs; `wecityctl up` brings a city up.",
    "upgrade": _UP,
    "delete": _DESTROY,
    "down": _DESTROY,
    "uninstall": _DESTROY,
    "get": _STATUS,
    "describe": _STATUS,
    "show": _STATUS,
    "output": "`wecityctl outputs` shows the stacks' outputs.",
    "template": "`wecityctl render` writes the manifests.",
    "lint": "`wecityctl validate` checks the files, `wecityctl policy check` the policy rules.",
    "force-unlock": "`wecityctl unlock` releases a lock.",
    "cancel": "`wecityctl unlock` releases a lock.",
    "init": "Nothing has to be initialised: copy a city, such as examples/xingcheng, and preview it.",
    "attach": "`wecityctl exec` runs a command in an app, `wecityctl logs --follow` shows what it prints.",
    "ssh": "`wecityctl exec` runs a command in a container of an app.",
    "shell": "`wecityctl exec APP -- sh` opens a shell in a container of an app.",
    "port-forward": "`wecityctl open APP --forward` forwards a port to an app.",
    "login": "Nothing has to be logged in to: `state.backend` of the City names where the state is.",
}


class RootGroup(LazyGroup):
    """The program itself."""

    table = COMMANDS
    hints = HINTS


app = typer.Typer(
    name=PROGRAM,
    cls=RootGroup,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"{PROGRAM} {__version__}")
        raise typer.Exit


@app.callback(
    invoke_without_command=True,
    epilog=EPILOG.format("wecityctl validate examples/xingcheng", "wecityctl explain app.spec.uses"),
)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
    colour: Annotated[Colour, typer.Option("--color", help="When to colour output.")] = Colour.AUTO,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Say only results and errors.")] = False,
    verbose: Annotated[
        int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Say more; may be repeated.")
    ] = 0,
) -> None:
    """Bring up a city's government cloud from declarative YAML."""
    apply_settings(Settings(colour, -1 if quiet else verbose))
    if context.invoked_subcommand is None:
        say(context.get_help())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the program on `arguments` (the process's own by default) and return its exit code."""
    # In a context of its own, so that one run's settings do not reach the next.
    return copy_context().run(_run, arguments)


def _run(arguments: Sequence[str] | None) -> int:
    _tolerate_odd_characters()
    given = tuple(sys.argv[1:] if arguments is None else arguments)
    try:
        result = typer.main.get_command(app).main(args=list(given), prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit) as error:
        # Typer answers a broken pipe with `sys.exit(1)`, and puts wrappers in place of the streams.
        if any(map(reader_is_gone, (sys.stdout, sys.stderr))):
            drop_unread_output()
            return READER_GONE
        if isinstance(error, SystemExit) and _COMPLETING in os.environ:
            raise
        # Nothing here ends a command that way, so its work is not done, whatever the code says.
        return _report(error, given)
    except Exception as error:
        return _report(error, given)
    except KeyboardInterrupt:
        return _report(CancelledError("interrupted"), given)
    if result == _INTERRUPTED_WHILE_PARSING:
        return _report(CancelledError("interrupted"), given)
    return result if isinstance(result, int) and not isinstance(result, bool) else ExitCode.OK


def main() -> NoReturn:
    """Run the program and exit. The only place that does."""
    open_standard_streams()
    sys.exit(run())


def _report(error: BaseException, arguments: Sequence[str]) -> int:
    # Results come before the error that ended them, also where both streams are one file.
    known = _as_known(error, output_lost=not flushes(sys.stdout))
    code = int(known.exit_code if known is not None else ExitCode.ERROR)
    if wants_detailed_exit_code(arguments):
        # There 2 means changes, so nothing else may end with it.
        code = ExitCode.ERROR
    with contextlib.suppress(OSError):
        _show(error, known)
    if wants_json(arguments):
        with contextlib.suppress(OSError):
            say(error_line(error if known is None else known, code))
    for stream in (sys.stdout, sys.stderr):
        if not flushes(stream):
            close_after_failure(stream)
    return code


def _as_known(error: BaseException, *, output_lost: bool) -> WecityError | None:
    """Return the error as a `WecityError`; `None` for an unexpected one."""
    match error:
        case WecityError():
            return error
        case typer.Abort():
            return CancelledError("stopped at a question")
        case typer.TyperException():
            return ConfigurationError(usage_message(error))
        case OSError():
            return system_error(error, output_lost=output_lost)
        case _:
            return None


def _show(error: BaseException, known: WecityError | None) -> None:
    colour = settings().colours(sys.stderr)
    if isinstance(error, typer.TyperException):
        _show_usage_error(error)
    elif known is not None:
        show_error(known, sys.stderr, colour=colour)
    else:
        show_internal_error(error, sys.stderr, colour=colour)


def _show_usage_error(error: typer.TyperException) -> None:
    context = getattr(error, "ctx", None)
    if context is not None:
        sys.stderr.write(f"{context.get_help() if lacks_command(error) else context.get_usage()}\n")
    sys.stderr.write(f"error: {printable(usage_message(error))}\n")
    if context is not None:
        sys.stderr.write(f"  → see {context.command_path} --help\n")


def _tolerate_odd_characters() -> None:
    """Escape characters that the terminal's encoding lacks, as file names and text from clouds may contain some."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
