"""The process that computes a policy report: it receives one session and sends one report over its socket."""

from __future__ import annotations

import traceback

from wecityctl.engine.process.ipc import adopt


def main(descriptor: int) -> None:
    """Send the policy report, or the traceback as text if it fails."""
    connection = adopt(descriptor)
    from wecityctl.operations.policy_evaluation.evaluate import judge_session

    session, day = connection.recv()
    try:
        connection.send(judge_session(session, day))
    except Exception:
        connection.send(traceback.format_exc())
    connection.close()
