"""Checks what an app's containers are given: catalogue images, environment variables, commands and files."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.binding_values import Reference, is_entry_itself, references, variable_of
from wecityctl.model.city import App, AppUse, Component, Use
from wecityctl.model.environments import ENVIRONMENT_NAME
from wecityctl.model.images import BUILT_HOST
from wecityctl.model.variables import own_variables, secret_variable
from wecityctl.paths import recipe_names
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.nodes import PathItem
from wecityctl.spec.parsed_city import ParsedCity, Sourced

_CATALOGUE = "catalogue:"
# A variable as Kubernetes' manifests write it in a command; a doubled dollar is no variable there.
_IN_PARENTHESES = re.compile(r"(?<!\$)\$\(([A-Za-z_]\w*)\)")
_ENVIRONMENT = re.compile(r"(?<!\$)" + re.escape(ENVIRONMENT_NAME))
# A script's or template's own `environment`: set, looped over or read in it.
_OWN_ENVIRONMENT = re.compile(r"(?<![-\w.${])environment\b")
_READERS = {"command": "a shell here or the program", "args": "the program", "files": "the program"}
# The pod template is stored in a Deployment and in a ReplicaSet; the API server takes objects of at most 1.5 MB.
MAX_TEXTS_BYTES = 500_000


def catalogue_images(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Every `catalogue:<name>` image has a recipe."""
    names = tuple(sorted({*recipe_names(), *(name for kind in parsed_city.catalogue.values() for name in kind.images)}))
    for app, path, part in parsed_city.components():
        name = part.image.removeprefix(_CATALOGUE)
        if part.image.startswith(_CATALOGUE) and name not in names:
            guess = nearest(name, names)
            yield app.problem(
                (*path, "image"),
                f"there is no image {name!r} of our own",
                one_of([f"{_CATALOGUE}{item}" for item in names]),
                f"{_CATALOGUE}{guess}" if guess else "",
            )


def built_images(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Images built by wecityctl are named `catalogue:<name>`. Their internal reference is served by no registry."""
    for app, path, part in parsed_city.components():
        if part.image.lower().startswith(f"{BUILT_HOST}/"):
            message = f"no registry serves {BUILT_HOST}, under which images are known that are built here"
            yield app.problem((*path, "image"), message, f"{_CATALOGUE}NAME, or an image in a registry")


def variables(parsed_city: ParsedCity) -> Iterator[Problem]:
    """An environment variable has one source: `env`, `secrets`, or wecityctl itself."""
    for app, path, part in parsed_city.components():
        ours = own_variables(app.value, part)
        for index, name in enumerate(part.secrets):
            variable, here = secret_variable(name), (*path, "secrets", index)
            if variable in part.env:
                line = app.place(*path, "env", variable, on_key=True).line
                message = f"secret {name!r} becomes the variable {variable}, which `env` sets as well (line {line})"
                yield app.problem(here, message, "one of the two")
            elif variable in ours:
                message = f"secret {name!r} becomes the variable {variable}, which wecityctl sets"
                yield app.problem(here, message, "another name for the secret")
            elif variable[0].isdigit():
                message = f"secret {name!r} becomes the variable {variable}, which no shell can read"
                yield app.problem(here, message, "a letter first")


def variables_of_bindings(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No variable takes the place of one that a value is put together from, such as BINDING_DB_URI for `${db.uri}`."""
    for app, path, part in parsed_city.components():
        secrets = {secret_variable(name): index for index, name in enumerate(part.secrets)}
        made: dict[str, Reference] = {}
        for name, value in part.env.items():
            for item in () if is_entry_itself(value) else references(value):
                variable = variable_of(item)
                first, text = made.setdefault(variable, item), f"${{{item.alias}.{item.key}}}"
                why = f"the variable {variable}, which holds {text} for {name}"
                if first != item:
                    message = f"{why}, holds ${{{first.alias}.{first.key}}} too"
                    yield app.problem((*path, "env", name), message, "another name of the binding under `uses`")
                elif variable in part.env:
                    line = app.place(*path, "env", name, on_key=True).line
                    message = f"{why} (line {line}), cannot be set as well"
                    yield app.problem((*path, "env", variable), message, "another name", on_key=True)
                elif variable in secrets:
                    message = f"secret {part.secrets[secrets[variable]]!r} becomes {why}"
                    yield app.problem((*path, "secrets", secrets[variable]), message, "another name for the secret")


def literal_texts(parsed_city: ParsedCity) -> Iterator[Problem]:
    """`command`, `args` and `files` hold nothing that is replaced in `env` only, or in Kubernetes' manifests only."""
    for app, path, part in parsed_city.components():
        uses: tuple[Use | AppUse, ...] = (*app.value.uses, *app.value.app_uses)
        aliases = tuple(use.alias for use in uses)
        known = {*own_variables(app.value, part), *part.env, *map(secret_variable, part.secrets)}
        for field, key, text in _literals(part):
            here = (*path, field, key)
            for item in references(text):
                if item.alias in aliases or (field != "files" and nearest(item.alias, aliases)):
                    yield _not_replaced(app, here, f"${{{item.alias}.{item.key}}}", field)
            if _ENVIRONMENT.search(text) and "environment" not in known and not _OWN_ENVIRONMENT.search(text):
                yield _not_replaced(app, here, ENVIRONMENT_NAME, field)
            for name in () if field == "files" else sorted(known.intersection(_IN_PARENTHESES.findall(text))):
                message = f"$({name}) is not replaced, and arrives as it is written"
                expected = f'a shell that reads the variable, such as [/bin/sh, -c, "exec app --option=${name}"]'
                yield app.problem(here, message, expected)


def _literals(part: Component) -> Iterator[tuple[str, PathItem, str]]:
    """The texts that arrive as they are written: field, key or index, and text."""
    for index, word in enumerate(part.command):
        yield "command", index, word
    for index, word in enumerate(part.args):
        yield "args", index, word
    for name, text in part.files.items():
        yield "files", name, text


def _not_replaced(app: Sourced[App], path: tuple[PathItem, ...], text: str, field: str) -> Problem:
    message = f"{text} is replaced in `env` only, and arrives here as it is written"
    return app.problem(path, message, f"a variable under `env` with {text}, which {_READERS[field]} reads")


def commands(parsed_city: ParsedCity) -> Iterator[Problem]:
    """A command's first word, the program, is not blank."""
    for app, path, part in parsed_city.components():
        if part.command and not part.command[0].strip():
            yield app.problem((*path, "command", 0), "the command names no program", "a program, such as /app/web")


def files_within_files(parsed_city: ParsedCity) -> Iterator[Problem]:
    """No file's path is also a parent directory of another file."""
    for app, path, part in parsed_city.components():
        for name in part.files:
            parents = [name[:end] for end in range(1, len(name)) if name[end] == "/"]
            for parent in [item for item in parents if item in part.files][-1:]:
                message = f"{parent!r} is a file here, and cannot be a directory of {name!r} too"
                yield app.problem((*path, "files", name), message, "another path", on_key=True)


def texts_fit(parsed_city: ParsedCity) -> Iterator[Problem]:
    """Variables and command fit into the app's Deployment."""
    for app, path, part in parsed_city.components():
        texts = [*part.command, *part.args, *part.env, *part.env.values()]
        size = sum(len(text.encode(errors="replace")) for text in texts)
        if size > MAX_TEXTS_BYTES:
            field = "env" if part.env else "command"
            message = f"variables and command are too large together: {size:,} bytes"
            expected = f"at most {MAX_TEXTS_BYTES:,}; put texts under `files`"
            yield app.problem((*path, field), message, expected, on_key=True)


CHECKS: tuple[Check, ...] = (texts_fit,)
REFERENCE_CHECKS: tuple[Check, ...] = (
    catalogue_images,
    built_images,
    variables,
    variables_of_bindings,
    literal_texts,
    commands,
    files_within_files,
)
