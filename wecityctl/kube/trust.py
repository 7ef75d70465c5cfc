"""Decides whether a kubeconfig that a city's files name may run programs or read files.

Whoever writes a city's files must not be able to run programs as the operator. A kubeconfig can do so: by a credential
plug-in (`exec`), and by `tokenFile`, whose content is sent to the server that the same kubeconfig names.
"""

from __future__ import annotations

import os
from pathlib import Path

from wecityctl.errors import AuthenticationError
from wecityctl.kube.config import Access

VARIABLE = "WECITYCTL_TRUST_KUBECONFIG"


def require_trusted(access: Access, kubeconfig: Path, named_in: Path) -> None:
    """Raise `AuthenticationError` if `access` runs a program or sends a file, and somebody else may have written it.

    `kubeconfig` is the file that `access` was read from; `named_in` is the directory of the document that names it. A
    kubeconfig in that directory or in the same Git work tree counts as part of the city's files.
    """
    if access.exec_plugin is not None:
        what = f"runs a program ({access.exec_plugin.command})"
    elif access.token_file is not None and not _is_below(access.token_file, kubeconfig.parent):
        what = f"sends the content of {access.token_file} to {access.server}"
    else:
        return
    if any(_is_below(kubeconfig, root) for root in (named_in, _work_tree(named_in))):
        why = "comes with the city's files"
    elif kubeconfig.stat().st_uid not in (os.geteuid(), 0):
        why = "belongs to another user"
    else:
        return
    raise AuthenticationError(
        f"the kubeconfig {kubeconfig} {why}, and it {what}",
        resolution=f"look at it; then keep it outside of the city's directory, and name it there, or set {VARIABLE}=1",
    )


def _is_below(path: Path, root: Path) -> bool:
    """Whether a path is below `root`, as written or with symbolic links resolved."""
    return path.absolute().is_relative_to(root.absolute()) or path.resolve().is_relative_to(root.resolve())


def _work_tree(directory: Path) -> Path:
    """The Git work tree that contains a directory; the directory itself if there is none."""
    here = directory.resolve()
    return next((each for each in (here, *here.parents) if (each / ".git").exists()), here)
