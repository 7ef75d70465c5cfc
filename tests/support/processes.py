"""Starting programs from a test."""

from __future__ import annotations

# In front of a command line: a test run that is killed leaves no such program behind. Not a `preexec_fn`, for which
# Python copies this whole process first: a copy with gRPC in it now and then dies before it starts anything.
ENDING_WITH_PARENT = ("setpriv", "--pdeathsig", "KILL", "--")
