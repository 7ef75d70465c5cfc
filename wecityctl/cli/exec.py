"""`wecityctl exec`: runs a command in a container of an app, and lists who did."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wecityctl.cli._arguments import PathBeforeNameAndCommand
from wecityctl.cli._common import EPILOG, HERE, CityPath, note
from wecityctl.cli._complete import complete_target

if TYPE_CHECKING:
    from wecityctl.operations.exec import Entering, Streams

SUMMARY = "Run a command in a container of an app."
ORDER = 114
app = typer.Typer()
_PIECE = 32 * 1024


@app.command(
    name="exec",
    cls=PathBeforeNameAndCommand,
    epilog=EPILOG.format(
        "wecityctl exec examples/xingcheng health-code -- sh",
        "wecityctl exec examples/xingcheng health-code/web -- python3 -c 'print(1)'",
        "wecityctl exec examples/xingcheng health-code --stdin -- tee /tmp/list < list",
    ),
)
def exec_(
    path: CityPath = HERE,
    *,
    name: Annotated[
        str,
        typer.Argument(
            metavar="APP",
            help="The app, as NAME or TENANT/NAME, or a component of it, as APP/COMPONENT; else the routed one.",
            show_default=False,
            autocompletion=complete_target,
        ),
    ],
    command: Annotated[
        list[str] | None,
        typer.Argument(metavar="-- COMMAND", help="The command and its arguments.", show_default=False),
    ] = None,
    pod: Annotated[str, typer.Option("--pod", help="In this pod. Without it, in the newest one that is ready.")] = "",
    stdin: Annotated[
        bool, typer.Option("--stdin", "-i", help="Pass a file or pipe on stdin to the command. A terminal always is.")
    ] = False,
) -> None:
    """Run a command in a container of an app, with a terminal if stdin and stdout are one.

    Ends with the command's exit code. What it changes is lost with the pod. Who ran what, where and when is noted
    beside the city's states, with the words of the command as they are: put no password into them. `wecityctl history`
    shows it.
    """
    from wecityctl.errors import ConfigurationError
    from wecityctl.operations import exec as operation
    from wecityctl.operations.rollouts.planning import open_current

    if not path.exists():
        raise ConfigurationError(f"{path} does not exist", resolution="write -- before the command")
    if not command:
        raise ConfigurationError("a command is missing", resolution="write it after --, such as: -- sh")
    session = open_current(path)
    options = operation.ExecOptions(target=name, command=tuple(command), pod=pod)
    raise typer.Exit(operation.exec_command(session, options, _streams(stdin), _warn))


def _warn(event: Entering) -> None:
    note(f"in pod {event.pod} of {event.target}: what is changed here is lost when the pod ends, and this is noted")


def _streams(pass_stdin: bool) -> Streams:
    """The streams of this process; a terminal is raw while the command runs."""
    from wecityctl.operations.exec import Streams

    sys.stdout.flush()
    is_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    return Streams(
        write=lambda data: _write(1, data),
        write_error=lambda data: _write(2, data),
        read=(lambda: os.read(0, _PIECE)) if is_terminal or pass_stdin else None,
        size=_size if is_terminal else None,
        connected=_raw if is_terminal else contextlib.nullcontext,
    )


def _write(descriptor: int, data: bytes) -> None:
    rest: Any = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _size() -> tuple[int, int]:
    found = os.get_terminal_size(1)
    return found.columns, found.lines


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """Pass every key on as it is, Ctrl-C too."""
    import termios
    import tty

    before = termios.tcgetattr(0)
    try:
        # Output is still processed, so that messages of this program begin at the left edge.
        # What was typed before is kept.
        tty.setraw(0, termios.TCSADRAIN)
        mode = termios.tcgetattr(0)
        mode[1] = before[1]
        termios.tcsetattr(0, termios.TCSADRAIN, mode)
        yield
    finally:
        termios.tcsetattr(0, termios.TCSADRAIN, before)
