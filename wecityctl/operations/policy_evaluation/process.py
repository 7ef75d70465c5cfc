"""The process that works a policy report out: one session in, one policy report out, over the descriptor that it is
given."""

from __future__ import annotations

import traceback

from wecityctl.engine.process.ipc import adopt


def main(descriptor: int) -> None:
    """Answer with the policy report, or with what went wrong as text."""
    connection = adopt(descriptor)
    from wecityctl.operations.policy_evaluation.evaluate import judge_session

    session, day = connection.recv()
    try:
        connection.send(judge_session(session, day))
    except Exception:
        connection.send(traceback.format_exc())
    connection.close()
