"""Contract types for import-linter: which part of Segue may know which other, and which parts do no input or output.

import-linter's own contracts name modules that must exist, and forbid. These two allow, part by part, in one table
(`.importlinter`) that reads like the one in `docs/architecture.md`; a part that does not exist is simply not imported.
A part is a package or module directly under `segue`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from importlinter import Contract, ContractCheck, fields, output

if TYPE_CHECKING:
    from grimp import ImportGraph

ROOT = "segue"
ANYTHING = "*"


def part_of(module: str) -> str | None:
    """The part a module belongs to: `segue.flow.model` -> `flow`; None for `segue` itself and for foreign modules."""
    root, _, rest = module.partition(".")
    return rest.partition(".")[0] or None if root == ROOT else None


def values_of(field: object) -> list[str]:
    """The configured lines of a list field, which import-linter puts in the field's place without typing it."""
    return cast("list[str]", field)


def read_table(lines: list[str]) -> dict[str, list[str]]:
    """Read `part: name name` lines. Raises ValueError for a line without a colon."""
    table: dict[str, list[str]] = {}
    for line in lines:
        part, colon, names = line.partition(":")
        if not colon:
            raise ValueError(f"import rule {line!r}: write it as 'part: allowed allowed ...'")
        table[part.strip()] = names.split()
    return table


def is_within(module: str, allowed: str) -> bool:
    """Whether `module` (full name) is the allowed part or module, or inside it; `!name` entries never match here."""
    full = f"{ROOT}.{allowed}"
    return module == full or module.startswith(full + ".")


def is_allowed(imported: str, rule: list[str]) -> bool:
    """Whether a rule lets `imported` in: `*` allows every part, `!api` takes one out again."""
    if any(is_within(imported, entry[1:]) for entry in rule if entry.startswith("!")):
        return False
    return ANYTHING in rule or any(is_within(imported, entry) for entry in rule)


class AllowedImports(Contract):
    """Every direct import between parts must be in the table; a part that the table does not name is a breach too."""

    type_name = "allowed_imports"

    allowed = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """List the imports that the table does not allow."""
        del verbose
        table = read_table(values_of(self.allowed))
        breaches: list[tuple[str, str]] = []
        unlisted: set[str] = set()
        for module in sorted(graph.modules):
            part = part_of(module)
            if part is None:
                continue
            if part not in table:
                unlisted.add(part)
                continue
            for imported in sorted(graph.find_modules_directly_imported_by(module)):
                other = part_of(imported)
                if other is not None and other != part and not is_allowed(imported, table[part]):
                    breaches.append((module, imported))
        return ContractCheck(
            kept=not breaches and not unlisted, metadata={"breaches": breaches, "unlisted": sorted(unlisted)}
        )

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each import that is not allowed."""
        for part in check.metadata["unlisted"]:
            output.print_error(f"segue.{part} is not in the table of .importlinter: say there what it may import")
        for importer, imported in check.metadata["breaches"]:
            output.print_error(f"{importer} may not import {imported}")
        output.new_line()


class PureParts(Contract):
    """The listed parts reach none of the forbidden foreign modules, not even through another module of Segue."""

    type_name = "pure_parts"

    parts = fields.ListField(subfield=fields.StringField())
    forbidden = fields.ListField(subfield=fields.StringField())

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:
        """Find, for each forbidden module, the shortest chain that leads to it."""
        del verbose
        chains: list[tuple[str, ...]] = []
        for entry in values_of(self.parts):
            source = f"{ROOT}.{entry}"
            if source not in graph.modules:
                continue
            for forbidden in values_of(self.forbidden):
                if forbidden in graph.modules:
                    chains.extend(sorted(graph.find_shortest_chains(source, forbidden, as_packages=True)))
        return ContractCheck(kept=not chains, metadata={"chains": chains})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """One line for each chain."""
        for chain in check.metadata["chains"]:
            output.print_error(" -> ".join(chain))
        output.new_line()
