"""Downloads Maven artefacts by digest without Maven; runs Maven only to resolve them when a lock is written.

The repository is the one that Maven itself would use on this machine: the mirror in the user's settings, or Maven's
built-in default.
"""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tempfile
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from xml.sax.saxutils import escape

from wecityctl import cancellation
from wecityctl.oci import deb
from wecityctl.oci.fetching import Downloads
from wecityctl.oci.lock import MavenArtifact
from wecityctl.oci.recipe import ClassPath, coordinates
from wecityctl.oci.tree import ImageBuildError, Tree, regular

MAVEN_SECONDS = 900
MAX_PARENTS = 10
# The package of Debian's Maven with the built-in defaults (700 KiB). It is never installed.
DEFAULTS_PACKAGE = "libmaven3-core-java"
_DEFAULTS_JARS = "maven-model-builder*.jar", "maven3-model-builder*.jar"
_DEFAULTS_POM = "org/apache/maven/model/pom-4.0.0.xml"
_LISTED = re.compile(r"^\s+([\w.-]+):([\w.-]+):([\w.-]+):(?:([\w.-]+):)?([\w.+-]+):(?:compile|runtime)\b", re.MULTILINE)
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(frozen=True, slots=True)
class Maven:
    """A Maven repository behind `downloads`. `defaults` returns a Debian package with Maven's defaults if needed."""

    downloads: Downloads
    environment: Mapping[str, str]
    defaults: Callable[[], Path] | None = None
    _address: list[str] = field(default_factory=list)

    def fetch(self, artifacts: Iterable[MavenArtifact]) -> dict[str, Path]:
        """The files of locked artefacts by coordinates, from the cache or downloaded."""
        found = {}
        for item in artifacts:
            known = self.downloads.has(item.sha256)
            url = "" if known else self._url(item.artifact)
            found[item.artifact] = self.downloads.get(url, item.sha256)
        return found

    def lock(self, artifacts: Iterable[str]) -> tuple[MavenArtifact, ...]:
        """Lock these artefacts as the repository currently serves them, with the licences in their POMs."""
        return tuple(
            sorted(
                MavenArtifact(item, self.downloads.learn(self._url(item)), self._licence(item))
                for item in dict.fromkeys(artifacts)
            )
        )

    def resolve(self, wanted: ClassPath) -> list[str]:
        """The coordinates of a class path: what `wanted` names and its dependencies, as Maven resolves them."""
        if not wanted.transitive:
            return list(wanted.artifacts)
        program = shutil.which("mvn", path=self.environment.get("PATH"))
        if program is None:
            raise ImageBuildError(
                "Maven is not installed, which finds out what a class path needs when a lock is written",
                resolution="install Maven (the package `maven`); building from a lock does not need it",
            )
        with tempfile.TemporaryDirectory(prefix="maven-") as scratch:
            (Path(scratch) / "pom.xml").write_text(_project(wanted), encoding="utf-8")
            listed = Path(scratch) / "list"
            command = [program, "-B", "-q", "dependency:list", "-DincludeScope=runtime", f"-DoutputFile={listed}"]
            done = cancellation.run(
                command,
                cwd=scratch,
                env=dict(self.environment),
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
                timeout=MAVEN_SECONDS,
                stdin=subprocess.DEVNULL,
            )
            if done.returncode != 0 or not listed.is_file():
                raise ImageBuildError(
                    "Maven cannot resolve the class path",
                    details="\n".join(_COLOUR.sub("", done.stdout + done.stderr).strip().splitlines()[:12]),
                )
            return sorted(parse_list(listed.read_text(encoding="utf-8")))

    def _url(self, artifact: str) -> str:
        group, name, version, kind, classifier = coordinates(artifact)
        suffix = f"-{classifier}" if classifier else ""
        return f"{self._repository()}/{group.replace('.', '/')}/{name}/{version}/{name}-{version}{suffix}.{kind}"

    def _repository(self) -> str:
        if not self._address:
            self._address.append(repository(self.environment, self.defaults))
        return self._address[0]

    def _licence(self, artifact: str) -> str:
        """The names of the licences in the artefact's POM or its nearest parent that has some; empty without any."""
        group, name, version, *_ = coordinates(artifact)
        for _ in range(MAX_PARENTS):
            digest = self.downloads.learn(self._url(f"{group}:{name}:{version}:pom"))
            pom = _xml(self.downloads.place(digest).read_bytes(), f"{group}:{name}:{version}:pom")
            names = [(item.findtext("name") or "").strip() for item in pom.iterfind("licenses/license")]
            if any(names):
                return " OR ".join(sorted({item for item in names if item}))
            parent = pom.find("parent")
            if parent is None:
                return ""
            found = [(parent.findtext(key) or "").strip() for key in ("groupId", "artifactId", "version")]
            if not all(found):
                return ""
            group, name, version = found
        return ""


def add_class_path(tree: Tree, target: str, files: Mapping[str, Path]) -> None:
    """Add jars to the directory `target`. Jars of the same name from different groups get different file names."""
    taken: dict[str, str] = {}
    for artifact, path in sorted(files.items()):
        group, name, version, kind, classifier = coordinates(artifact)
        file = f"{name}-{version}{f'-{classifier}' if classifier else ''}.{kind}"
        if file in taken:
            file = f"{group}.{file}"
        taken[file] = artifact
        tree.add(f"{target}/{file}", regular(path))


def parse_list(text: str) -> set[str]:
    """Parse the output of Maven's `dependency:list`: group:artifact:type[:classifier]:version:scope."""
    found = set()
    for group, name, kind, classifier, version in _LISTED.findall(_COLOUR.sub("", text)):
        tail = f":{kind}:{classifier}" if classifier else f":{kind}" if kind != "jar" else ""
        found.add(f"{group}:{name}:{version}{tail}")
    return found


def repository(environment: Mapping[str, str], defaults: Callable[[], Path] | None = None) -> str:
    """The URL of the repository that Maven uses on this machine. Raises `ImageBuildError` if none is configured.

    Sources in order: a mirror of `central` in the settings.xml of the user and of the machine, the defaults of an
    installed Maven, the defaults in the Debian package that `defaults` returns.
    """
    homes = _homes(environment)
    home = environment.get("HOME")
    settings = [Path(home) / ".m2/settings.xml"] if home else []
    for path in [*settings, *(home / "conf/settings.xml" for home in homes), Path("/etc/maven/settings.xml")]:
        if path.is_file() and (mirror := _mirror(_xml(path.read_bytes(), str(path)))):
            return mirror.rstrip("/")
    for place in homes:
        for pattern in _DEFAULTS_JARS:
            for jar in sorted((place / "lib").glob(pattern)):
                return _default(jar.read_bytes(), str(jar))
    if defaults is not None:
        tree = Tree()
        package = defaults()
        deb.unpack(tree, package, [])
        for path_in_tree, entry in sorted(tree.own.items()):
            if entry.is_file and "model-builder" in path_in_tree and path_in_tree.endswith(".jar"):
                return _default(entry.read(), package.name)
    raise ImageBuildError(
        "no Maven repository is known",
        resolution="name it as a mirror of central in ~/.m2/settings.xml, or install Maven, which has a default",
    )


def _homes(environment: Mapping[str, str]) -> list[Path]:
    named = [Path(environment[key]) for key in ("MAVEN_HOME", "M2_HOME") if environment.get(key)]
    program = shutil.which("mvn", path=environment.get("PATH"))
    return [*named, *([Path(program).resolve().parent.parent] if program else [])]


def _mirror(settings: ElementTree.Element) -> str:
    """The URL of the first mirror of the repository `central`; empty without one."""
    for mirror in settings.iterfind("mirrors/mirror"):
        of = {item.strip() for item in (mirror.findtext("mirrorOf") or "").split(",")}
        if "!central" not in of and of & {"central", "*", "external:*"}:
            return (mirror.findtext("url") or "").strip()
    return ""


def _default(jar: bytes, place: str) -> str:
    with zipfile.ZipFile(io.BytesIO(jar)) as archive:
        model = _xml(archive.read(_DEFAULTS_POM), place)
    for item in model.iterfind("repositories/repository"):
        if item.findtext("id") == "central" and (url := (item.findtext("url") or "").strip()):
            return url.rstrip("/")
    raise ImageBuildError(f"{place} names no default repository")


def _xml(content: bytes, place: str) -> ElementTree.Element:
    """Parse a document and remove XML namespaces, which old and new POMs use differently."""
    try:
        root = ElementTree.fromstring(content)  # noqa: S314 - expat bounds entities, and digests are locked
    except ElementTree.ParseError as error:
        raise ImageBuildError(f"{place} is no XML", details=str(error)) from error
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rpartition("}")[2]
    return root


def _project(wanted: ClassPath) -> str:
    """A POM whose runtime dependencies are the class path."""
    exclusions = "".join(
        f"<exclusion><groupId>{group}</groupId><artifactId>{name}</artifactId></exclusion>"
        for group, name in (item.split(":") for item in wanted.without)
    )
    boms = "".join(f"<dependency>{_fields(item, 'pom')}<scope>import</scope></dependency>" for item in wanted.boms)
    dependencies = "".join(
        f"<dependency>{_fields(item)}<exclusions>{exclusions}</exclusions></dependency>" for item in wanted.artifacts
    )
    return (
        "<project><modelVersion>4.0.0</modelVersion><groupId>class</groupId><artifactId>path</artifactId>"
        f"<version>1</version><packaging>pom</packaging><dependencyManagement><dependencies>{boms}</dependencies>"
        f"</dependencyManagement><dependencies>{dependencies}</dependencies></project>"
    )


def _fields(artifact: str, kind: str = "") -> str:
    group, name, version, own_kind, classifier = coordinates(artifact)
    parts = {"groupId": group, "artifactId": name, "version": version, "type": kind or own_kind}
    parts |= {"classifier": classifier} if classifier else {}
    return "".join(f"<{key}>{escape(value)}</{key}>" for key, value in parts.items())
