"""Loads rulesets into the kernel with `nft`, atomically. No other module changes the rules."""

from __future__ import annotations

import subprocess

from wecityctl.errors import DeploymentError
from wecityctl.local.netpol.render import TABLE

_SECONDS = 30.0


def load(script: str) -> None:
    """Run an nft script as one transaction.

    On an error nothing changes; raises `DeploymentError` with nft's message.
    """
    _nft("-f", "-", stdin=script)


def table_exists() -> bool:
    """Whether the agent's table exists in this network namespace."""
    return f"table inet {TABLE}\n" in _nft("list", "tables", "inet")


def _nft(*arguments: str, stdin: str = "") -> str:
    command = ("nft", *arguments)
    try:
        done = subprocess.run(command, input=stdin, text=True, capture_output=True, timeout=_SECONDS, check=True)
    except FileNotFoundError as error:
        raise DeploymentError("nft is not installed", resolution="apt-get install -y nftables") from error
    except subprocess.TimeoutExpired as error:
        raise DeploymentError(f"nft has not answered for {_SECONDS:.0f} s") from error
    except subprocess.CalledProcessError as error:
        # nft repeats the offending line, which may contain a thousand addresses.
        raise DeploymentError("nft refuses the ruleset", details=str(error.stderr).strip()[:2000]) from error
    return done.stdout
