"""What the file system can hold in place of a city's files."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.spec.cases import VALID
from tests.spec.catalogue import CATALOGUE
from wecityctl.cli._errors import show_error
from wecityctl.errors import InvalidCityError
from wecityctl.spec import load_city
from wecityctl.spec.files import SourceFile, find_files, read_text

BASE = (VALID / "base.yaml").read_bytes()


def problems(path: Path) -> list[str]:
    with pytest.raises(InvalidCityError) as caught:
        load_city(path, CATALOGUE)
    return [str(problem).removeprefix(f"{path}: ") for problem in caught.value.problems]


def test_missing_path(tmp_path: Path) -> None:
    assert problems(tmp_path / "none") == ["no such file or directory"]


def test_path_with_a_nul() -> None:
    assert "is not a valid path" in problems(Path("a\0b"))[0]


def test_named_pipe_does_not_block(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "city.yaml")
    assert problems(tmp_path / "city.yaml") == ["is a named pipe; expected a regular file or a directory"]
    assert problems(tmp_path) == [f"{tmp_path}/city.yaml: is a named pipe; expected a regular file or a directory"]


def test_what_is_no_file_is_told_beside_files_and_only_where_it_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "city.yaml").write_bytes(BASE)
    os.mkfifo(tmp_path / "pipe")
    load_city(tmp_path, CATALOGUE)
    os.mkfifo(tmp_path / "pipe.yaml")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s.yml"))
        assert [item.partition(": ")[2].partition(";")[0] for item in problems(tmp_path)] == [
            "is a named pipe",
            "is a socket",
        ]


def test_device() -> None:
    assert problems(Path("/dev/zero")) == ["is a device; expected a regular file or a directory"]


def test_socket(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(str(tmp_path / "s.yaml"))
        assert problems(tmp_path / "s.yaml") == ["is a socket; expected a regular file or a directory"]


def test_file_of_50_mb_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.yaml"
    with path.open("wb") as stream:
        stream.truncate(50_000_000)
    assert problems(path) == ["is too large: 50.0 MB; expected at most 5 MB per file; split it"]


def test_file_that_says_it_is_empty_and_is_not() -> None:
    # Files of the kernel have size 0 whatever they hold.
    assert "field 'kind' is missing" in problems(Path("/proc/self/status"))[0]


def test_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "city.yaml").write_bytes(BASE)
    (tmp_path / "city.yaml").chmod(0)
    tmp_path.chmod(0o755)
    if os.geteuid() != 0:
        assert problems(tmp_path / "city.yaml") == ["may not be read (permission denied)"]
        return
    # Root may read anything: look with another user's eyes.
    os.seteuid(65534)
    try:
        reachable = os.access(tmp_path, os.X_OK, effective_ids=True)
        found = problems(tmp_path / "city.yaml")
    finally:
        os.seteuid(0)
    assert found == ["may not be read (permission denied)"], f"reachable: {reachable}"


def test_links_in_a_circle_and_twice(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "city.yaml").write_bytes(BASE)
    (tmp_path / "a" / "again.yaml").symlink_to("city.yaml")
    (tmp_path / "a" / "up").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    assert len(load_city(tmp_path, CATALOGUE).files) == 1


EXPECTED = "; expected a file or directory of the city itself; what links lead to outside is not read"
OUTSIDE = "is a link that leads out of the city's directory"


@pytest.mark.parametrize("kind", ["file", "directory", "through another"])
def test_what_a_link_leads_to_outside_is_neither_read_nor_quoted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    """The author of a city's files is not to see what only the operator may read."""
    city, secret = tmp_path / "city", tmp_path / "outside" / "keys.yaml"
    (city / "sub").mkdir(parents=True)
    secret.parent.mkdir()
    secret.write_text("passphrase: hunter2\n")
    (city / "city.yaml").write_bytes(BASE)
    match kind:
        case "file":
            (city / "sub" / "a.yaml").symlink_to(secret)
            name = "sub/a.yaml"
        case "directory":
            (city / "sub" / "more").symlink_to(secret.parent)
            name = "sub/more"
        case _:
            (city / ".hop").symlink_to(secret.parent)
            (city / "a.yaml").symlink_to(".hop/keys.yaml")
            name = "a.yaml"
    with pytest.raises(InvalidCityError) as caught:
        load_city(city, CATALOGUE)
    assert [str(problem) for problem in caught.value.problems] == [f"{city}/{name}: {OUTSIDE}{EXPECTED}"]
    show_error(caught.value, sys.stderr, colour=False)
    assert "hunter2" not in capsys.readouterr().err


def test_a_link_that_is_named_itself_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_bytes(BASE)
    (tmp_path / "city").mkdir()
    (tmp_path / "city" / "city.yaml").symlink_to("../outside.yaml")
    assert problems(tmp_path / "city" / "city.yaml") == [f"{OUTSIDE}{EXPECTED}"]
    # The directory that is named is the city's, also where the name is a link.
    (tmp_path / "current").symlink_to(".")
    assert len(load_city(tmp_path / "current" / "outside.yaml", CATALOGUE).files) == 1


def test_a_link_within_the_city_is_read_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".data").mkdir()
    (tmp_path / ".data" / "city.yaml").write_bytes(BASE)
    (tmp_path / "sub" / "city.yaml").symlink_to("../.data/city.yaml")
    monkeypatch.chdir(tmp_path)
    assert len(load_city(Path(), CATALOGUE).files) == 1


def test_a_link_that_is_turned_while_the_files_are_read_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "outside.yaml").write_text("passphrase: hunter2\n")
    city = tmp_path / "city"
    city.mkdir()
    (city / "city.yaml").write_bytes(BASE)
    (found,), _ = find_files(city)
    (city / "city.yaml").unlink()
    (city / "city.yaml").symlink_to(tmp_path / "outside.yaml")
    text, problem = read_text(found)
    assert (text, problem and problem.message) == ("", OUTSIDE)


def test_a_file_that_has_nothing_to_be_read_yet_is_a_problem(tmp_path: Path) -> None:
    """As /proc/kmsg answers who does not wait."""
    (tmp_path / "city.yaml").write_bytes(BASE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fdopen", _Silent)
        text, problem = read_text(SourceFile(tmp_path / "city.yaml", "city.yaml"))
    assert (text, problem and problem.message) == ("", "has nothing to be read yet")


class _Silent:
    """A stream without data that does not wait for any."""

    def __init__(self, descriptor: int, mode: str) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> "_Silent":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    def read(self, size: int) -> None:
        return None


def test_dangling_link_is_reported(tmp_path: Path) -> None:
    (tmp_path / "city.yaml").write_bytes(BASE)
    (tmp_path / "lost.yaml").symlink_to("nowhere")
    assert problems(tmp_path) == [f"{tmp_path}/lost.yaml: no such file or directory"]


@pytest.mark.slow
def test_too_many_files(tmp_path: Path) -> None:
    (tmp_path / "city.yaml").write_bytes(BASE)
    for number in range(10_001):
        (tmp_path / f"{number}.yaml").touch()
    assert "more than 10,000 files" in problems(tmp_path)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        pytest.param("[" * 2_000_000, id="depth"),
        pytest.param("kind: App\nspec: [" + "{}," * 1_600_000 + "]", id="items"),
        pytest.param("kind: App\n" + "a: 1\n" * 900_000, id="duplicates"),
        pytest.param("kind: App\nspec: {uses: [" + "[]," * 1_500_000 + "]}", id="wrong-items"),
        pytest.param("".join(f"k{number}: 1\n" for number in range(400_000)), id="unknown-fields"),
        pytest.param("---\n" * 1_200_000, id="documents"),
        pytest.param("---\nkind: App\n" * 300_000, id="broken-documents"),
        pytest.param("a: &a [" + "x," * 99_000 + "]\nb: [*a]\nc: [*a]\n", id="aliases"),
        pytest.param("kind: " + "A" * 4_900_000, id="long-text"),
        pytest.param("kind: Tenant\nmetadata: {name: " + "a-" * 2_000_000 + "}", id="long-name"),
    ],
)
def test_hostile_files_cost_little(tmp_path: Path, text: str) -> None:
    (tmp_path / "hostile.yaml").write_text(text)
    program = (
        "import sys; from pathlib import Path; from wecityctl.spec import load_city;"
        "from wecityctl.errors import InvalidCityError; from tests.spec.catalogue import CATALOGUE\n"
        "try: load_city(Path(sys.argv[1]), CATALOGUE)\n"
        # Not getrusage: its peak counts from before the exec, when the process was a copy of this one.
        "except InvalidCityError: print(Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "hostile.yaml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert 0 < int(done.stdout) < 600_000, "KiB at the peak"
