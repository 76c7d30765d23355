"""Log lines: what stands on them, and what never does."""

from __future__ import annotations

import contextvars
import io
import json
import logging
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
import structlog

from segue.engine.port import AttemptContext
from segue.observe.context import AT_WORK
from segue.observe.logs import configure_logging, get_logger, log_context, masking_with
from segue.observe.masking import Masker

Lines = Callable[[], list[dict[str, object]]]


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield io.StringIO()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.req("OBS-1.json")
def test_a_line_has_time_level_logger_event_fields_and_ids(stream: io.StringIO) -> None:
    configure_logging(json=True, level="info", stream=stream)
    with log_context(request_id="req_1"), log_context(run_id="run_1", step="charge"):
        get_logger("segue.engine").info("step.started", attempt=2)
    get_logger("segue.engine").info("outside")
    first, second = lines(stream)
    assert str(first.pop("timestamp")).endswith("Z")
    assert first == {
        "level": "info", "logger": "segue.engine", "event": "step.started", "attempt": 2,
        "request_id": "req_1", "run_id": "run_1", "step": "charge",
    }  # fmt: skip
    assert not {"request_id", "run_id", "step"} & set(second)


@pytest.mark.req("OBS-1.levels")
def test_lines_below_the_level_are_not_written_and_an_unknown_level_is_refused(stream: io.StringIO) -> None:
    configure_logging(json=True, level="WARNING", stream=stream)
    logger = get_logger("x")
    logger.debug("a")
    logger.info("b")
    logger.warning("c")
    assert [line["event"] for line in lines(stream)] == ["c"]
    with pytest.raises(ValueError, match="use one of debug"):
        configure_logging(json=True, level="loud", stream=stream)


@pytest.mark.req("ACC-5.logs", "OBS-1.json")
@pytest.mark.parametrize("as_json", [True, False])
def test_secrets_do_not_reach_a_line_by_any_way(stream: io.StringIO, as_json: bool) -> None:
    secret = 's3cr3t "value"'

    class Holder:
        def __str__(self) -> str:
            return f"Holder({secret})"

    configure_logging(json=as_json, level="debug", masker=Masker(values=[secret]), stream=stream)
    logger = get_logger("x")
    logger.info("by name", password="hunter2", nested={"headers": {"Authorization": "Bearer hunter2"}})
    logger.info("by value %s", secret, note=secret, holder=Holder(), mixed=[Holder(), {secret: 1}], raw=secret.encode())
    logger.info("by url", url="https://user:hunter2@h/?token=hunter2")
    try:
        raise ValueError(secret)
    except ValueError:
        logger.exception("by exception")
    logging.getLogger("other.library").warning("foreign %s", f"Authorization: Bearer hunter2hunter2 {secret}")
    written = stream.getvalue()
    assert "hunter2" not in written
    assert "s3cr3t" not in written
    for event in ("by name", "by value", "by url", "by exception", "foreign", "ValueError"):
        assert event in written


@pytest.mark.req("ACC-5.logs")
def test_a_runs_own_secrets_are_hidden_inside_its_context_only(stream: io.StringIO) -> None:
    configure_logging(json=True, level="info", stream=stream)
    with masking_with(Masker(values=["run-secret"])):
        get_logger("x").info("inside run-secret")
    get_logger("x").info("outside run-secret")
    assert [line["event"] for line in lines(stream)] == ["inside ***", "outside run-secret"]


@pytest.mark.req("OBS-1.json")
def test_values_json_does_not_know_and_line_breaks_stay_on_one_line(stream: io.StringIO) -> None:
    configure_logging(json=True, level="info", stream=stream)
    get_logger("x").info("a\nb", when=object, bad=float("nan"), big=2**80, keys={1: 2}, items={3})
    (line,) = lines(stream)
    assert (line["event"], line["bad"], line["keys"], line["items"]) == ("a\nb", None, {"1": 2}, [3])


@pytest.mark.req("OBS-1.terminal")
def test_nobody_commands_the_terminal_in_which_the_log_is_read(stream: io.StringIO) -> None:
    configure_logging(json=False, level="info", stream=stream)
    get_logger("segue.test").info("\x1b]0;title\x07 came", path="/\x1b[31m\x00\x9b2J", more={"a": "\x1b[1m"})
    line = stream.getvalue()
    assert not set(line) & set("\x00\x07\x1b\x9b"), line
    assert r"/\x1b[31m\x00\u009b2J" in line


@pytest.mark.req("OBS-1.json")
def test_configuring_twice_writes_each_line_once_and_keeps_other_handlers(stream: io.StringIO) -> None:
    other = logging.NullHandler()
    logging.getLogger().addHandler(other)
    configure_logging(json=True, level="info", stream=io.StringIO())
    configure_logging(json=True, level="info", stream=stream)
    get_logger("x").info("once")
    assert len(lines(stream)) == 1
    assert other in logging.getLogger().handlers


@pytest.mark.req("OBS-1.embedded")
def test_importing_changes_no_logging_of_an_embedding_program() -> None:
    script = (
        "import logging, structlog\n"
        "before = (logging.getLogger().handlers[:], logging.getLogger().level, structlog.is_configured())\n"
        "import segue.observe.logs, segue.net.client\n"
        "assert before == (logging.getLogger().handlers, logging.getLogger().level, structlog.is_configured())\n"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.req("OBS-1.ids", "ACC-5.logs")
def test_a_line_that_an_attempt_writes_has_its_ids_and_hides_its_secrets(stream: io.StringIO) -> None:
    configure_logging(json=True, level="info", stream=stream)
    work = AttemptContext(
        run_id="run_1", flow_id="f", workspace="team", step="each[2].charge", attempt=1, call="",
        log=lambda *_, **__: None, masker=Masker(values=["Zx9-canary/kA+7"]),
    )  # fmt: skip

    def written() -> None:
        AT_WORK.set(work)
        logging.getLogger("app").warning("calling with %s and %s", "Zx9-canary/kA+7", "ada@x.test")

    contextvars.copy_context().run(written)
    logging.getLogger("app").warning("after")
    first, second = lines(stream)
    assert (first["run_id"], first["step"], first["workspace"]) == ("run_1", "each[2].charge", "team")
    assert first["event"] == "calling with *** and ***"
    assert "run_id" not in second


@pytest.mark.req("OBS-1.injection")
@pytest.mark.parametrize("json_lines", [True, False])
def test_what_stands_in_a_line_makes_no_second_one(stream: io.StringIO, json_lines: bool) -> None:
    configure_logging(json=json_lines, level="info", stream=stream)
    hostile = "ok\n2026-01-01 [error] forged\r\x1b[2J\u2028\u0085x"
    get_logger("x").info(hostile, given=hostile)
    logging.getLogger("y").warning("got %s", hostile)
    text = stream.getvalue()
    assert len(text.splitlines()) == 2
    assert "\x1b" not in text
    assert "\r" not in text
