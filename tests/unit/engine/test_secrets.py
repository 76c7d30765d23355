"""A secret exists while an attempt is made, and nowhere else."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import msgspec
import pytest

from segue.engine.log_lines import log_lines
from segue.engine.port import AttemptContext
from segue.engine.secrets import MAX_SECRET_BYTES, SecretResolver
from segue.engine.values import MAX_SEARCHED_LENGTH, MAX_TEXT_LENGTH
from segue.errors import StepError
from unit.engine.kit import World, flow, handled, run, scripted, settle, start, state_of, step, view, wait_for

pytestmark = pytest.mark.anyio

CANARY = "Zx9-canary/kA+7=secret"
SECRETS = {"key": {"from": "env:API_KEY"}}


async def everything(world: World, engine: Any, run_id: str) -> str:
    """All that anybody could see or copy: the store's whole content, views, log lines."""
    await settle()
    record = await engine.record(run_id)
    state = await state_of(engine, run_id)
    rows = await world.store.load_journal(record.key)
    lines = log_lines(state, rows, await world.store.load_logs(record.key))
    shown = msgspec.json.encode([await view(engine, run_id), lines, record]).decode()
    kept = repr([vars(world.store), rows, [vars(type("x", (), {}))], state.error, state.outputs])
    return shown + kept


def leaks(text: str) -> bool:
    return CANARY in text or CANARY.replace("/", "\\/") in text or CANARY.replace("/", "%2F") in text


@pytest.mark.req("ACC-5.journal", "ACC-5.values", "ACC-5.errors")
@pytest.mark.parametrize("way", ["returned", "nested", "key", "raised", "step-error", "logged", "expression", "number"])
async def test_a_secret_is_in_no_journal_log_view_or_error(
    world: World, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    async def work(params: dict[str, Any], context: AttemptContext) -> Any:
        secret = params["token"]
        assert secret == CANARY
        match way:
            case "returned":
                return f"the key is {secret}"
            case "nested":
                return {"a": [{"b": secret}], "n": 1}
            case "key":
                return {secret: 1}
            case "raised":
                raise ValueError(f"cannot use {secret}")
            case "step-error":
                raise StepError(f"no: {secret}", category="auth", details={"sent": [secret], "x": {secret: 1}})
            case "logged":
                context.log("info", f"using {secret}", given=secret, deep={"x": [secret]})
            case _:
                pass
        return None

    world.action(work)
    world.action(scripted(StepError("no", category="validation")), "refuse")
    params: dict[str, Any] = {"token": "$secrets.key"}
    if way == "expression":
        params["bad"] = "{{ int(secrets.key) }}"
    async with world.open(environment={"API_KEY": CANARY}) as engine:
        what = flow(step("a", params=params), wait_for("w", "1h"), step("b", use="refuse"), secrets=SECRETS)
        state = await run(engine, what)
        assert not leaks(await everything(world, engine, state.run_id))
    assert not leaks(caplog.text)
    if way == "nested":
        assert state.nodes[0].output == {"a": [{"b": "***"}], "n": 1}


@pytest.mark.req("ACC-5.errors", "BAR-17.errors")
@pytest.mark.parametrize("way", ["raised", "logged", "details", "code", "full of it"])
async def test_no_part_of_a_secret_is_left_where_a_long_text_is_cut(world: World, way: str) -> None:
    class Odd:
        def __repr__(self) -> str:
            return text

    cut = MAX_SEARCHED_LENGTH if way == "full of it" else MAX_TEXT_LENGTH
    text = (CANARY * (cut // len(CANARY)) + CANARY) if way == "full of it" else "x" * (cut - 15) + CANARY

    def work(_params: dict[str, Any], context: AttemptContext) -> None:
        if way == "logged":
            context.log("info", text)
            return
        if way == "code":
            raise StepError("no", category="validation", code=CANARY)
        raise StepError("no", details={"x": Odd()}) if way == "details" else StepError(text)

    world.action(scripted(work))
    async with world.open(environment={"API_KEY": CANARY}) as engine:
        state = await run(engine, flow(step("a", params={"k": "$secrets.key"}), secrets=SECRETS))
        assert CANARY[:8] not in await everything(world, engine, state.run_id)


@pytest.mark.req("ACC-5.values")
async def test_a_result_field_that_is_merely_called_like_a_secret_reaches_the_next_step(world: World) -> None:
    world.action(scripted({"access_token": "made by the login", "password": 1}))
    async with world.open(environment={"API_KEY": CANARY}) as engine:
        login = step("login", params={"key": "$secrets.key"})
        state = await run(engine, flow(login, step("use", params={"t": "$login.access_token"}), secrets=SECRETS))
        assert world.params[1] == {"t": "made by the login"}
        shown = await view(engine, state.run_id)
        assert shown.steps[0].output == {"access_token": "***", "password": "***"}


@pytest.mark.req("ACC-5.journal")
async def test_a_secret_is_unknown_outside_of_an_attempt(world: World) -> None:
    world.action(scripted("done"))
    async with world.open(environment={"API_KEY": CANARY}) as engine:
        what = flow(step("s", "set", params={"x": "$secrets.key"}, on_error=handled(step("h"))), secrets=SECRETS)
        state = await run(engine, what)
        assert state.nodes[0].error is not None
        assert state.nodes[0].error.category == "expression"
        assert not leaks(await everything(world, engine, state.run_id))


@pytest.mark.req("ACC-5.fresh")
async def test_secrets_are_read_for_every_attempt_so_that_a_rotated_one_is_used(world: World) -> None:
    environment = {"API_KEY": "the old key"}

    def fails_once(_params: dict[str, Any], _context: AttemptContext) -> str:
        environment["API_KEY"] = "the new key"
        raise StepError("expired", category="connection")

    world.action(scripted(fails_once, "done"))
    async with world.open(environment=environment) as engine:
        from unit.engine.kit import retry

        await run(engine, flow(step("a", params={"k": "$secrets.key"}, retry=retry(2)), secrets=SECRETS))
    assert [params["k"] for params in world.params] == ["the old key", "the new key"]


@pytest.mark.req("ACC-5.sources")
async def test_secrets_come_from_the_environment_and_from_files(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text("of a file\r\n", encoding="utf-8")
    resolver = SecretResolver({"A": "of the environment"})
    found = await resolver.resolve({"a": {"from": "env:A"}, "b": {"from": f"file:{file}"}, "c": "env:A"}, "default")
    values = {name: one.value for name, one in found.items()}
    assert values == {"a": "of the environment", "b": "of a file", "c": "of the environment"}
    file.write_bytes(b"x" * (MAX_SECRET_BYTES + 10))
    assert len((await resolver.resolve({"b": f"file:{file}"}, "default"))["b"].value) == MAX_SECRET_BYTES


@pytest.mark.req("ACC-5.sources")
@pytest.mark.parametrize(
    ("source", "words"),
    [
        ({"from": "env:NOT_SET"}, "environment variable NOT_SET is not set"),
        ({"from": "file:/nowhere/at/all"}, "/nowhere/at/all cannot be read: No such file"),
        ({"from": "vault:x"}, "no known source; use one of env:NAME, file:PATH"),
        ({}, "no known source"),
        (5, "no known source"),
    ],
)
async def test_a_secret_that_cannot_be_had_fails_the_step_and_names_its_source(
    world: World, source: Any, words: str
) -> None:
    world.action(scripted("done"))
    async with world.open(environment={}) as engine:
        state = await run(engine, flow(step("a", params={"k": "$secrets.key"}), secrets={"key": source}))
        assert state.error is not None
        assert state.error.category == "auth"
        assert words in state.error.message
    assert world.calls == []


async def test_a_file_that_is_no_text_is_refused_without_its_content(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(b"\xff\xfecanary")
    with pytest.raises(StepError, match="it is not UTF-8 text") as caught:
        await SecretResolver({}).resolve({"b": f"file:{file}"}, "default")
    assert "canary" not in str(caught.value)


async def test_steps_that_use_no_secret_need_none(world: World) -> None:
    world.action(scripted("done"))
    async with world.open(environment={}) as engine:
        run_id = await start(engine, flow(step("a"), secrets=SECRETS))
        assert (await asyncio.wait_for(engine.wait(run_id), 5)).status == "succeeded"
