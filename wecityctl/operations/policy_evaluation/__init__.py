"""The policy rules' policy report on a session: worked out in a process of its own, beside what else a run begins
with, and remembered for as long as nothing that it depends on differs. `judging` does it here and now, and loads the
SDKs."""

from wecityctl.operations.policy_evaluation.background import Pending, begin

__all__ = ["Pending", "begin"]
