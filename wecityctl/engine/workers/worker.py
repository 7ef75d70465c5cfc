"""Runs one stack in a process of its own: language host, the engine's CLI, and its event log.

A worker knows one job and nothing of the plan. It sends events while it runs, and a report at the end.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from wecityctl.engine.process.event_log import EventReader
from wecityctl.engine.process.ipc import Cancel, Done, Job, Report, Seen, adopt
from wecityctl.engine.process.outcome import describe
from wecityctl.engine.state.store_file import disk_error
from wecityctl.engine.workers.cli_process import CliProcess
from wecityctl.engine.workers.language_host import LanguageHost, Program

PIPE_SIZE = 1 << 20
TAIL = 1 << 14
MAX_WAITS = 5
# The CLI prints this at each start with a service back end.
_LOGIN = "Logging in using access token"


def main(descriptor: int) -> None:
    """Run the one `Job` that arrives on the socket `descriptor`."""
    connection = adopt(descriptor)
    job = connection.recv()
    assert isinstance(job, Job)
    os.umask(0o077)
    # Fork every process that will be needed now, while this process has no threads.
    stages: list[tuple[CliProcess, tuple[str, ...]]] = []
    for arguments in filter(None, (job.before, job.arguments)):
        stages.append((CliProcess([earlier for earlier, _ in stages]), arguments))
    try:
        report = _Run(job, connection).report(stages)
    except OSError as error:
        problem = disk_error(error, Path(str(error.filename or job.directory)))
        report = Report(problem.exit_code, (), 0, (describe(problem),), (), None, 0.0)
    connection.send(Done(report))
    connection.close()


class _Run:
    def __init__(self, job: Job, connection: Connection) -> None:
        self._job = job
        self._connection = connection
        self._begun = time.monotonic()
        self._heard = self._begun
        self._reader = EventReader(
            job.stack, lambda event: connection.send(Seen(event)), refreshing=job.operation == "refresh"
        )
        self._output = b""
        self._cancels = 0
        self._kill_at = 0.0
        self._overdue = ""

    def report(self, stages: Sequence[tuple[CliProcess, tuple[str, ...]]]) -> Report:
        code, program = 0, Program(self._job)
        for number, (cli, arguments) in enumerate(stages):
            if self._cancels:
                # Cancelled between two runs of the CLI: the main one has not run.
                code = 1
                break
            program = Program(self._job, lifting=number == 0 and len(stages) > 1)
            code = self._stage(cli, arguments, program)
            if code:
                break
        errors = tuple(self._reader.errors)
        if code < 0:
            # The earlier messages are not the reason that the engine was killed.
            errors = (f"the engine was ended by {_ending(code)}; the next run goes on where it stopped", *errors)
        elif code and not errors:
            errors = (_last_words(self._output) or f"the engine ended with {_ending(code)}",)
        if self._overdue:
            errors = (self._overdue, *errors)
        return Report(
            code,
            self._reader.changes,
            self._reader.unchanged,
            errors if code else (),
            tuple(self._reader.warnings),
            program.outputs,
            time.monotonic() - self._begun,
            self._cancels > 0 and not self._overdue,
            bool(self._overdue),
            self._reader.failed,
            self._reader.conflicts,
            self._reader.kept,
        )

    def _stage(self, cli: CliProcess, arguments: tuple[str, ...], program: Program) -> int:
        """Run the CLI once with a language host of its own; return its exit code."""
        host = LanguageHost(program, cli.pid)
        host.start()
        with _fifo(self._job) as (path, log):
            cli.start(
                [self._job.cli, *arguments, f"--client=127.0.0.1:{host.port}", "--event-log", path],
                self._job.environment,
                self._job.directory,
            )
            self._attend(cli, log)
        host.stop()
        assert cli.exit_code is not None
        return cli.exit_code

    def _attend(self, cli: CliProcess, log: int) -> None:
        exit_descriptor = os.pidfd_open(cli.pid)
        sources = [log, cli.output, self._connection.fileno(), exit_descriptor]
        while cli.poll() is None:
            ready, _, _ = select.select(sources, [], [], self._patience())
            if log in ready:
                self._heard = time.monotonic()
                self._reader.feed(os.read(log, PIPE_SIZE))
            if cli.output in ready:
                self._take_output(cli, sources)
            if self._connection.fileno() in ready:
                self._take_order(cli, sources)
            self._mind_clock(cli)
        os.close(exit_descriptor)
        self._drain(cli, log)

    def _patience(self) -> float | None:
        limits = [at for at in (self._kill_at, *self._limits()) if at]
        return max(0.0, min(limits) - time.monotonic()) if limits else None

    def _limits(self) -> tuple[float, float]:
        """Return the deadlines of the stack's time limit and of the engine's idle limit, on the monotonic clock; 0 for
        never.
        """
        job = self._job
        if self._cancels:
            return 0.0, 0.0
        # An operation in progress has its own timeout in the provider.
        idle = self._heard + job.idle_timeout if job.idle_timeout and not self._reader.under_way else 0.0
        return self._begun + job.stack_timeout if job.stack_timeout else 0.0, idle

    def _mind_clock(self, cli: CliProcess) -> None:
        now = time.monotonic()
        if self._kill_at and now >= self._kill_at:
            cli.signal(signal.SIGKILL)
            self._kill_at = now + 5
        stack, idle = self._limits()
        if stack and now >= stack:
            self._overdue = f"not done after {self._job.stack_timeout:.0f} s: {self._waited_for()}"
            self._cancel(cli)
        elif idle and now >= idle:
            seconds = f"{self._job.idle_timeout:.0f} s"
            self._overdue = (
                f"the engine had nothing under way and said nothing for {seconds}: it was stopped; run it again"
            )
            self._cancel(cli)

    def _waited_for(self) -> str:
        waits = self._reader.under_way
        listed = "; ".join(waits[:MAX_WAITS]) + (f"; and {len(waits) - MAX_WAITS} more" if waits[MAX_WAITS:] else "")
        return f"it waited for {listed}" if listed else "the engine had nothing under way"

    def _take_output(self, cli: CliProcess, sources: list[int]) -> None:
        data = os.read(cli.output, 1 << 16)
        if data:
            self._output = (self._output + data)[-TAIL:]
        else:
            sources.remove(cli.output)

    def _take_order(self, cli: CliProcess, sources: list[int]) -> None:
        try:
            order = self._connection.recv()
        except (EOFError, OSError):
            # The parent has died: no one needs this run any more, and the zygote ends all processes in a moment.
            cli.signal(signal.SIGKILL)
            sources.remove(self._connection.fileno())
            return
        if isinstance(order, Cancel):
            if order.timed_out and not self._cancels:
                self._overdue = f"the run's time was over: {self._waited_for()}"
            self._cancel(cli)

    def _cancel(self, cli: CliProcess) -> None:
        self._cancels += 1
        cli.signal(signal.SIGINT if self._cancels == 1 else signal.SIGKILL)
        self._kill_at = time.monotonic() + self._job.cancel_timeout

    def _drain(self, cli: CliProcess, log: int) -> None:
        # Read what the engine wrote before it ended; no process writes to the pipes any more.
        for descriptor, take in ((log, self._reader.feed), (cli.output, self._keep)):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(BlockingIOError):
                while data := os.read(descriptor, PIPE_SIZE):
                    take(data)

    def _keep(self, data: bytes) -> None:
        self._output = (self._output + data)[-TAIL:]


@contextlib.contextmanager
def _fifo(job: Job) -> Iterator[tuple[str, int]]:
    """Create a named pipe for the event log; yield its path and a descriptor that never reports end
    of file by itself.
    """
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
    lines = [line for line in lines if not line.startswith(_LOGIN)]
    told = [line.removeprefix("error:").strip() for line in lines if line.startswith(("error:", "panic:"))]
    return "\n".join(told or lines[-5:])


def _ending(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
