"""Keeps unmarked tests from starting what needs a mark: an audit hook in this Python and in those it starts.

Python imports this module when it starts with this directory in PYTHONPATH. It acts only while the variable below names
a file; what was refused is written there, because a program may take the refusal for any other failure.
"""

from __future__ import annotations

import os
import sys

PLACE = "WECITY_TEST_REFUSED"
_ENGINE_AND_BUILDS = ("pulumi", "go", "apt-get", "mmdebstrap", "buildah")
_CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
_NODE = ("kubelet", "kube-proxy", "containerd", "coredns")
HEAVY = frozenset((*_ENGINE_AND_BUILDS, *_CONTROL_PLANE, *_NODE))
_MODULES = frozenset({"build", "pip"})


def heavy_program(command: list[str]) -> str:
    """The program of a command line that needs a mark; empty if none does. Scripts that stand in for one do not."""
    for position, word in enumerate(command):
        # Behind another program, such as setpriv, it is a path; a bare word is any argument.
        named = position == 0 or "/" in word
        if named and os.path.basename(word) in HEAVY and _is_machine_code(word):
            return word
        if word == "-m" and command[position + 1 : position + 2] and command[position + 1] in _MODULES:
            return f"{command[0]} -m {command[position + 1]}"
    return ""


def _is_machine_code(word: str) -> bool:
    places = [word] if "/" in word else [f"{each}/{word}" for each in os.environ.get("PATH", "").split(":")]
    for place in places:
        try:
            with open(place, "rb") as stream:
                return stream.read(4) == b"\x7fELF"
        except OSError:
            continue
    return False


def _look(event: str, arguments: tuple[object, ...]) -> None:
    if event not in ("subprocess.Popen", "os.exec", "os.posix_spawn") or not os.environ.get(PLACE):
        return
    given = arguments[1]
    words = [given] if isinstance(given, (str, bytes, os.PathLike)) else list(given)  # type: ignore[call-overload]
    command = [os.fsdecode(word) for word in words if isinstance(word, (str, bytes, os.PathLike))]
    # What is run may have another name than the first word of its command line.
    program = [os.fsdecode(arguments[0])] if arguments[0] else []  # type: ignore[arg-type]
    refused = heavy_program(command) or heavy_program(program)
    if refused:
        with open(os.environ[PLACE], "a") as stream:
            stream.write(f"{refused}\n")
        raise PermissionError(f"{refused} is started by a test that has no mark for it")


sys.addaudithook(_look)
