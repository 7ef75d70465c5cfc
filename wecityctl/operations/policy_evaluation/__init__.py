"""Computes a session's policy report in a process of its own, in parallel with the start of a run, and caches it.

The cached report is used as long as none of its inputs changes. `evaluate` computes it in the calling process, and
loads the SDKs.
"""

from wecityctl.operations.policy_evaluation.background import Pending, begin

__all__ = ["Pending", "begin"]
