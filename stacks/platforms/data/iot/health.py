"""The end-to-end probe of the IoT access: a message that is published and retained, read by a later subscription, and
cleared (`image/go/probe.go`)."""

from __future__ import annotations

from stacks.platforms.data.iot.access import script

# It reads back what it wrote, and what it cleared.
PROBE = script("probe").replace("exit $?", "exit 1")
