"""A result that holds a secret goes on to later steps, other runs and the next host; nobody can read it on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from segue import Segue
from segue.engine.flow_source import RegisteredFlows
from segue.engine.port import AttemptContext
from segue.errors import RequestError
from segue.expr.sealed import MARK
from segue.flow import StaticCatalogue, load_flow
from segue.flow.model import Flow
from unit.engine.kit import World, settle, start, view
from unit.engine.secrets_in_flows import leaks
from unit.engine.test_taint import everything

pytestmark = [pytest.mark.anyio, pytest.mark.req("BAR-17.sealed", "ACC-4.journal")]

CANARY = "Zx9-canary/kA+7=qv"
ENVIRONMENT = {"KEY": CANARY}
HEAD = "secrets: {key: {from: env:KEY}}\n"


def loaded(text: str) -> Flow:
    return load_flow("unbound: allow\n" + text, StaticCatalogue([]))


@pytest.fixture
def world() -> World:
    """Whose action gives back what it is given, and a name beside it."""

    async def work(params: dict[str, Any], _context: AttemptContext) -> Any:
        return {"name": "public name", "token": params["give"]} if "give" in params else None

    made = World()
    made.action(work)
    return made


GIVES = (
    HEAD
    + """
steps:
  - login: {call: work, params: {give: $secrets.key}}
"""
)


def sent(world: World) -> Any:
    return world.params[-1]["x"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("$login.token", CANARY),
        ("$login", {"name": "public name", "token": CANARY}),
        ("Bearer {{ login.token }}", f"Bearer {CANARY}"),
        ("{{ {'a': [login.token, login.name]} }}", {"a": [CANARY, "public name"]}),
        ("{{ [login].map(one, one.token + '!')[0] }}", f"{CANARY}!"),
        ("{{ size(login.token) }}", len(CANARY)),
        ("{{ login.token == null ? 'none' : 'some' }}", "some"),
        ("{{ toJson(login) }}", f'{{"name":"public name","token":"{CANARY}"}}'),
        ("{{ steps.login.token | upper }}", CANARY.upper()),
    ],
)
async def test_later_steps_compute_with_it_and_nothing_of_it_is_seen(world: World, value: str, expected: Any) -> None:
    text = (
        GIVES + f'  - s: {{set: {{v: "{value}"}}}}\n  - last: {{call: work, params: {{x: $vars.v, give: $vars.v}}}}\n'
    )
    text += '  - log: {message: "it is {{ vars.v }}", data: {v: $vars.v}}\noutputs: {v: $vars.v, u: $last}\n'
    async with world.open(environment=ENVIRONMENT) as engine:
        state = await engine.wait(await start(engine, loaded(text.replace("vars.v", "s.v"))))
        assert state.error is None
        assert sent(world) == expected
        assert leaks(await everything(world, engine, state.run_id)) == []


async def test_of_a_map_only_what_is_secret_is_hidden(world: World) -> None:
    text = (
        GIVES
        + "  - s: {set: {v: $login, n: '{{ login.name + 1 + \"\" }}', m: '{{ login.name + \"!\" }}'}}\noutputs: $s\n"
    )
    text = text.replace("n: '{{ login.name + 1 + \"\" }}', ", "")
    async with world.open(environment=ENVIRONMENT) as engine:
        state = await engine.wait(await start(engine, loaded(text)))
        shown = await view(engine, state.run_id)
        assert shown.outputs == {"v": {"name": "public name", "token": "***"}, "m": "public name!"}


async def test_the_next_host_goes_on_with_it(world: World) -> None:
    text = (
        GIVES + "  - pause: {wait: 1h}\n  - last: {call: work, params: {x: $login.token}}\noutputs: {o: $login.token}\n"
    )
    async with world.open(environment=ENVIRONMENT) as engine:
        run_id = await start(engine, loaded(text))
        await settle()
        await world.kill(engine)
    async with world.open(environment={}) as engine:
        world.clock.jump(3_700_000)
        state = await engine.wait(run_id)
        assert state.status == "succeeded"
        assert sent(world) == CANARY
        assert leaks(await everything(world, engine, run_id)) == []


async def test_a_sub_flow_takes_and_gives_it(world: World) -> None:
    child = loaded(
        "flow: child\ninputs: {t: string, n: {type: integer, default: 1}}\nsteps:\n"
        "  - c: {call: work, params: {give: '{{ inputs.t + string(inputs.n) }}'}}\noutputs: {back: $c.token}\n"
    )
    text = HEAD + (
        "flow: parent\nsteps:\n  - sub: {flow: child, inputs: {t: $secrets.key}}\n"
        "  - last: {call: work, params: {x: $sub.back}}\noutputs: $sub\n"
    )
    known = RegisteredFlows()
    known.add(child)
    async with world.open(environment=ENVIRONMENT, flows=known) as engine:
        state = await engine.wait(await start(engine, loaded(text)))
        assert state.error is None
        assert sent(world) == f"{CANARY}1"
        assert leaks(await everything(world, engine, state.run_id)) == []
        assert state.nodes[0].child is not None
        assert leaks(await everything(world, engine, state.nodes[0].child)) == []


async def test_a_sub_flow_that_refuses_it_does_not_quote_it(world: World) -> None:
    child = loaded("flow: child\ninputs: {t: integer}\nsteps:\n  - c: {call: work, params: {x: $inputs.t}}\n")
    known = RegisteredFlows()
    known.add(child)
    text = HEAD + "flow: parent\nsteps:\n  - sub: {flow: child, inputs: {t: $secrets.key}}\n"
    async with world.open(environment=ENVIRONMENT, flows=known) as engine:
        state = await engine.wait(await start(engine, loaded(text)))
        assert state.error is not None
        assert "kept secret" in state.error.message
        assert leaks(await everything(world, engine, state.run_id)) == []


async def test_a_fan_out_goes_over_what_is_sealed(world: World) -> None:
    text = GIVES + (
        "  - s: {set: {all: \"{{ [login.token, login.token + '2'] }}\"}}\n"
        "  - each: {foreach: $s.all, do: [{last: {call: work, params: {x: $item}}}]}\n"
        "  - pick: {switch: $login.token, cases: {other: [{a: {set: {x: 1}}}]}, default: [{b: {set: {x: 2}}}]}\n"
    )
    async with world.open(environment=ENVIRONMENT) as engine:
        state = await engine.wait(await start(engine, loaded(text)))
        assert state.error is None
        assert [params["x"] for params in world.params[1:]] == [CANARY, f"{CANARY}2"]
        assert leaks(await everything(world, engine, state.run_id)) == []


async def test_an_event_and_an_answer_carry_it(world: World) -> None:
    waits = loaded("flow: waits\nsteps:\n  - w: {wait: {event: made}}\n  - last: {call: work, params: {x: $w.token}}\n")
    text = GIVES + "  - e: {emit: {event: made, data: {token: $login.token}}}\n  - respond: {body: $login}\n"
    async with world.open(environment=ENVIRONMENT) as engine:
        waiting = await start(engine, waits)
        state = await engine.wait(await start(engine, loaded(text)))
        assert state.error is None
        assert (await engine.wait(waiting)).status == "succeeded"
        assert sent(world) == CANARY
        assert leaks(await everything(world, engine, waiting)) == []


async def test_a_replayed_run_keeps_it(world: World) -> None:
    text = GIVES + "  - last: {call: work, params: {x: $login.token}}\n"
    async with world.open(environment=ENVIRONMENT) as engine:
        state = await engine.wait(await start(engine, loaded(text)))
        again = await engine.second_chances.replay(state.run_id, ["last"])
        assert (await engine.wait(again.run_id)).status == "succeeded"
        assert world.called == ["login", "last", "last"]
        assert sent(world) == CANARY
        assert leaks(await everything(world, engine, again.run_id)) == []


@pytest.mark.parametrize(
    "step",
    [
        "{call: work, params: {x: 1}, limits: {concurrency: 1, key: $login.token}}",
        "{wait: {callback: {correlate: $login.token}}}",
    ],
)
async def test_a_key_that_everyone_sees_is_refused(world: World, step: str) -> None:
    text = GIVES + f"  - last: {step}\n"
    async with world.open(environment=ENVIRONMENT) as engine:
        state = await engine.wait(await start(engine, loaded(text)))
        assert state.error is not None
        assert "would be seen" in state.error.message
        assert leaks(await everything(world, engine, state.run_id)) == []


@pytest.mark.parametrize(
    "bad", ["int(login.token)", "login.token.no_such + 1", "timestamp(login.token)", "1 + login.token"]
)
async def test_an_expression_that_fails_on_it_does_not_quote_it(world: World, bad: str) -> None:
    text = GIVES + f"  - s: {{set: {{v: '{{{{ {bad} }}}}'}}}}\n"
    async with world.open(environment=ENVIRONMENT) as engine:
        state = await engine.wait(await start(engine, loaded(text)))
        assert state.error is not None
        assert "kept secret" in state.error.message
        assert leaks(await everything(world, engine, state.run_id)) == []


async def test_what_is_sealed_cannot_be_made_up_from_outside(world: World) -> None:
    forged: dict[str, Any] = {"v": {MARK: "AAAA"}}
    async with world.open(environment=ENVIRONMENT) as engine:
        with pytest.raises(RequestError, match="sealed"):
            await start(engine, loaded("steps: [{s: {set: {x: 1}}}]"), forged)


async def test_another_key_shows_the_run_and_opens_nothing(world: World) -> None:
    text = GIVES + "  - pause: {wait: 1h}\n  - last: {call: work, params: {x: $login.token}}\n"
    async with world.open(environment=ENVIRONMENT) as engine:
        run_id = await start(engine, loaded(text))
        await settle()
    from segue.engine.sealing import LocalSealing

    async with world.open(environment=ENVIRONMENT, sealing=LocalSealing(b"another key")) as engine:
        shown = await view(engine, run_id)
        assert shown.steps[0].output == {"name": "public name", "token": "***"}
        world.clock.jump(3_700_000)
        await settle()
        shown = await view(engine, run_id)
        assert [step.status for step in shown.steps][-1] != "succeeded"
        assert leaks(await everything(world, engine, run_id)) == []


@dataclass
class _Message:
    headers: dict[str, str]


async def test_a_record_whose_headers_hold_credentials_can_be_kept_before_anything_was_sealed() -> None:
    async with Segue("memory:") as segue:

        @segue.action("ask")
        async def ask() -> _Message:
            return _Message({"Authorization": f"Bearer {CANARY}", "Accept": "*/*"})

        result = await segue.run("flow: f\nsteps:\n  - a: {call: ask}\n")
    assert result.status == "succeeded"
    assert result.outputs["headers"]["Accept"] == "*/*"
    assert CANARY not in str(result)
