"""The help of every command ends with examples, and each of them is one that the command takes."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest
from typer.main import get_command

from segue.cli.app import COMMANDS, application
from segue.cli.examples import EXAMPLES


@pytest.fixture(scope="module")
def root():
    return get_command(application(list(COMMANDS)))


def leaves(command, words: tuple[str, ...] = ()) -> Iterator[tuple[str, object]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield " ".join(words), command
        return
    for name, one in below.items():
        yield from leaves(one, (*words, name))


@pytest.mark.req("OBS-5.examples")
def test_every_command_has_examples_and_none_is_of_a_command_that_is_gone(root) -> None:
    assert {name for name, _ in leaves(root)} == set(EXAMPLES)


@pytest.mark.req("OBS-5.examples")
def test_each_example_is_one_that_its_command_takes(root) -> None:
    commands = dict(leaves(root))
    for name, lines in EXAMPLES.items():
        for line in lines:
            words = shlex.split(line.partition(" < ")[0])
            given = ["segue", *name.split(" ")]
            assert words[: len(given)] == given, line
            commands[name].make_context(name, words[len(given) :])  # type: ignore[attr-defined]


@pytest.mark.req("OBS-5.examples")
def test_help_shows_the_examples_line_by_line(root, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        root.main(["eval", "--help"], prog_name="segue")
    assert ended.value.code == 0
    shown = [text for line in capsys.readouterr().out.splitlines() if (text := line.strip())]
    assert tuple(shown[shown.index("Examples:") + 1 :]) == EXAMPLES["eval"]
