"""The documentation says everything and nothing that is not so: commands, variables, exit codes, links, records."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.docs.blocks import GENERATED, ROOT, RUNNABLE, blocks_of, documents, steps_of
from tests.support.some import some
from wecityctl.cli.main import PROGRAM, app
from wecityctl.errors import ExitCode

WRITTEN = [document for document in documents() if document not in GENERATED]
REFERENCE = ROOT / "docs" / "reference"
RECORDS = ROOT / "docs" / "decisions"
# Variables that are only set for others, or read inside a pod or a CNI plug-in, never given by a user; or by its shell.
_CNI = {"CNI_COMMAND", "CNI_CONTAINERID", "CNI_ARGS", "CNI_NETNS", "CNI_IFNAME"}
NOT_THE_USERS = _CNI | {"KUBERNETES_EXEC_INFO", "COMP_WORDS"}

_BY_FUNCTION = re.compile(r"(WECITYCTL|XDG|PULUMI_K8S)_[A-Z0-9_]+|(HTTPS?|NO)_PROXY")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


# -- commands


@cache
def commands() -> dict[str, Any]:
    """Every command by its words, such as `local start`; groups too."""
    root = typer.main.get_command(app)
    context = root.make_context(PROGRAM, [], resilient_parsing=True)
    return dict(_walk(root, context, ""))


def _walk(command: Any, context: Any, name: str) -> Iterator[tuple[str, Any]]:
    yield name, command
    for child_name in command.list_commands(context) if hasattr(command, "list_commands") else ():
        child = command.get_command(context, child_name)
        child_context = child.make_context(child_name, [], parent=context, resilient_parsing=True)
        yield from _walk(child, child_context, f"{name} {child_name}".strip())


def shown_commands(document: Path) -> Iterator[list[str]]:
    """The words after `wecityctl` wherever a document shows it: in blocks that are commands, and in inline code."""
    texts = [step.command for block in blocks_of(document) if block.language in RUNNABLE for step in steps_of(block)]
    prose = re.sub(r"^ *```.*?^ *```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    texts += [code for code in re.findall(r"`([^`\n]+)`", prose) if code.startswith(f"{PROGRAM} ")]
    for text in texts:
        text = text.replace("\\\n", " ")
        for call in re.findall(rf"(?:^|[\s;|&(\"'=]){PROGRAM}((?: [^\n;|&)<>]+)?)", text):
            words = shlex.split(call.replace("'", "").replace('"', "").replace("…", "").strip(), comments=True)
            yield words


def problem_of(words: list[str]) -> str:
    """What is wrong with a shown command; empty when there is such a command and it has these options."""
    known = commands()
    name, command = "", known[""]
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            # The rest is another program's.
            return ""
        if word.startswith("-") and word != "-":
            options = {opt for item in command.params for opt in (*item.opts, *item.secondary_opts)}
            if word.partition("=")[0] not in options | {"--help", "-h"}:
                return f"`{PROGRAM} {name}` has no option {word}"
        elif hasattr(command, "list_commands"):
            longer = f"{name} {word}".strip()
            alternatives = word.split("/") if "/" in word else word.split(",")
            if longer not in known and all(f"{name} {each}".strip() in known for each in alternatives):
                return ""
            if longer not in known and (default := getattr(command, "default", "")):
                longer = f"{name} {default}".strip()
            if longer not in known:
                return f"there is no command `{PROGRAM} {longer}`"
            name, command = longer, known[longer]
    return ""


@pytest.mark.parametrize("document", WRITTEN, ids=name_of)
def test_shown_commands_exist(document: Path) -> None:
    problems = [problem_of(words) for words in shown_commands(document)]
    assert [problem for problem in problems if problem] == []


def test_a_command_that_does_not_exist_is_noticed() -> None:
    assert problem_of(["fly", "examples/xingcheng"]) == "there is no command `wecityctl fly`"
    assert problem_of(["local", "fly"]) == "there is no command `wecityctl local fly`"
    assert problem_of(["up", "x", "--quickly"]) == "`wecityctl up` has no option --quickly"
    assert problem_of(["up", "x", "--confirm=x", "-p", "3"]) == ""


def test_every_command_is_documented() -> None:
    shown = {tuple(words[:size]) for document in WRITTEN for words in shown_commands(document) for size in (1, 2, 3)}
    leaves = [name for name, command in commands().items() if name and not hasattr(command, "list_commands")]
    assert [name for name in leaves if tuple(name.split()) not in shown] == []
    reference = (REFERENCE / "cli.md").read_text(encoding="utf-8")
    assert [name for name in leaves if f"\n## {PROGRAM} {name}\n" not in reference] == []


# -- environment variables


@cache
def read_variables() -> dict[str, set[str]]:
    """The variables that the code reads, each with the files that do."""
    found: dict[str, set[str]] = {}
    paths = [path for pattern in ("*.py", "*/**/*.py") for path in (ROOT / "wecityctl").glob(pattern)]
    # What is in images runs in pods; its environment is the app's business.
    for path in sorted(path for path in paths if not {"images", "image"} & set(path.relative_to(ROOT).parts)):
        text = path.read_text(encoding="utf-8")
        # Parsing takes long, and most files have nothing that could be a variable.
        if "env" not in text.lower() and not _BY_FUNCTION.search(text):
            continue
        for name in _variables(ast.parse(text)):
            found.setdefault(name, set()).add(path.relative_to(ROOT).as_posix())
    return found


def _variables(tree: ast.AST) -> Iterator[str]:
    constants = {
        target.id: node.value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        for place, key in _readings(node):
            name = key.value if isinstance(key, ast.Constant) else constants.get(getattr(key, "id", ""), "")
            if isinstance(name, str) and re.fullmatch(r"[A-Z][A-Z0-9_]+", name) and "env" in ast.unparse(place).lower():
                yield name
        # Names that reach the environment by way of a function: the XDG directories, proxies, the provider's flags.
        if isinstance(node, ast.Constant) and _BY_FUNCTION.fullmatch(str(node.value)):
            yield str(node.value)


def _readings(node: ast.AST) -> Iterator[tuple[ast.AST, ast.AST]]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("get", "pop"):
        if node.args:
            yield node.func.value, node.args[0]
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Load):
        yield node.value, node.slice
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.In):
        yield node.comparators[0], node.left


@pytest.mark.slow
def test_the_search_for_variables_finds_every_way_of_reading() -> None:
    source = (
        'V = "A_A"\nos.environ["B_B"]\nenviron.get("C_C")\n"D_D" in env\nos.environ[V]\n_xdg("XDG_E", "")\nx.get("F")'
    )
    assert sorted(set(_variables(ast.parse(source)))) == ["A_A", "B_B", "C_C", "D_D", "XDG_E"]
    assert {"WECITYCTL_BUNDLE", "XDG_STATE_HOME", "PULUMI_CONFIG_PASSPHRASE", "NO_COLOR"} <= set(read_variables())


def test_every_variable_is_documented() -> None:
    page = (REFERENCE / "environment.md").read_text(encoding="utf-8")
    missing = {name: files for name, files in read_variables().items() if f"`{name}`" not in page}
    assert {name: files for name, files in missing.items() if name not in NOT_THE_USERS} == {}


def test_no_variable_is_documented_that_nobody_reads() -> None:
    page = (REFERENCE / "environment.md").read_text(encoding="utf-8")
    ours = set(re.findall(r"^\| `(WECITYCTL_\w+)`", page, re.MULTILINE))
    assert ours == {name for name in read_variables() if name.startswith("WECITYCTL_")}


# -- exit codes, events, the Makefile


def test_exit_codes_are_documented() -> None:
    for document in (ROOT / "README.md", REFERENCE / "exit-codes.md"):
        rows = re.findall(r"^\| `?(\d+)`? \|", document.read_text(encoding="utf-8"), re.MULTILINE)
        assert [int(code) for code in rows] == [int(code) for code in ExitCode], document.name


def test_events_are_documented() -> None:
    from typing import get_args

    from wecityctl.model.events import Event

    page = (REFERENCE / "events.md").read_text(encoding="utf-8")
    for kind in get_args(Event):
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", kind.__name__).lower()
        section = page.partition(f"| `{name}` |")[2].partition("\n")[0]
        assert section, name
        assert [field for field in kind.__dataclass_fields__ if f"`{field}`" not in section] == [], name


def makefile_targets() -> dict[str, list[str]]:
    """The recipes of the Makefile by target, the variables for the program and the city filled in."""
    targets: dict[str, list[str]] = {}
    current: list[str] = []
    whole = re.sub(r" *\\\n\s*", " ", (ROOT / "Makefile").read_text(encoding="utf-8"))
    for line in whole.splitlines():
        if found := re.match(r"^([a-z0-9-]+):", line):
            current = targets.setdefault(found[1], [])
        elif line.startswith("\t"):
            current.append(_filled_in(line.strip()))
    return targets


def _filled_in(command: str) -> str:
    values = {"$(BIN)/": "", "$(notdir $(CITY))": "xingcheng", "$(CITY)": "examples/xingcheng"}
    for variable, value in values.items():
        command = command.replace(variable, value)
    # What the city is called is asked of its files.
    return re.sub(r'"\$\$\(wecityctl validate examples/xingcheng .*\)"', "xingcheng", command)


def test_shown_make_targets_exist() -> None:
    targets = makefile_targets()
    for document in WRITTEN:
        texts = [text for block in blocks_of(document) for text in block.text.splitlines()]
        prose = re.findall(r"`([^`\n]+)`", document.read_text(encoding="utf-8"))
        shown = {found[1] for text in (*texts, *prose) if (found := re.match(r"^(?:\$ )?make ([a-z0-9-]+)", text))}
        assert shown <= set(targets), document.name


@pytest.mark.parametrize("target", ["up", "down"])
def test_the_readme_says_what_make_runs(target: str) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    recipe = makefile_targets()[target]
    assert recipe
    assert [command for command in recipe if f"`{command}`" not in readme] == []


def test_blocks_that_do_not_run_say_why() -> None:
    """Only what cannot run in a test is left out: `make` itself, and what needs another machine or a licence."""
    left_out = [block for document in WRITTEN for block in blocks_of(document) if block.not_run]
    assert all(len(block.not_run.split()) >= 3 for block in some(left_out))
    known = ("", "cluster", "node", "components", "operations")
    unknown = [str(b) for doc in WRITTEN for b in blocks_of(doc) if b.need not in known]
    assert unknown == []


# -- links and records

_LINK = re.compile(r"\]\(([^)\s]+)\)")


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", text.replace("`", "").lower()).strip().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("document", documents(), ids=name_of)
def test_links_lead_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall(document.read_text(encoding="utf-8")):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_every_document_can_be_reached_from_the_readme() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop()
        if document in reached or document.suffix != ".md" or not document.exists():
            continue
        reached.add(document)
        links = _LINK.findall(document.read_text(encoding="utf-8"))
        waiting += [(document.parent / link.partition("#")[0]).resolve() for link in links if "://" not in link]
    assert [path.name for path in documents() if path not in reached] == []


def test_every_record_is_in_the_index_once() -> None:
    index = (RECORDS / "README.md").read_text(encoding="utf-8")
    records = sorted(path for path in RECORDS.glob("*.md") if path.name != "README.md")
    assert [path.name for path in records if index.count(f"]({path.name})") != 1] == []
    numbers = [path.name[:4] for path in records]
    assert len(numbers) == len(set(numbers))


@pytest.mark.parametrize("record", sorted(RECORDS.glob("[0-9]*.md")), ids=name_of)
def test_a_record_has_its_four_parts(record: Path) -> None:
    text = record.read_text(encoding="utf-8")
    assert re.match(rf"# (0*{int(record.name[:4])})[.:]? ", text), "the title begins with the record's number"
    for part in ("Context", "Decision", "Consequences", "What would change our mind"):
        assert re.search(rf"^(## {part}|\*\*{part}\.)", text, re.MULTILINE), part


def test_the_threat_models_tests_exist() -> None:
    """Each line is attacked by a test; where none is, it says why."""
    page = (ROOT / "docs/explanation/threat-model.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`([a-z0-9/]+/test_[a-z_0-9]+)`", page))
    assert len(named) > 20
    assert sorted(name for name in named if not (ROOT / "tests" / f"{name}.py").exists()) == []
    boundaries = page.partition("\n## Boundaries\n")[2].partition("\n## ")[0]
    rows = [line for line in boundaries.splitlines() if line.startswith("| ")][2:]
    assert [row for row in some(rows) if not re.search(r"`[a-z0-9/]+/test_[a-z_0-9]+` \|$", row)] == []
