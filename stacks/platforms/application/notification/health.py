"""The end-to-end probe of notification: a message of its own goes to a sink, and is read back."""

from __future__ import annotations

from stacks.platforms.application.notification.access import ADMIN_PORT, SERVER

# The program is `image/go/ask`. Its template and account are the same in each run and seen by nobody else.
PROBE = f"""{SERVER}
notification probe -admin {ADMIN_PORT} -tries 1 || exit 1
"""
