"""Writes the generated files anew: `python -m tests.generate` (or `make schema`).

The JSON Schema, the references of the files, of the command line, of the rules, of the catalogue and of a deployer's
rights, and the snapshots of every `--help`.
With `--cases` also the expected problems under tests/spec/invalid and findings under tests/policy/cases. Tests fail
when any of these is stale.
"""

import argparse
from pathlib import Path

from stacks.catalogue import load_catalogue
from tests.cli.help_texts import SNAPSHOTS, all_help, reference_page
from tests.policy.city_cases import write_expected as write_findings
from tests.policy.reference_page import rules_page
from tests.provider.go_types import ZEROS, api_version, sources
from tests.provider.go_types import table as zeros_table
from tests.spec.cases import write_expected
from tests.spec.reference_page import spec_page
from tests.stacks.deployer_role import role_page
from tests.stacks.proofs import table
from wecityctl.report.catalogue import catalogue_page
from wecityctl.spec.jsonschema import schema_text

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


def generated() -> dict[Path, str]:
    """Every generated file and what belongs in it."""
    helps = all_help()
    version = api_version()
    root = sources(version)  # there once Kubernetes has been built on this machine
    return {
        **({ZEROS: zeros_table(root, version)} if root else {}),
        REFERENCE / "city.schema.json": schema_text(),
        REFERENCE / "city.md": spec_page(),
        REFERENCE / "cli.md": reference_page(helps),
        REFERENCE / "rules.md": rules_page(),
        REFERENCE / "catalogue.md": catalogue_page(load_catalogue().values(), table()),
        REFERENCE / "deployer-role.yaml": role_page(),
        **{SNAPSHOTS / f"{name.replace(' ', '-')}.txt": text for name, text in helps.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", action="store_true", help="also what the cases of tests/spec and tests/policy give")
    arguments = parser.parse_args()
    wanted = generated()
    for old in set(SNAPSHOTS.glob("*.txt")) - set(wanted):
        old.unlink()
    for path, text in wanted.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        print(path)
    if arguments.cases:
        print(*write_expected(), *write_findings(), sep="\n")


if __name__ == "__main__":
    main()
