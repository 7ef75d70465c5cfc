"""The one place that exits: errors to exit codes and screens, global options, signals, closed pipes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest
import typer

from tests.cli.program import ROOT, wecityctl
from wecityctl.cli import _lazy, main
from wecityctl.cli._options import duration
from wecityctl.errors import ConfigurationError, DeploymentError, ExitCode, WecityError

pytestmark = pytest.mark.program

# A command whose module misbehaves as told, put into the program's table in another process.
MISBEHAVING = """
import sys, types, typer
from wecityctl import errors
from wecityctl.cli import main as program
from wecityctl.cli._lazy import Command
module = types.ModuleType("misbehaving"); module.app = typer.Typer()
@module.app.command()
def go(value: int = 0) -> None:
    {body}
sys.modules["misbehaving"] = module
module.__spec__ = __import__("importlib.machinery").machinery.ModuleSpec("misbehaving", None)
program.RootGroup.table = (*program.COMMANDS, Command("go", "misbehaving", "x"))
program.main()
"""


def misbehave(body: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", MISBEHAVING.format(body=body), "go", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        check=False,
    )


@pytest.mark.parametrize("body", ["sys.exit()", "sys.exit(0)", "sys.exit(7)"])
def test_what_exits_below_a_command_is_an_error(body: str, tmp_path: Path) -> None:
    done = misbehave(body, home=tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    assert "internal error: SystemExit" in done.stderr


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("raise errors.WecityError('m', details='d', resolution='r')", 1),
        ("raise errors.ConfigurationError('m', details='d', resolution='r')", 2),
        ("raise errors.AuthenticationError('m', details='d', resolution='r')", 3),
        ("raise errors.DeploymentError('m', details='d', resolution='r')", 4),
        ("raise errors.TimedOutError('m', details='d', resolution='r')", 9),
    ],
)
def test_our_errors(body: str, code: int, tmp_path: Path) -> None:
    done = misbehave(body, home=tmp_path)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr == "error: m\n  d\n  → r\n"


@pytest.mark.parametrize("body", ["raise typer.Exit(7)"])
def test_a_commands_own_exit_code(body: str, tmp_path: Path) -> None:
    done = misbehave(body, home=tmp_path)
    assert (done.returncode, done.stderr) == (7, "")


def test_long_details_keep_to_one_screen(tmp_path: Path) -> None:
    done = misbehave("raise errors.WecityError('m', details='line\\n' * 500)", home=tmp_path)
    assert len(done.stderr.splitlines()) < 30
    assert "… and 475 more lines" in done.stderr


def test_unforeseen_error(tmp_path: Path) -> None:
    done = misbehave("secret = 'pa55word'; {}['missing']", home=tmp_path)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("internal error: KeyError: 'missing'\n")
    (log,) = (tmp_path / ".local/state/wecityctl/logs").iterdir()
    assert str(log) in done.stderr
    assert log.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in log.read_text()


def test_unforeseen_error_and_nowhere_to_write_it() -> None:
    done = misbehave("raise RuntimeError('x' * 5000)", home=Path("/proc/nowhere"))
    assert done.returncode == 1
    assert "could not be written" in done.stderr
    assert len(done.stderr) < 1000


@pytest.mark.parametrize("body", ["raise KeyboardInterrupt", "typer.confirm('sure?', abort=True)"])
def test_cancelled(body: str, tmp_path: Path) -> None:
    done = misbehave(body, home=tmp_path)
    assert done.returncode == 8
    assert "Traceback" not in done.stderr
    assert "error: " in done.stderr


def test_ctrl_c_while_it_works(tmp_path: Path) -> None:
    script = MISBEHAVING.format(body="import time; print('on', flush=True); time.sleep(60)")
    with subprocess.Popen(
        [sys.executable, "-c", script, "go"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 8
    assert errors == b"error: interrupted\n"


def test_the_entry_point_imports_nothing_before_it_handles_an_interrupt() -> None:
    """Whatever its own imports take, Ctrl-C shows a traceback."""
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import wecityctl.entry as e; print(e.CANCELLED, *sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program, str(ROOT)], capture_output=True, text=True, timeout=30, check=True
    )
    code, *modules = done.stdout.split()
    assert int(code) == ExitCode.CANCELLED
    assert not {"signal", "typing", "dataclasses", "enum", "wecityctl.errors"} & set(modules)


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", ["typer", "wecityctl.spec.load"])
def test_interrupted_while_it_loads(moment: str, number: str, tmp_path: Path) -> None:
    program = f"""
import builtins, os, signal, sys
load = builtins.__import__
def interrupted(name, *rest, **named):
    if name == {moment!r}:
        os.kill(os.getpid(), signal.{number})
    return load(name, *rest, **named)
builtins.__import__ = interrupted
sys.argv[1:] = ["validate", {str(tmp_path)!r}]
from wecityctl.entry import main
main()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        timeout=30,
        check=False,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    assert (done.returncode, done.stdout, done.stderr) == (8, b"", b"error: interrupted\n")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["validat"], "No such command 'validat'. Did you mean 'validate'?"),
        (["zzz"], "No such command 'zzz'.\n"),
        (["logs"], "Missing argument 'APP'"),
        (["validate", "x", "-o", "xml"], "xml"),
        (["--colour"], "No such option"),
        (["--color", "sometimes", "validate", "x"], "sometimes"),
    ],
)
def test_usage_errors(arguments: list[str], text: str) -> None:
    done = wecityctl(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert text in done.stderr
    assert "--help" in done.stderr


def test_version() -> None:
    assert wecityctl("--version").stdout == f"wecityctl {main.__version__}\n"


def test_no_arguments_show_help() -> None:
    done = wecityctl()
    assert done.returncode == 0
    assert done.stdout == wecityctl("--help").stdout


@pytest.mark.parametrize(
    ("option", "environment", "coloured"),
    [("always", {}, True), ("always", {"NO_COLOR": "1"}, True), ("auto", {}, False), ("never", {}, False)],
)
def test_colour(option: str, environment: dict[str, str], coloured: bool) -> None:
    done = wecityctl("--color", option, "validate", "/nowhere", **environment)
    assert done.returncode == 2
    assert ("\x1b[" in done.stderr) is coloured


def test_command_without_module_is_not_listed_until_it_exists() -> None:
    table = (*main.COMMANDS, _lazy.Command("later", "wecityctl.cli.of_the_future", "Not yet."))
    with patch.object(main.RootGroup, "table", table):
        assert main.run(["later"]) == ExitCode.CONFIGURATION


def test_completion_offers_commands_and_paths() -> None:
    def complete(words: str, index: int) -> list[str]:
        done = wecityctl(_WECITYCTL_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(index))
        return done.stdout.split()

    assert complete("wecityctl va", 1) == ["validate"]
    assert complete("wecityctl validate examples/xingcheng/c", 2) == ["examples/xingcheng/city.yaml"]
    assert complete("wecityctl validate exampl", 2) == ["examples/"]
    assert complete("wecityctl explain app.spec.u", 2) == ["app.spec.uses"]
    assert "app" in complete("wecityctl explain ", 2)
    assert complete("wecityctl up examples/xingcheng --only tr", 4) == ["transport-bureau"]
    assert complete("wecityctl outputs --stack pla examples/xingcheng", 3) == ["platform"]
    assert complete("wecityctl logs examples/xingcheng tr", 3) == ["transport-bureau/bus-arrival"]
    assert complete("wecityctl events examples/xingcheng transport-bureau/bus-arrival/", 3) == [
        "transport-bureau/bus-arrival/web"
    ]
    assert complete("wecityctl run examples/xingcheng tr", 3) == []
    rotate = "wecityctl secrets rotate examples/xingcheng"
    assert complete(f"{rotate} --app tr", 5) == ["transport-bureau/bus-arrival"]
    assert complete(f"{rotate} --capability po", 5) == ["postgresql"]
    assert "binding/transport-bureau/bus-arrival/db" in complete(f"{rotate} binding/tr", 4)
    assert complete("wecityctl up /nowhere --only tr", 4) == []
    for command in ("status", "logs", "app list"):
        words = f"wecityctl {command} examples/county --env "
        assert complete(words, len(words.split())) == ["production", "test"]
    assert complete("wecityctl logs examples/xingcheng --env ", 4) == ["production"]


@pytest.mark.parametrize(("word", "command"), [("plan", "preview"), ("apply", "up"), ("diff", "preview")])
def test_other_tools_commands_are_answered_with_ours(word: str, command: str) -> None:
    done = wecityctl(word)
    assert done.returncode == ExitCode.CONFIGURATION
    assert f"error: No such command {word!r}. `wecityctl {command}` " in done.stderr


def test_the_path_is_the_current_directory_by_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(ROOT / "examples/xingcheng")
    assert main.run(["validate"]) == 0
    # The path may be left out before another argument, too, and what is missing is still named.
    assert main.run(["secrets", "set", "nobody/key", "--from-file", "/dev/null"]) == ExitCode.CONFIGURATION
    monkeypatch.chdir(tmp_path)
    assert main.run(["validate"]) == ExitCode.CONFIGURATION


def test_a_secret_without_a_variable_for_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "value").write_bytes(b"s3cret\0more\n")
    name = ("health-commission/sms-key", "--from-file", tmp_path / "value")
    done = wecityctl("secrets", "set", ROOT / "examples/xingcheng", *name, home=tmp_path)
    assert done.returncode == ExitCode.CONFIGURATION
    assert "the value has a NUL byte" in done.stderr and "it is byte 7" in done.stderr
    assert "s3cret" not in done.stderr


def test_settings_of_one_run_do_not_reach_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--color", "always", "validate", "/nowhere"]) == 2
    assert "\x1b[" in capsys.readouterr().err
    assert main.run(["validate", "/nowhere"]) == 2
    assert "\x1b[" not in capsys.readouterr().err


def test_exit_codes_are_the_classes_own() -> None:
    assert (WecityError.exit_code, ConfigurationError.exit_code, DeploymentError.exit_code) == (1, 2, 4)


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed: str, tmp_path: Path) -> None:
    script = f"{sys.executable} -c 'from wecityctl.cli.main import main; main()' validate /nowhere {closed}"
    done = subprocess.run(
        ["sh", "-c", script],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
        env={"HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == "" if "2>" in closed else done.stderr.startswith("/nowhere: no such file")
    assert not (tmp_path / ".local").exists()


def test_output_that_cannot_be_written(tmp_path: Path) -> None:
    def run(command: str, redirection: str) -> subprocess.CompletedProcess[str]:
        script = f"{sys.executable} -c 'from wecityctl.cli.main import main; main()' {command} {redirection}"
        return subprocess.run(
            ["sh", "-c", script],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={"HOME": str(tmp_path)},
            check=False,
        )

    done = run("schema", ">/dev/full")
    assert done.returncode == ExitCode.DEPLOYMENT
    assert done.stderr.startswith("error: no room is left on the disk, or where the output goes\n")
    # What cannot be said does not change the exit code.
    assert run("validate /nowhere", "2>/dev/full").returncode == 2
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("open('/proc/nowhere/x', 'w')", "error: No such file or directory: /proc/nowhere/x\n"),
        ("raise OSError(28, 'No space left on device')", "error: no room is left on the disk"),
    ],
)
def test_what_the_system_refuses_is_no_mistake_of_ours(body: str, text: str, tmp_path: Path) -> None:
    done = misbehave(body, home=tmp_path)
    assert done.returncode == ExitCode.DEPLOYMENT
    assert done.stderr.startswith(text)
    assert "  → " in done.stderr
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize("arguments", [["/nowhere"], ["/nowhere", "--nosuch"]])
def test_with_detailed_exit_code_no_error_looks_like_changes(arguments: list[str]) -> None:
    assert wecityctl("preview", *arguments).returncode == 2
    assert wecityctl("preview", *arguments, "--detailed-exitcode").returncode == 1


def test_a_program_that_reads_json_finds_the_error_in_it(tmp_path: Path) -> None:
    for command in (("status",), ("up",), ("preview", "--nosuch")):
        done = wecityctl(*command, "/nowhere", "-o", "json", home=tmp_path)
        assert done.returncode == 2
        found = json.loads(done.stdout)
        assert (found["event"], found["error"]["exit_code"]) == ("error", 2)
        assert done.stderr
    problems = json.loads(wecityctl("status", "/nowhere", "-ojson").stdout)["error"]["problems"]
    assert [item["file"] for item in problems] == ["/nowhere"]
    assert json.loads(wecityctl("validate", "/nowhere", "--output=json").stdout)["valid"] is False


@pytest.mark.parametrize("report", ["/proc/nowhere/report.json", "/proc"])
def test_a_report_that_cannot_be_written_stops_the_run_before_it_begins(report: str, tmp_path: Path) -> None:
    done = wecityctl("up", "examples/xingcheng", "--yes", "--report-file", report, home=tmp_path)
    assert done.returncode == 2
    assert f"{report} cannot be written" in done.stderr
    assert not (tmp_path / ".local").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("policy", "list", "-o", "xml"), "Invalid value for '--output' / '-o': 'xml' is not one of 'text', 'json'."),
        (("up", "city", "-p", "0"), "Invalid value for '--parallelism' / '-p': must be greater than or equal to 1"),
        (("up", "city", "-p", "x"), "Invalid value for '--parallelism' / '-p': must be a valid integer"),
    ],
)
def test_a_command_line_that_is_wrong_is_told_in_our_words_once(words: tuple[str, ...], message: str) -> None:
    done = wecityctl(*words)
    errors = [line.removeprefix("error: ") for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert (done.returncode, len(errors)) == (2, 1)
    assert errors[0].startswith(message)
    assert len(done.stderr.splitlines()) == 3


@pytest.mark.parametrize(
    "group", ["policy", "import", "state", "state token", "secrets", "local", "leftovers", "images"]
)
def test_a_group_without_a_command_shows_its_help_and_is_a_wrong_command_line(group: str) -> None:
    done = wecityctl(*group.split())
    assert (done.returncode, done.stdout) == (ExitCode.CONFIGURATION, "")
    assert wecityctl(*group.split(), "--help").stdout.strip() in done.stderr
    assert "error: a command is missing: one of " in done.stderr


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("90", 90), ("10m", 600), ("1h30m", 5400), ("2h5s", 7205), ("720h", 2592000)]
)
def test_a_duration_is_seconds(text: str, seconds: int) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-5m", "10 m", "1.5h", "5m1h", "1d", "721h", "\uff11\uff10m"])
def test_what_is_no_duration_says_how_to_write_one(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="write 90s, 10m or 1h30m"):
        duration(text)
