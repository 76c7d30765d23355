"""The package is cheap to import, and its documentation holds."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.flow.kit import problems_of, read

from segue.flow.verbs import FLOW_KEYS, MODIFIERS, VERBS

DOCS = Path(__file__).parents[3] / "docs"


def test_importing_the_package_loads_neither_yaml_nor_expressions_nor_schemas() -> None:
    """Time says little on a busy machine; what is imported says it all."""
    program = "import sys, segue.flow; print([m for m in ('yaml', 'segue.expr', 'jsonschema_rs') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.req("FLOW-13.table")
def test_the_language_page_names_every_verb_and_modifier() -> None:
    page = (DOCS / "language.md").read_text(encoding="utf-8")
    shown = set(page.replace("`", " ").replace(",", " ").replace(":", " ").split())
    old_spellings = {name for name, key in MODIFIERS.items() if name != key.name or name != name.lower()}
    assert set(VERBS) - shown == set()
    assert set(MODIFIERS) - old_spellings - shown == set()


def test_the_language_pages_example_is_right() -> None:
    page = (DOCS / "language.md").read_text(encoding="utf-8")
    example = page.split("```yaml\n")[1].split("```")[0]
    assert problems_of(example, runnable=True) == []


@pytest.mark.req("FLOW-13.table")
@pytest.mark.parametrize("name", list(VERBS))
def test_every_verbs_example_in_the_table_reads(name: str) -> None:
    verb = VERBS[name]
    beside = {"if": "then: [a]", "adapter": "action: verify_token"}.get(name, "")
    result = read(f"flow: x\nsteps:\n  - {verb.example}\n    {beside}")
    assert not result.has_errors, [str(problem) for problem in result.problems]
    assert result.flow is not None
    assert result.flow.root.steps[0].kind == verb.kind


def test_every_key_of_the_table_has_a_sentence() -> None:
    rows = [
        *MODIFIERS.values(),
        *FLOW_KEYS.values(),
        *(key for verb in VERBS.values() for key in (*verb.keys, *verb.beside)),
    ]
    assert all(row.doc.endswith(".") for row in rows)
    assert all(verb.doc.endswith(".") and verb.example for verb in VERBS.values())
