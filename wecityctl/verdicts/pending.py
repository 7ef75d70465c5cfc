"""A verdict on its way: remembered, or being worked out by a process that began when it was asked for."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import date
from multiprocessing.connection import Connection

from wecityctl.engine.wire import pair
from wecityctl.errors import WecityError
from wecityctl.policy.check import Verdict
from wecityctl.session import Session
from wecityctl.spec.load import Positions
from wecityctl.verdicts import memory

_END_SECONDS = 5.0


@dataclass(slots=True)
class Pending:
    """`verdict()` waits for the verdict; `close()` ends the process of one that nobody waits for."""

    session: Session
    key: str
    _verdict: Verdict | None = None
    _connection: Connection | None = None
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def verdict(self) -> Verdict:
        """The verdict. Raises `WecityError` where it could not be worked out: then nothing may run."""
        if self._verdict is None:
            self._verdict = self._receive()
            memory.note(self.session, self.key, self._verdict)
        return self._verdict

    def _receive(self) -> Verdict:
        assert self._connection is not None
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WecityError(
                "the red lines could not be checked: the process that does it has died",
                resolution="`wecityctl policy check` does the same in the foreground and says why",
            ) from error
        finally:
            self.close()
        if isinstance(answer, Verdict):
            return answer
        raise WecityError("the red lines could not be checked", details=str(answer))

    def close(self) -> None:
        """Leave no process behind."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._process is not None:
            try:
                self._process.wait(_END_SECONDS if self._verdict is not None else 0)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None


def begin(session: Session, day: date) -> Pending:
    """The verdict on `session`, remembered or begun. The caller has it, or closes it."""
    key = memory.key_of(session, day)
    known = memory.recall(session, key)
    if known is not None:
        return Pending(session, key, known)
    connection, theirs = pair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "wecityctl.verdicts", str(theirs.fileno()), str(os.getpid())],
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # Programs warn while they are recorded; the run itself says it again.
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            umask=0o077,
        )
    pending = Pending(session, key, None, connection, process)
    try:
        # Where things stand in the files is asked when findings are shown, and is large.
        connection.send((replace(session, positions=Positions({})), day))
    except OSError as error:
        pending.close()
        raise WecityError("the process that checks the red lines cannot be reached", details=str(error)) from error
    return pending
