"""What commands say about what they cannot use, on one screen and without a process."""

from __future__ import annotations

from pathlib import Path

import pytest

from segue.cli.errors import report_error
from segue.cli.inputs import gather_inputs
from segue.cli.run import run
from segue.errors import InvalidFlowError, InvalidInputError, RequestError
from segue.store.host_lock import lock_path
from segue.store.run_notes import label_of

Capture = pytest.CaptureFixture[str]


@pytest.mark.req("OPS-1.folder")
def test_the_root_folder_is_no_database_and_no_crash() -> None:
    assert lock_path(Path("/")) == Path("/.host")


@pytest.mark.req("OBS-5.messages")
def test_one_mistake_is_told_once(capsys: Capture) -> None:
    report_error(InvalidInputError("inputs of a: n: is required", [("n", "is required")]))
    assert capsys.readouterr().err == "segue: inputs of a: n: is required\n"
    both = [("n", "is required"), ("m", "is no text")]
    report_error(InvalidInputError("inputs of a: 2 mistakes; the first: n: is required", both))
    assert capsys.readouterr().err.splitlines()[1:] == ["  n: is required", "  m: is no text"]


@pytest.mark.req("OBS-5.messages")
def test_inputs_that_cannot_be_read_are_told_with_their_place(tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "in.yaml"
    file.write_text("a: 1\nb: {c: 2\n")
    with pytest.raises(InvalidFlowError) as caught:
        gather_inputs((), str(file), {})
    report_error(caught.value)
    assert f"({file}:2:4)" in capsys.readouterr().err
    file.write_text("- a\n")
    with pytest.raises(RequestError, match="a map of names and values, not a list"):
        gather_inputs((), str(file), {})


@pytest.mark.req("OBS-5.messages")
def test_an_empty_idempotency_key_is_refused_as_it_would_protect_nothing() -> None:
    with pytest.raises(RequestError, match="--idempotency-key is empty"):
        run("flow.yaml", idempotency_key="")


@pytest.mark.req("OBS-5.messages")
def test_a_label_is_explained_as_the_help_shows_it() -> None:
    with pytest.raises(InvalidInputError, match="write NAME=VALUE"):
        label_of("urgent")
