"""What a flow declares secret is sealed wherever it comes in, though it came from no secret."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from segue.engine.log_lines import log_lines
from segue.engine.port import AttemptContext
from segue.errors import RequestError
from segue.flow import StaticCatalogue, load_flow
from unit.engine.kit import World, settle, state_of, view

pytestmark = [pytest.mark.anyio, pytest.mark.req("ACC-5.stored", "ACC-5.own")]

CANARY = "Kq7-declared-canary-81"
IBAN = "DE89370400440532013000"


@pytest.fixture
def world() -> World:
    async def work(params: dict[str, Any], _context: AttemptContext) -> Any:
        return params.get("give")

    made = World()
    made.action(work)
    return made


async def seen(world: World, text: str, inputs: dict[str, Any], **settings: Any) -> tuple[Any, str]:
    flow = load_flow("unbound: allow\n" + text, StaticCatalogue([]))
    async with world.open() as engine:
        started = await engine.start(flow, inputs, **settings)
        state = await engine.wait(started.run_id)
        await settle()
        record = await engine.record(state.run_id)
        rows = await world.store.load_journal(record.key)
        lines = log_lines(await state_of(engine, state.run_id), rows, await world.store.load_logs(record.key))
        shown = msgspec.json.encode([await view(engine, state.run_id), lines]).decode()
        return state, shown + repr([vars(world.store), rows, state.outputs])


@pytest.mark.req("EXEC-9.log")
async def test_a_line_of_the_log_is_what_was_to_be_logged_whatever_the_output_is(world: World) -> None:
    state, shown = await seen(world, "steps: [{l: {log: {message: hello, level: warn}, output: $.level}}]\n", {})
    assert (state.outputs, '"level":"warning","msg":"hello"' in shown) == ("warn", True)


@pytest.mark.parametrize("kind", ["{type: string, format: password}", "password", "{type: string, secret: true}",
                                  "{type: string, writeOnly: true}"])  # fmt: skip
async def test_an_input_that_is_a_password_is_kept_sealed_and_computed_with(world: World, kind: str) -> None:
    text = f"inputs: {{card_pin: {kind}}}\nsteps:\n"
    text += "  - a: {call: work, params: {x: '{{ inputs.card_pin + \"!\" }}'}}\n"
    state, shown = await seen(world, text + "outputs: {o: $inputs.card_pin}\n", {"card_pin": CANARY})
    assert state.error is None
    assert world.params[-1] == {"x": CANARY + "!"}
    assert CANARY not in shown


@pytest.mark.parametrize(
    "given",
    [
        {"customer": {"Tax-Id": CANARY}}, {"customer": [{"taxId": CANARY}]},
        {"customer": {"TAX_ID": [CANARY, {"x": CANARY}]}},
        {"customer": f'{{"tax_id": "{CANARY}"}}'}, {"customer": f"name=x&tax_id={CANARY}&y=1"},
        {"customer": f"https://x.test/?taxId={CANARY}"}, {"customer": {"text": f"the tax_id: {CANARY}"}},
    ],
)  # fmt: skip
async def test_a_field_that_masking_names_is_found_in_any_spelling_and_place(
    world: World, given: dict[str, Any]
) -> None:
    text = "masking: [tax_id]\nsteps:\n  - a: {call: work, params: {give: $inputs.customer}}\n"
    text += "  - b: {call: work, params: {x: $a}}\n  - c: {log: {message: 'it is {{ toJson(a) }}'}}\noutputs: {o: $a}\n"
    state, shown = await seen(world, text, given, trigger={"kind": "webhook", "body": given})
    assert state.error is None
    assert world.params[-1] == {"x": given["customer"]}
    assert CANARY not in shown


async def test_a_rule_that_masking_names_finds_what_fits_it(world: World) -> None:
    text = "masking: [iban, card, email]\nsteps:\n  - a: {call: work, params: {give: $inputs}}\noutputs: $a\n"
    given = {"a": f"to {IBAN} BIC COBADEFFXXX", "n": 4111111111111111, "m": ["write to ada@x.test"], "free": "order 17"}
    state, shown = await seen(world, text, given)
    assert state.error is None
    assert world.params[-1]["give"] == given
    assert "order 17" in shown
    for secret in (IBAN, "4111111111111111", "ada@x.test"):
        assert secret not in shown


async def test_what_an_action_gives_under_a_declared_name_is_sealed(world: World) -> None:
    text = "masking: [iban]\nsteps:\n  - a: {call: work, params: {give: {IBAN: abc-1234567, name: Ada}}}\n"
    text += "  - b: {call: work, params: {x: $a.IBAN}}\noutputs: $a\n"
    state, shown = await seen(world, text, {})
    assert world.params[-1] == {"x": "abc-1234567"}
    assert '"***"' in shown
    assert state.outputs["name"] == "Ada"


async def test_headers_of_a_webhook_that_are_credentials_are_sealed_in_every_flow(world: World) -> None:
    text = "steps:\n  - a: {call: work, params: {x: $trigger.headers.authorization}}\n"
    trigger = {"kind": "webhook", "headers": {"authorization": f"Bearer {CANARY}", "accept": "*/*"}}
    _, shown = await seen(world, text, {}, trigger=trigger)
    assert world.params[-1] == {"x": f"Bearer {CANARY}"}
    assert CANARY not in shown
    assert "*/*" in shown


async def test_a_key_that_everybody_sees_may_not_be_declared_secret(world: World) -> None:
    text = "masking: [pin]\nlimits: {concurrency: 1, key: $inputs.pin}\nsteps:\n  - a: {call: work}\n"
    with pytest.raises(RequestError, match="secret"):
        await seen(world, text, {"pin": CANARY})


async def test_a_flow_that_declares_nothing_keeps_its_data_as_it_is(world: World) -> None:
    text = "steps:\n  - a: {call: work, params: {give: $inputs}}\noutputs: $a\n"
    state, shown = await seen(world, text, {"iban": IBAN})
    assert state.outputs == {"iban": IBAN}
    assert "$sealed" not in shown
