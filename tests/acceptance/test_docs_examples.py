"""Every example in the documentation and the README is read, checked, run, and compared with what the page shows."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from tests.acceptance.doc_blocks import ROOT, Block, blocks_of, commands_of, differences, pages

from segue import Segue
from segue.api.errors import TABLE as API_PROBLEMS
from segue.engine.catalogue import RegistryCatalogue
from segue.engine.port import ActionRegistry
from segue.expr import CODES as EXPRESSION_CODES
from segue.flow import check_flow, read_flow
from segue.flow.codes import CODES as FLOW_CODES
from segue.kernel.reason_codes import ReasonCode
from segue.steps.python import actions_of

BLOCKS = [block for page in pages() for block in blocks_of(page)]
KNOWN_LANGUAGES = {"yaml", "json", "python", "sh", "console", "text", "lua", "xml", "sql", "mermaid", "toml", "ini", ""}


def of(*languages: str, marked: str | None = None) -> list:
    chosen = [block for block in BLOCKS if block.language in languages and "not run" not in block.markers]
    return [pytest.param(block, id=block.name) for block in chosen if marked is None or marked in block.markers]


def example_actions() -> ModuleType:
    spec = importlib.util.spec_from_file_location("example_actions", ROOT / "examples" / "actions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_blocks_say_what_they_hold() -> None:
    odd = [f"{block.name}: {block.language}" for block in BLOCKS if block.language not in KNOWN_LANGUAGES]
    unreasoned = [block.name for block in BLOCKS if block.markers.get("not run") == ""]
    assert odd == []
    assert unreasoned == [], "`not run` says why"


@pytest.mark.req("BAR-13.pages-current", "DEV-2.reference")
def test_the_generated_pages_are_current_and_their_examples_give_what_they_say() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "generate_docs.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


RAISED = re.compile(r"""\bcode="([a-z_]+)"|\bstop\([^()]*"([a-z]+_[a-z_]+)"\)|problem\("(PLN\d+)\"""")


@pytest.mark.req("BAR-13.every-code-has-a-page")
def test_every_error_code_in_the_source_is_explained_on_a_page() -> None:
    raised = {
        next(code for code in found.groups() if code)
        for part in ("kernel", "net", "steps", "engine")
        for path in (ROOT / "src" / "segue" / part).rglob("*.py")
        for found in RAISED.finditer(path.read_text(encoding="utf-8"))
    }
    raised |= {
        *FLOW_CODES,
        *EXPRESSION_CODES,
        *(code.value for code in ReasonCode),
        *(row.slug for row in API_PROBLEMS),
    }
    written = "".join(
        page.read_text(encoding="utf-8") for page in (ROOT / "docs" / "reference" / "errors").glob("*.md")
    )
    explained = set(re.findall(r"^## (\w+)$", written, re.MULTILINE)) | set(
        re.findall(r"^\| `([\w.-]+)`", written, re.MULTILINE)
    )
    assert len(raised) > 150, "the patterns find what is raised"
    assert sorted(raised - explained) == []


@pytest.mark.req("BAR-13.examples")
@pytest.mark.parametrize("block", of("yaml"))
def test_a_flow_of_the_docs_is_read_and_checked(block: Block) -> None:
    if "gives" in block.markers:
        return  # what is wrong with it is shown below it, and the test of the generated pages compares that
    body = re.sub(r"^\s*#.*\n", "", block.text, flags=re.MULTILINE)
    if re.match(r"-\s", body):
        text = "flow: part\nunbound: allow\nsteps:\n" + "".join(f"  {line}\n" for line in body.splitlines())
        problems = list(read_flow(text).problems)
    else:
        assert re.match(r"(flow|dsl|name|title):", body), f"{block.name}: neither a flow nor steps; say `not run: why`"
        result = read_flow(block.text)
        problems = list(result.problems)
        if result.flow is not None:
            catalogue = RegistryCatalogue(ActionRegistry(tuple(actions_of(example_actions()))))
            problems += check_flow(result.flow, catalogue, runnable="run" in block.markers, document=result.document)
            if "run" not in block.markers:
                problems = [one for one in problems if one.code not in ("FLW012", "FLW013")]
    assert [str(problem) for problem in problems if problem.severity == "error"] == []


@pytest.mark.req("BAR-13.examples")
@pytest.mark.anyio
@pytest.mark.parametrize("block", of("yaml", marked="run"))
async def test_a_runnable_flow_of_the_docs_runs_well(block: Block) -> None:
    engine = Segue()
    for function in vars(example_actions()).values():
        mark = getattr(function, "__segue_action__", None)
        if mark is not None:
            engine.action(mark.name, effect=mark.effect)(function)
    async with engine as segue:
        result = await segue.run(block.text, block.json_marker("run"))
    assert result.succeeded, result.error
    if "outputs" in block.markers:
        assert json.loads(json.dumps(result.outputs)) == json.loads(block.markers["outputs"])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the examples, in which commands and programs of the docs run."""
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("__pycache__"))
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "segue").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m segue "$@"\n', encoding="utf-8")
    curl = shutil.which("curl")
    if curl is not None:
        # A refused request ends with an error, as one that was not sent.
        (tools / "curl").write_text(f'#!/bin/sh\nexec {curl} -sS --fail-with-body "$@"\n', encoding="utf-8")
    for tool in tools.iterdir():
        tool.chmod(0o755)
    return tmp_path


def environment(place: Path, **more: str) -> dict[str, str]:
    given = {key: value for key, value in os.environ.items() if not key.startswith("SEGUE_")}
    return {
        **given, "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}", "SEGUE_DATABASE": str(place / "segue.db"),
        "COLUMNS": "200", "NO_COLOR": "1", "PYTHONPATH": str(ROOT / "src"), **more,
    }  # fmt: skip


@pytest.mark.req("BAR-13.examples")
@pytest.mark.parametrize("block", of("python"))
def test_a_program_of_the_docs_runs(block: Block, place: Path) -> None:
    program = place / "program.py"
    program.write_text(block.text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=place,
        env=environment(place),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    shown = next((one for one in following(block) if "output" in one.markers), None)
    if shown is not None:
        assert differences(shown.text, done.stdout) is None, differences(shown.text, done.stdout)


def following(block: Block) -> Iterator[Block]:
    """The block right after this one."""
    index = BLOCKS.index(block)
    if index + 1 < len(BLOCKS) and BLOCKS[index + 1].page == block.page:
        yield BLOCKS[index + 1]


def shell(place: Path, script: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", script], cwd=place, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture
def server(place: Path) -> Iterator[dict[str, str]]:
    """A running server on a database of its own: its address and token."""
    command = [sys.executable, "-m", "segue", "serve", "--dev", "--json", "--port", "0", "--flows", "examples"]
    env = environment(place, SEGUE_DATABASE=str(place / "server.db"))
    with subprocess.Popen(
        command, cwd=place, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            said = json.loads(process.stdout.readline())
            yield {"address": said["address"], "token": said["token"]}
        finally:
            process.terminate()
            process.wait(timeout=30)


def is_http(block: Block) -> bool:
    return "$TOKEN" in block.text and "curl" in block.text


def is_segue(block: Block) -> bool:
    return re.search(r"^(\$ )?(\.venv/bin/)?segue ", block.text, re.MULTILINE) is not None


@pytest.mark.req("BAR-13.examples")
@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS if is_segue(block) or is_http(block)}))
def test_the_commands_of_a_page_run_and_print_what_it_shows(
    page: str, place: Path, request: pytest.FixtureRequest
) -> None:
    """The commands of a page run in order in one folder; `make` lines are left out, since they are how tests run."""
    for block in BLOCKS:
        if block.page != page or block.language not in ("sh", "console") or "not run" in block.markers:
            continue
        env = environment(place)
        text = block.text.replace(".venv/bin/segue", "segue")
        if is_http(block):
            if not (place / "bin" / "curl").exists():
                pytest.skip("there is no curl on this machine")
            answering: dict[str, str] = request.getfixturevalue("server")
            env["TOKEN"] = answering["token"]
            text = text.replace("http://127.0.0.1:8080", answering["address"])
        elif not is_segue(block):
            continue
        made = Block(block.page, block.line, block.language, text, block.markers)
        if block.language == "sh":
            script = "set -e\n" + "\n".join(line for line in text.splitlines() if not line.startswith("make "))
            done = shell(place, script, env)
            assert done.returncode == 0, f"{block.name}: {done.stdout}"
            continue
        for command in commands_of(made):
            done = shell(place, command.text, env)
            if command.shown:
                found = differences(command.shown, done.stdout)
                assert found is None, f"{block.name}: $ {command.text}\n{found}"
            else:
                assert done.returncode == 0, f"{block.name}: $ {command.text}\n{done.stdout}"


def test_output_that_differs_is_told() -> None:
    assert differences("a … c\n…\nend", "a b c\nx\ny\nend\n") is None
    assert differences("a … c", "a b d\n") is not None
    assert differences("one", "one\ntwo\n") is not None
