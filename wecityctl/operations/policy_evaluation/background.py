"""A policy report in progress: taken from the cache, or computed by a process of the engine that
has the SDKs loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from multiprocessing.connection import Connection

from wecityctl.engine.workers.engine import ANSWER_SECONDS, Engine
from wecityctl.errors import TimedOutError, WecityError
from wecityctl.operations.policy_evaluation import cache
from wecityctl.policy.check import PolicyReport
from wecityctl.session import Session
from wecityctl.spec.loaded import Positions

JUDGE = "wecityctl.operations.policy_evaluation.process"


@dataclass(slots=True)
class Pending:
    """`policy_report()` waits for the report. A computation that nobody waits for ends with its engine."""

    session: Session
    key: str
    _policy_report: PolicyReport | None = None
    _connection: Connection | None = None

    def policy_report(self) -> PolicyReport:
        """Return the policy report. Raises `WecityError` if it could not be computed; then nothing may run."""
        if self._policy_report is None:
            self._policy_report = self._receive()
            cache.note(self.session, self.key, self._policy_report)
        return self._policy_report

    def _receive(self) -> PolicyReport:
        assert self._connection is not None
        try:
            if not self._connection.poll(ANSWER_SECONDS):
                raise TimedOutError(f"waited {ANSWER_SECONDS:.0f} s for the policy rules to be checked")
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise WecityError(
                "the policy rules could not be checked: the process that does it has died",
                resolution="`wecityctl policy check` does the same in the foreground and says why",
            ) from error
        finally:
            self.close()
        if isinstance(answer, PolicyReport):
            return answer
        raise WecityError("the policy rules could not be checked", details=str(answer))

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def begin(session: Session, day: date, engine: Engine) -> Pending:
    """Start to compute the policy report on `session`, or take it from the cache. The caller must close the result."""
    key = cache.key_of(session, day)
    known = cache.recall(session, key)
    if known is not None:
        return Pending(session, key, known)
    connection = engine.spawn(JUDGE)
    try:
        # Positions are large, and needed only to show findings.
        connection.send((replace(session, positions=Positions({})), day))
    except OSError as error:
        connection.close()
        raise WecityError("the process that checks the policy rules cannot be reached", details=str(error)) from error
    return Pending(session, key, None, connection)
