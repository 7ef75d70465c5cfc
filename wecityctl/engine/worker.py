"""One stack's run in a process of its own: the language host, the engine's CLI, its event log, and the way back.

Knows one job and nothing of the plan; tells its parent events while it runs and a report at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path

from wecityctl.engine.cli_process import CliProcess
from wecityctl.engine.events_in import EventReader
from wecityctl.engine.language import LanguageHost, Program
from wecityctl.engine.outcome import describe
from wecityctl.engine.process import Owner
from wecityctl.engine.store_file import disk_error
from wecityctl.engine.wire import Cancel, Done, Job, Report, Seen, adopt
from wecityctl.paths import write_private

PIPE_SIZE = 1 << 20
TAIL = 1 << 14


def main(descriptor: int) -> None:
    """Run the one job that comes over `descriptor`."""
    connection = adopt(descriptor)
    cli = CliProcess()
    job = connection.recv()
    assert isinstance(job, Job)
    os.umask(0o077)
    try:
        report = _Run(job, connection, cli).report()
    except OSError as error:
        problem = disk_error(error, Path(str(error.filename or job.lock_record or job.directory)))
        report = Report(problem.exit_code, (), 0, (describe(problem),), (), None, 0.0)
    connection.send(Done(report))
    connection.close()


class _Run:
    def __init__(self, job: Job, connection: Connection, cli: CliProcess) -> None:
        self._job = job
        self._connection = connection
        self._cli = cli
        self._reader = EventReader(
            job.stack, lambda event: connection.send(Seen(event)), refreshing=job.operation == "refresh"
        )
        self._output = b""
        self._cancels = 0
        self._kill_at = 0.0
        self._timed_out = False

    def report(self) -> Report:
        begun = time.monotonic()
        program = Program(self._job)
        host = LanguageHost(program)
        host.start()
        with _fifo(self._job) as (path, log):
            self._note_owner()
            self._cli.start(
                [self._job.cli, *self._job.arguments, f"--client=127.0.0.1:{host.port}", "--event-log", path],
                self._job.environment,
                self._job.directory,
            )
            self._attend(log, begun)
        host.stop()
        code = self._cli.exit_code
        assert code is not None
        errors = tuple(self._reader.errors)
        if code < 0:
            # Whatever it said last was said before that, and is not the reason.
            errors = (f"the engine was ended by {_ending(code)}; the next run goes on where it stopped", *errors)
        elif code and not errors:
            errors = (_last_words(self._output) or f"the engine ended with {_ending(code)}",)
        return Report(
            code,
            self._reader.changes,
            self._reader.unchanged,
            errors if code else (),
            tuple(self._reader.warnings),
            program.outputs if code == 0 else None,
            time.monotonic() - begun,
            self._cancels > 0 and not self._timed_out,
            self._timed_out,
        )

    def _note_owner(self) -> None:
        if self._job.lock_record:
            write_private(Path(self._job.lock_record), json.dumps(Owner.of(self._cli.pid).to_json()).encode())

    def _attend(self, log: int, begun: float) -> None:
        exit_descriptor = os.pidfd_open(self._cli.pid)
        sources = [log, self._cli.output, self._connection.fileno(), exit_descriptor]
        while self._cli.poll() is None:
            ready, _, _ = select.select(sources, [], [], self._patience(begun))
            if log in ready:
                self._reader.feed(os.read(log, PIPE_SIZE))
            if self._cli.output in ready:
                self._take_output(sources)
            if self._connection.fileno() in ready:
                self._take_order(sources)
            self._mind_clock(begun)
        os.close(exit_descriptor)
        self._drain(log)

    def _patience(self, begun: float) -> float | None:
        limits = [at for at in (self._kill_at, begun + self._job.stack_timeout if self._job.stack_timeout else 0) if at]
        return max(0.0, min(limits) - time.monotonic()) if limits else None

    def _mind_clock(self, begun: float) -> None:
        now = time.monotonic()
        if self._kill_at and now >= self._kill_at:
            self._cli.signal(signal.SIGKILL)
            self._kill_at = now + 5
        if self._job.stack_timeout and not self._cancels and now >= begun + self._job.stack_timeout:
            self._timed_out = True
            self._cancel()

    def _take_output(self, sources: list[int]) -> None:
        data = os.read(self._cli.output, 1 << 16)
        if data:
            self._output = (self._output + data)[-TAIL:]
        else:
            sources.remove(self._cli.output)

    def _take_order(self, sources: list[int]) -> None:
        try:
            order = self._connection.recv()
        except (EOFError, OSError):
            # The parent is gone: nobody is left to whom this run matters, the zygote ends us all in a moment.
            self._cli.signal(signal.SIGKILL)
            sources.remove(self._connection.fileno())
            return
        if isinstance(order, Cancel):
            self._cancel()

    def _cancel(self) -> None:
        self._cancels += 1
        self._cli.signal(signal.SIGINT if self._cancels == 1 else signal.SIGKILL)
        self._kill_at = time.monotonic() + self._job.cancel_timeout

    def _drain(self, log: int) -> None:
        # What the engine wrote before it ended is still in the pipes; nobody writes any more.
        for descriptor, take in ((log, self._reader.feed), (self._cli.output, self._keep)):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(BlockingIOError):
                while data := os.read(descriptor, PIPE_SIZE):
                    take(data)

    def _keep(self, data: bytes) -> None:
        self._output = (self._output + data)[-TAIL:]


@contextlib.contextmanager
def _fifo(job: Job) -> Iterator[tuple[str, int]]:
    """A named pipe for the event log: its path, and a descriptor that never sees an end of file by itself."""
    path = f"{job.directory}/{job.stack}.events"
    os.mkfifo(path, 0o600)
    descriptor = os.open(path, os.O_RDWR)
    with contextlib.suppress(OSError):
        fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    try:
        yield path, descriptor
    finally:
        os.close(descriptor)
        Path(path).unlink(missing_ok=True)


def _last_words(output: bytes) -> str:
    lines = [line.strip() for line in output.decode(errors="replace").splitlines() if line.strip()]
    told = [line.removeprefix("error:").strip() for line in lines if line.startswith(("error:", "panic:"))]
    return "\n".join(told or lines[-5:])


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
