"""Checks what an app's containers are given: catalogue images, environment variables, commands and files."""

from __future__ import annotations

from collections.abc import Iterator

from wecityctl.errors import Problem
from wecityctl.guesses import nearest
from wecityctl.model.images import BUILT_HOST
from wecityctl.model.variables import own_variables, secret_variable
from wecityctl.paths import recipe_names
from wecityctl.spec.checks.check import Check
from wecityctl.spec.fields import one_of
from wecityctl.spec.parsed_city import ParsedCity

_CATALOGUE = "catalogue:"
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
    commands,
    files_within_files,
)
