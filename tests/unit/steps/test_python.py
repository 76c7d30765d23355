"""Python functions as actions: what they are given, where they run, what they may give and raise."""

from __future__ import annotations

import asyncio
import datetime
import enum
import threading
import types
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import msgspec
import pytest
from pydantic import BaseModel

from segue.client.embedded import Segue
from segue.engine.catalogue import RegistryCatalogue
from segue.engine.ids import idempotency_key
from segue.engine.port import ActionRegistry, AttemptContext
from segue.errors import InvalidFlowError, StepError, TerminalError
from segue.flow import check_flow, read_flow
from segue.flow.schemas import validator
from segue.steps.python import action, actions_of, python_action
from unit.steps.kit import Lines, context

pytestmark = pytest.mark.anyio


class Size(enum.Enum):
    SMALL = "small"
    LARGE = "large"


@dataclass
class Order:
    id: int
    at: datetime.date
    size: Size = Size.SMALL


async def call(function: Any, params: dict[str, Any], **settings: Any) -> Any:
    return await python_action(function, name="f", **settings).run(params, context())


@pytest.mark.req("EXEC-9.python", "BIND-1.typed")
async def test_parameters_are_converted_to_what_the_function_says(anyio_backend: str) -> None:
    seen: list[Any] = []

    def function(order: Order, tags: set[str], ratio: float = 0.5, note: str | None = None) -> None:
        seen.extend((order, tags, ratio, note))

    await call(function, {"order": {"id": 1, "at": "2027-01-02", "size": "large"}, "tags": ["a", "a"], "ratio": 2})
    assert seen == [Order(1, datetime.date(2027, 1, 2), Size.LARGE), {"a"}, 2.0, None]
    assert isinstance(seen[2], float)


@pytest.mark.req("EXEC-9.python", "FLOW-5.params")
@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "missing required field `n`"),
        ({"n": "x"}, "Expected `int`, got `str`"),
        ({"n": 1, "more": 2}, "unknown field `more`"),
        ({"n": 1.5}, "Expected `int`, got `float`"),
        ({"n": None}, "Expected `int`, got `null`"),
    ],
)
async def test_parameters_that_do_not_fit_are_refused_for_good_before_the_call(
    params: dict[str, Any], words: str
) -> None:
    called = False

    def function(n: int) -> None:
        nonlocal called
        called = True

    with pytest.raises(TerminalError, match="f: ") as caught:
        await call(function, params)
    assert words in str(caught.value)
    assert (caught.value.category, caught.value.code) == ("validation", "invalid_params")
    assert not called


async def test_a_function_of_open_ends_takes_whatever_is_given() -> None:
    def function(a: int, **rest: Any) -> dict[str, Any]:
        return {"a": a, **rest}

    assert await call(function, {"a": 1, "b": [2], "c": None}) == {"a": 1, "b": [2], "c": None}


async def test_defaults_of_the_function_are_its_own_objects() -> None:
    marker = object()

    def function(a: Any = marker, b: list[int] | None = None) -> bool:
        return a is marker and b is None

    assert await call(function, {}) is True


@pytest.mark.req("EXEC-9.python")
async def test_plain_functions_run_in_the_pool_and_async_ones_on_the_loop() -> None:
    with ThreadPoolExecutor(1, thread_name_prefix="pool") as pool:

        def plain() -> str:
            return threading.current_thread().name

        async def on_loop() -> str:
            return threading.current_thread().name

        assert (await call(plain, {}, threads=lambda: pool)).startswith("pool")
        assert await call(on_loop, {}, threads=lambda: pool) == threading.current_thread().name
        assert await call(plain, {}) != threading.current_thread().name


@pytest.mark.req("EXEC-9.python")
async def test_a_parameter_of_the_contexts_type_gets_the_facts_of_the_attempt() -> None:
    def function(n: int, facts: AttemptContext) -> list[Any]:
        facts.log("info", "called", n=n)
        return [facts.attempt, facts.idempotency_key]

    lines = Lines()
    made = python_action(function)
    assert await made.run({"n": 1}, context(lines, attempt=3)) == [3, idempotency_key("call-of-the-step")]
    assert lines.lines == [("info", "called", {"n": 1})]
    assert "facts" not in repr(made.params_schema)


@pytest.mark.req("BIND-1.typed")
def test_the_schema_and_the_description_follow_from_the_function() -> None:
    def enrich(order: Order, depth: int = 2) -> None:
        """Look the customer up."""

    made = python_action(enrich, name="crm.enrich", effect="safe")
    assert (made.name, made.effect, made.description) == ("crm.enrich", "safe", "Look the customer up.")
    assert made.params_schema is not None
    assert made.params_schema["required"] == ["order"]
    assert made.params_schema["properties"]["depth"]["type"] == "integer"  # type: ignore[index, call-overload]
    assert "Order" in made.params_schema["$defs"]  # type: ignore[operator]


@dataclass
class Customer:
    name: str
    orders: list[Order]
    referred_by: Customer | None = None


class Score(TypedDict):
    points: int
    note: NotRequired[str]


class Found(msgspec.Struct, rename="camel"):
    order_id: int


class Answer(BaseModel):
    at: datetime.date


@pytest.mark.req("BIND-1.result")
@pytest.mark.parametrize(
    ("annotation", "fields", "closed"),
    [
        (Order, ["id", "at", "size"], True),
        (Customer, ["name", "orders", "referred_by"], True),
        (Found, ["orderId"], True),
        (Score, ["points", "note"], False),
        (Answer, ["at"], False),
    ],
)
def test_the_schema_of_the_result_follows_from_what_the_function_returns(
    annotation: Any, fields: list[str], closed: bool
) -> None:
    def function() -> Any: ...

    function.__annotations__["return"] = annotation
    schema = python_action(function).result_schema

    assert schema is not None
    validator(schema)  # a reference to a definition that is not there would raise
    properties = schema["properties"]
    assert isinstance(properties, dict)
    assert set(properties) == set(fields)
    assert (schema.get("additionalProperties") is False) is closed


@pytest.mark.parametrize("annotation", [None, Any, object, threading.Thread, "NotThere"])
def test_a_result_that_no_schema_could_tell_is_not_described(annotation: Any) -> None:
    def function() -> Any: ...

    function.__annotations__["return"] = annotation
    assert python_action(function).result_schema is None


def test_lists_of_records_and_of_models_are_described_too() -> None:
    def records() -> list[Order]: ...

    async def models() -> list[Answer]: ...

    for function in (records, models):
        schema = python_action(function).result_schema
        assert schema is not None
        assert schema["type"] == "array"
        assert "$defs" in schema


def test_a_field_that_the_function_does_not_return_is_found_before_a_run() -> None:
    def score(name: str) -> Order: ...

    text = "flow: f\nsteps:\n  - rate: {call: crm.score, params: {name: x}}\n  - tell: {log: $rate.sise}\n"
    flow = read_flow(text).flow
    assert flow is not None
    registry = ActionRegistry((python_action(score, name="crm.score"),))
    found = check_flow(flow, RegistryCatalogue(registry), runnable=True)

    assert [(one.severity, one.message, one.suggestion) for one in found] == [
        ("error", 'the output of rate has no field "sise"', 'did you mean "size"?')
    ]


@pytest.mark.parametrize("kind", ["positional", "star"])
def test_a_signature_that_cannot_be_called_by_name_is_refused_at_once(kind: str) -> None:
    def positional(a: int, /) -> None: ...

    def star(*a: int) -> None: ...

    with pytest.raises(TypeError, match=r"f: parameter 'a' cannot be given by name"):
        python_action(positional if kind == "positional" else star, name="f")


async def test_annotations_that_only_a_checker_knows_leave_parameters_as_they_are() -> None:
    def function(n: NotThere) -> Any:  # type: ignore[name-defined]  # noqa: F821
        return n

    assert await call(function, {"n": "1"}) == "1"


async def test_a_pydantic_model_says_itself_as_json() -> None:
    assert await call(lambda: Answer(at=datetime.date(2027, 1, 2)), {}) == {"at": "2027-01-02"}


async def test_what_a_function_raises_comes_through() -> None:
    def function() -> None:
        raise StepError("no", category="auth")

    with pytest.raises(StepError, match="no"):
        await call(function, {})


def test_marked_functions_of_a_module_are_found_in_their_order() -> None:
    module = types.ModuleType("actions")

    @action("crm.enrich", effect="unsafe")
    def one() -> None: ...

    @action()
    async def two() -> None: ...

    def three() -> None: ...

    module.__dict__.update(one=one, two=two, three=three)
    assert [(made.name, made.effect) for made in actions_of(module)] == [("crm.enrich", "unsafe"), ("two", "keyed")]


FLOW = """
flow: people
inputs: {name: string}
steps:
  - greet: {call: app.greet, params: {name: $inputs.name}}
  - shout: {call: app.shout, params: {text: $greet.text}}
"""


@pytest.mark.req("API-7.embedded", "API-7.actions", "OBS-2.step-logs")
async def test_functions_of_ones_own_process_are_steps_of_a_flow_and_threads_may_log() -> None:
    async with Segue("memory:") as segue:

        @segue.action("app.greet")
        def greet(name: str, facts: AttemptContext) -> dict[str, str]:
            facts.log("info", f"greeting {name}", thread=threading.current_thread().name)
            return {"text": f"hello {name}"}

        @segue.action("app.shout")
        async def shout(text: str) -> str:
            await asyncio.sleep(0)
            return text.upper()

        result = await segue.run(FLOW, {"name": "Ada"})
        assert result.error is None
        assert (result.succeeded, result.outputs) == (True, "HELLO ADA")
        assert result.steps["greet"] == {"text": "hello Ada"}
        engine = segue._host.engine
        lines: list[Any] = []
        while not lines:  # they are kept with the next flush, soon after the end
            await asyncio.sleep(0.01)
            lines = await engine.store.load_logs((await engine.record(result.run_id)).key)
        assert lines[0][1].message == "greeting Ada"
        assert b"segue-action" in lines[0][1].data
        with pytest.raises(InvalidFlowError):
            await segue.run("flow: x\nsteps:\n  - a: {call: app.nothing}\n")


@pytest.mark.req("EXEC-9.python")
async def test_many_plain_functions_run_side_by_side_and_do_not_hold_the_loop() -> None:
    gate, all_inside = threading.Event(), threading.Event()
    inside = threading.Barrier(8, action=all_inside.set)
    async with Segue("memory:") as segue:

        @segue.action("app.block")
        def block() -> str:
            inside.wait(timeout=10)  # all eight are inside at once, or this breaks
            gate.wait(timeout=10)
            return "done"

        ids = [await segue.start("flow: b\nsteps:\n  - b: {call: app.block}\n") for _ in range(8)]
        await asyncio.to_thread(all_inside.wait, 10)
        gate.set()
        assert [(await segue.wait(one)).outputs for one in ids] == ["done"] * 8
