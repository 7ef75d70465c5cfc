"""What a user would write instead: `kubectl apply --server-side` layer by layer, and `kubectl wait` for each layer.

It gets the very manifests that our stacks render, in our order, with as few kubectl calls as the waiting allows.
"""

from __future__ import annotations

import base64
import subprocess
import time
from pathlib import Path
from typing import Any

import yaml

from wecityctl.resource_graph import SECRET
from wecityctl.toolchain import locate

_WAITS = {
    "Deployment": ("--for=condition=Available", "deployments"),
    "StatefulSet": ("--for=jsonpath={.status.readyReplicas}=1", "statefulsets"),
    "Job": ("--for=condition=Complete", "jobs"),
}


def write_layers(files: dict[str, str], directory: Path) -> list[Path]:
    """The rendered files as one directory for each layer; secret marks become values of the usual length."""
    layers: list[Path] = []
    for name in ("base", "platform", "tenant", "entry"):
        here = {path: text for path, text in files.items() if path.split("/")[0].split(".")[1] == name}
        layer = directory / f"{len(layers)}-{name}"
        layer.mkdir(parents=True, exist_ok=True)
        # Namespaces first: within a directory kubectl applies by file name.
        for path, text in here.items():
            stack, file = path.split("/")
            prefix = "0" if "-namespace-" in file else "1"
            (layer / f"{prefix}-{stack}-{file}").write_text(_with_values(text))
        layers.append(layer)
    return layers


def apply_layers(layers: list[Path], kubeconfig: Path, city: str) -> float:
    """Run the script; the seconds it took."""
    kubectl = [str(locate("kubectl")), f"--kubeconfig={kubeconfig}"]
    begun = time.monotonic()
    for layer in layers:
        _run([*kubectl, "apply", "--server-side", "--field-manager=script", "-f", str(layer)])
        kinds = {yaml.safe_load(path.read_text())["kind"] for path in layer.iterdir()}
        for kind, (condition, resource) in _WAITS.items():
            if kind in kinds:
                _run(
                    [
                        *kubectl, "wait", condition, resource, "--all-namespaces",
                        f"--selector=wecity.dev/city={city}", "--timeout=300s",
                    ]
                )  # fmt: skip
    return time.monotonic() - begun


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")


def _with_values(text: str) -> str:
    manifest = yaml.safe_load(text)
    value = "v" * 43
    if manifest["kind"] == "Secret":
        manifest.pop("stringData", None)
        manifest["data"] = {"password": base64.b64encode(value.encode()).decode()}
        return str(yaml.safe_dump(manifest))
    return str(yaml.safe_dump(_replace(manifest, value)))


def _replace(node: Any, value: str) -> Any:
    if isinstance(node, dict):
        return {key: _replace(item, value) for key, item in node.items()}
    if isinstance(node, list):
        return [_replace(item, value) for item in node]
    return value if node == SECRET else node
