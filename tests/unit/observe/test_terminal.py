"""Text of others in the terminal of whoever reads it."""

from __future__ import annotations

import pytest

from segue.cli.output import console
from segue.observe.terminal import printable


@pytest.mark.req("OBS-1.terminal")
def test_control_characters_are_written_out_and_tabs_and_lines_stay() -> None:
    assert printable("a\tb\nc\x1b[31m\r\x00\x7f\x9b ä漢") == "a\tb\nc\\x1b[31m\\r\\x00\\u007f\\u009b ä漢"


@pytest.mark.req("OBS-1.terminal")
def test_what_a_run_says_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("said: \x1b]0;owned\x1b\\")
    assert capsys.readouterr().out == "said: \\x1b]0;owned\\x1b\\\n"
