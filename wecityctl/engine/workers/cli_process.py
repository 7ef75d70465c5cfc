"""Starts the engine's CLI as a child of a worker without forking a process that has threads.

The child is forked while the worker is still single-threaded, and then waits for its command line on a pipe.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Mapping, Sequence

from wecityctl.deathsignal import die_with_parent


class CliProcess:
    """The CLI process of one stack run: forked by the constructor, started by `start`.

    `output` is the descriptor for reading its stdout and stderr. `earlier` are processes forked before it and not
    started yet.
    """

    def __init__(self, earlier: Sequence[CliProcess] = ()) -> None:
        parent = os.getpid()
        command_read, self._command = os.pipe()
        self.output, output_write = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            # A copy of the pipes' writing ends here would keep the readers from ever seeing the end of a command line.
            for each in (*earlier, self):
                os.close(each._command)
            _become_cli(parent, command_read, output_write)
        os.close(command_read)
        os.close(output_write)
        self.exit_code: int | None = None

    def start(self, argv: Sequence[str], environment: Mapping[str, str], directory: str) -> None:
        """Send the command line, and let the child execute it."""
        message = json.dumps([list(argv), dict(environment), directory]).encode()
        with os.fdopen(self._command, "wb") as stream:
            stream.write(message)

    def poll(self) -> int | None:
        """Return the exit code if the process has ended, the negative signal number if a signal ended it; otherwise
        `None`.
        """
        if self.exit_code is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.exit_code = os.waitstatus_to_exitcode(status)
        return self.exit_code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the CLI alone, not to the plug-ins that it has started."""
        if self.poll() is None:
            os.kill(self.pid, number)


def _become_cli(parent: int, command: int, output: int) -> None:
    try:
        die_with_parent(parent)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (output, 1), (output, 2)):
            os.dup2(source, target)
        text = b""
        while chunk := os.read(command, 1 << 16):
            text += chunk
        if text:
            argv, environment, directory = json.loads(text)
            os.chdir(directory)
            os.execve(argv[0], argv, environment)  # noqa: S606
    except OSError as error:
        os.write(2, f"error: cannot start the engine: {error}\n".encode())
    finally:
        os._exit(127)
