"""A docker-save archive around one static program: the smallest image there is, for the node's tests."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path


def write_archive(path: Path, reference: str, program: Path, entrypoint: list[str]) -> Path:
    """Write an image called `reference` whose /bin/<program> is started with `entrypoint`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        for directory in ("bin", "tmp", "etc"):
            info = tarfile.TarInfo(directory)
            info.type, info.mode = tarfile.DIRTYPE, 0o1777 if directory == "tmp" else 0o755
            tar.addfile(info)
        data = program.read_bytes()
        info = tarfile.TarInfo(f"bin/{program.name}")
        info.mode, info.size = 0o755, len(data)
        tar.addfile(info, io.BytesIO(data))
    body = layer.getvalue()
    digest = hashlib.sha256(body).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": entrypoint, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [reference], "Layers": ["layer.tar"]}]).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for member, content in ((name, config), ("layer.tar", body), ("manifest.json", manifest)):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
