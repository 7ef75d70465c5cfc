"""The end-to-end probe of messaging: a message that is published into a stream of its own, and read back."""

from __future__ import annotations

from stacks.platforms.application.messaging.access import ADMIN_PORT, SERVER

# The program is `image/go/ask`. The stream has a name of its own for each run; one that a killed probe has left is
# deleted by a later one.
PROBE = f"""{SERVER}
messaging probe -admin {ADMIN_PORT} -tries 1 || exit 1
"""
