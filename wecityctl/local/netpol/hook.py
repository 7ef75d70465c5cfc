"""The CNI plug-in `wecity-netpol`, last in the chain: records a pod's addresses and waits for its rules.

It is a separate program with only the standard library (run with `python -I -S`), because it delays every pod's start.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

# Without an agent the pod starts anyway, with all traffic blocked, until the agent is back.
ADD_SECONDS = 10.0
DEL_SECONDS = 2.0
TABLE = "wecity-netpol"


def main() -> int:
    """CNI 1.0.0: the command is in the environment, the configuration on stdin, the result on stdout."""
    command = os.environ.get("CNI_COMMAND", "")
    if command == "VERSION":
        _say({"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]})
        return 0
    try:
        configuration = json.load(sys.stdin)
        container = os.environ["CNI_CONTAINERID"]
        record = Path(configuration["records"], container)
        if command == "ADD":
            _add(record, configuration)
            _say(configuration["prevResult"])
        elif command == "DEL":
            _delete(record, configuration)
    except (OSError, ValueError, KeyError) as error:
        _say({"cniVersion": "1.0.0", "code": 100, "msg": "the policy plug-in failed", "details": repr(error)})
        return 1
    return 0


def _add(record: Path, configuration: dict[str, Any]) -> None:
    arguments = dict(each.split("=", 1) for each in os.environ.get("CNI_ARGS", "").split(";") if "=" in each)
    result = configuration["prevResult"]
    content = {
        "container": record.name,
        "namespace": arguments["K8S_POD_NAMESPACE"],
        "name": arguments["K8S_POD_NAME"],
        "uid": arguments.get("K8S_POD_UID", ""),
        "addresses": [each["address"] for each in result["ips"]],
    }
    record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    # The agent ignores the temporary name; the rename is atomic.
    temporary = record.with_name(f".{record.name}")
    temporary.write_text(json.dumps(content))
    temporary.replace(record)
    _ask(configuration["socket"], f"in {record.name}", configuration.get("seconds", ADD_SECONDS), patient=True)


def _delete(record: Path, configuration: dict[str, Any]) -> None:
    """Remove the record and wait until the addresses are blocked.

    CNI calls plug-ins in reverse order, so this happens before the address is released, and no other pod gets its
    rules.
    """
    try:
        addresses = json.loads(record.read_text())["addresses"]
    except FileNotFoundError:
        return
    except ValueError:
        addresses = []
    record.unlink(missing_ok=True)
    if _ask(configuration["socket"], f"out {record.name}", DEL_SECONDS, patient=False):
        return
    for address in addresses:
        element = f"{{ {address.partition('/')[0]} }}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            command = ["nft", "delete", "element", "inet", TABLE, "known", element]
            subprocess.run(command, capture_output=True, check=False, timeout=DEL_SECONDS)


def _ask(path: str, question: str, seconds: float, *, patient: bool) -> bool:
    """Whether the agent confirmed in time. `patient`: retry while there is no agent."""
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(left)
            try:
                connection.connect(path)
                connection.sendall(question.encode() + b"\n")
                if connection.recv(16) == b"yes\n":
                    return True
            except OSError:
                pass
        if not patient:
            return False
        time.sleep(0.1)
    return False


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value))


if __name__ == "__main__":
    raise SystemExit(main())
