"""The end-to-end probe of messaging: a message that is published into a stream of its own, and read back."""

from __future__ import annotations

from stacks.platforms.application.messaging.access import ADMIN_PORT

PROBE = f"exec messaging probe -admin {ADMIN_PORT} -tries 1\n"
