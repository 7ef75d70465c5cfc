"""`python -m wecityctl.local.supervisor DIRECTORY RUN READY_FD`: detach, take the cloud's supervisor lock, serve.

Started only by `client.launch`. Its output goes to the cloud's `logs/supervisor.log`.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

from wecityctl.local.proctable import Identity
from wecityctl.local.supervisor import orphans
from wecityctl.local.supervisor.control import Control
from wecityctl.local.supervisor.core import Supervisor

_log = logging.getLogger("supervisor")


def main(arguments: list[str]) -> int:
    """Run until stopped. Returns 0 after an orderly end, and 3 if the cloud already has a supervisor."""
    directory, run, ready = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    if os.fork():
        os._exit(0)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stderr)
    os.umask(0o077)
    lock = os.open(directory / "supervisor.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.write(ready, b"another supervisor runs\n")
        return 3
    orphans.adopt()
    asyncio.run(_serve(directory, run, ready))
    return 0


async def _serve(directory: Path, run: Path, ready: int) -> None:
    record = _Record(directory / "supervisor.json", run)
    supervisor = Supervisor(directory / "logs", record.write)
    control = Control(supervisor, run / "control.sock")
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, control.request_stop)
    loop.add_signal_handler(signal.SIGHUP, _log.info, "SIGHUP is ignored")
    server = await control.serve()
    record.write({})
    os.write(ready, b"ok\n")
    os.close(ready)
    housekeeping = asyncio.create_task(supervisor.keep_house())
    watching = asyncio.create_task(_log_events(supervisor))
    _log.info("pid %d serves %s", os.getpid(), directory)
    await control.stopped()
    await supervisor.stop()
    orphans.end_all()
    await control.finish()
    server.close()
    for task in (housekeeping, watching):
        task.cancel()
    (run / "control.sock").unlink(missing_ok=True)
    _log.info("ended")


class _Record:
    """The file that identifies this supervisor and its processes to later commands, also after a crash or a reboot."""

    def __init__(self, path: Path, run: Path) -> None:
        self._path = path
        self._run = run
        self._self = Identity.of(os.getpid())

    def write(self, children: dict[str, Any]) -> None:
        value = {
            "supervisor": self._self.to_json(),
            "run": str(self._run),
            "directory": str(self._path.parent.resolve()),
            "children": children,
        }
        temporary = self._path.with_suffix(".tmp")
        # No fsync: after a power failure none of the recorded processes exists.
        temporary.write_text(json.dumps(value))
        temporary.replace(self._path)


async def _log_events(supervisor: Supervisor) -> None:
    with supervisor.listen() as events:
        while True:
            event = await events.get()
            if event["event"] == "death":
                _log.warning("%s %s\n    %s", event["name"], event["how"], "\n    ".join(event["lines"]))
            else:
                _log.info("%s %s %s", event["name"], event["state"], event["reason"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
