"""What is computed from a secret is shown nowhere: random expressions over planted secrets.

Promised: a dry run shows `***` for every expression that reads a secret. Of a run, results, errors and log lines hold
neither a secret, nor an encoding of one, nor what the step's parameters computed from one, in pieces of eight
characters and more: not in the store, and not in what is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.examples import examples

from segue.cli.app import run_command
from segue.engine.dry_run import dry_run
from segue.engine.log_lines import log_lines
from segue.engine.port import ActionRegistry, AttemptContext
from segue.errors import StepError
from segue.flow import StaticCatalogue, load_flow
from segue.testing.fake_clock import VirtualTimeLoop
from unit.engine.kit import World, block, flow, retry, run, settle, state_of, step, view
from unit.engine.secrets_in_flows import DECLARED, ENVIRONMENT, SECRETS, Parameter, leaks, parameters, whole_leaks

INPUTS = {"who": "Ada"}
Given = dict[str, Parameter]


def raw(given: Given) -> dict[str, Any]:
    return {name: one.raw for name, one in given.items()}


def source(given: Given) -> str:
    """A flow that calls with the parameters alone, in a loop, and in a branch, and tests itself; JSON is YAML."""
    call = {"call": "work", "params": raw(given)}
    steps = [
        {"a": call},
        {"each": {"foreach": {"items": [1, 2], "do": [{"b": call}]}}},
        {"if": "$inputs.who == 'Ada'", "then": [{"c": {"http": {"url": "https://x.test/", "json": raw(given)}}}]},
    ]
    failing = {"name": "t", "inputs": INPUTS, "mocks": {"c": {"body": 1}}, "expect": {"calls": {"a": {"with": {}}}}}
    return json.dumps({
        "flow": "f", "unbound": "allow", "inputs": {"who": "string"}, "secrets": DECLARED, "steps": steps,
        "tests": [failing],
    })  # fmt: skip


def printed(*arguments: str) -> str:
    """All that a command says, and its log."""
    out, log = io.StringIO(), io.StringIO()
    handler = logging.StreamHandler(log)
    logging.getLogger().addHandler(handler)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out), contextlib.suppress(SystemExit):
            run_command(list(arguments))
    finally:
        logging.getLogger().removeHandler(handler)
    return out.getvalue() + log.getvalue()


@pytest.mark.req("BAR-17.dry-run", "FLOW-9.secrets")
@settings(max_examples=examples(40))
@given(parameters)
def test_a_dry_run_shows_stars_for_whatever_is_computed_from_a_secret(given: Given) -> None:
    plan = dry_run(load_flow(source(given), StaticCatalogue([])), INPUTS, ActionRegistry())
    sent = [call.params for step in plan.steps for call in step.calls if step.kind in ("call", "http")]
    assert len(sent) == 4
    for params in sent:
        shown = params["json"] if isinstance(params, dict) and "json" in params else params
        assert isinstance(shown, dict)
        for name, parameter in given.items():
            if parameter.tainted:
                assert shown[name] == parameter.shown
    assert plan.ok


@pytest.mark.req("BAR-17.dry-run", "BAR-17.flow-tests")
@settings(max_examples=examples(15))
@given(parameters)
def test_what_plan_and_test_print_holds_no_piece_of_a_secret(given: Given) -> None:
    with TemporaryDirectory() as folder, mock.patch.dict(os.environ, ENVIRONMENT):
        file, report = Path(folder) / "f.json", Path(folder) / "junit.xml"
        file.write_text(source(given), encoding="utf-8")
        said = [
            printed("plan", str(file), "-i", "who=Ada"), printed("plan", str(file), "-i", "who=Ada", "--json"),
            printed("test", str(file)), printed("test", str(file), "--json"),
            printed("test", str(file), "--junit", str(report)), report.read_text(encoding="utf-8"),
        ]  # fmt: skip
        assert all("***" in text for text in said[:2]) or not any(one.tainted for one in given.values())
        assert all(said)
    assert leaks("\n".join(said)) == []


class Way:
    """What the recording action does with what it is given."""

    RETURNED = "returned"
    ALL = ("raised", "refused", "refused with details", "logged", "printed in its error")


async def everything(world: World, engine: Any, run_id: str) -> str:
    """All that anybody could see or copy: the store's whole content, views, log lines, errors."""
    await settle()
    record = await engine.record(run_id)
    state = await state_of(engine, run_id)
    rows = await world.store.load_journal(record.key)
    lines = log_lines(state, rows, await world.store.load_logs(record.key))
    shown = msgspec.json.encode([await view(engine, run_id), lines, record]).decode()
    return shown + repr([vars(world.store), rows, state.error, state.outputs])


def played(given: Given, way: str) -> tuple[str, list[dict[str, Any]]]:
    """What can be seen of a run whose action does so, and what the action was given."""
    world = World()

    async def work(params: dict[str, Any], context: AttemptContext) -> Any:
        match way:
            case "raised":
                raise ValueError(f"cannot use {params}")
            case "refused":
                raise StepError(f"no: {json.dumps(params)}", category="connection")
            case "refused with details":
                raise StepError("no", category="auth", details=params)
            case "logged":
                context.log("info", f"using {params}", given=params, text=json.dumps(params))
                return None
            case "printed in its error":
                print(params["no such"])
            case _:
                pass
        return {"given": params, "text": json.dumps(params), "repr": str(params)}

    async def whole() -> str:
        world.action(work)
        async with world.open(environment=ENVIRONMENT) as engine:
            again = step("again", params={"x": "$a"})
            what = flow(
                root=block(step("a", params=raw(given), retry=retry(2)), again), secrets=DECLARED, outputs={"a": "$a"}
            )
            state = await run(engine, what, INPUTS)
            return await everything(world, engine, state.run_id)

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(whole()), world.params


@pytest.mark.req("BAR-17.errors", "BAR-17.logs", "ACC-5.values")
@settings(max_examples=examples(40))
@given(parameters, st.sampled_from(Way.ALL))
def test_errors_and_log_lines_hold_nothing_that_was_computed_from_a_secret(given: Given, way: str) -> None:
    shown, params = played(given, way)
    assert params, "the action was called"
    assert leaks(shown) == []


@pytest.mark.req("BAR-17.results", "ACC-5.values")
@settings(max_examples=examples(40))
@given(parameters)
def test_results_hold_nothing_that_was_computed_from_a_secret_and_still_reach_the_next_step(given: Given) -> None:
    shown, params = played(given, Way.RETURNED)
    assert leaks(shown) == []
    first, again = params
    assert again["x"]["given"] == first


def test_the_planted_secrets_are_noticed_where_they_are() -> None:
    """The search itself: it finds a secret, its pieces and its encodings."""
    for secret in SECRETS.values():
        assert whole_leaks(f"x{secret}y")
        assert leaks(secret[2:11])
        assert leaks(secret.encode().hex()[3:15])
