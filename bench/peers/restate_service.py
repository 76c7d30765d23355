"""The Python side of the Restate peer: flows and steps as a service that the Restate server calls over HTTP/2."""

from __future__ import annotations

import asyncio
import os
from typing import TypedDict

import restate

from bench.kit.events import PAYLOAD, EventLog
from bench.kit.workloads import CHAIN_STEPS, FAN_STEPS, INTERRUPTED_SECONDS

log = EventLog(os.environ["BENCH_EVENTS"])
flows = restate.Service("Flows")


class Request(TypedDict):
    """What the load generator posts."""

    key: str


async def step(flow: str, name: str) -> dict[str, object]:
    """A step that does nothing but say so."""
    log.mark(flow, name)
    return PAYLOAD


async def last(flow: str, name: str) -> dict[str, object]:
    """The last step of a flow."""
    log.mark(flow, name)
    log.mark(flow, "end")
    return PAYLOAD


async def slow(flow: str) -> dict[str, object]:
    """The step in which W4 kills the processes."""
    log.mark(flow, "b")
    await asyncio.sleep(INTERRUPTED_SECONDS)
    return PAYLOAD


@flows.handler()
async def three(ctx: restate.Context, request: Request) -> dict[str, object]:
    """W1."""
    await ctx.run_typed("a", step, flow=request["key"], name="a")
    await ctx.run_typed("b", step, flow=request["key"], name="b")
    return await ctx.run_typed("c", last, flow=request["key"], name="c")


@flows.handler()
async def fan(ctx: restate.Context, request: Request) -> dict[str, object]:
    """W2."""
    await restate.gather(*[ctx.run_typed(f"f{i}", step, flow=request["key"], name="f") for i in range(FAN_STEPS)])
    return await ctx.run_typed("join", last, flow=request["key"], name="join")


@flows.handler()
async def chain(ctx: restate.Context, request: Request) -> dict[str, object]:
    """W3."""
    for i in range(CHAIN_STEPS - 1):
        await ctx.run_typed(f"s{i}", step, flow=request["key"], name="s")
    return await ctx.run_typed("last", last, flow=request["key"], name="s")


@flows.handler()
async def recover(ctx: restate.Context, request: Request) -> dict[str, object]:
    """W4."""
    await ctx.run_typed("a", step, flow=request["key"], name="a")
    await ctx.run_typed("b", slow, flow=request["key"])
    return await ctx.run_typed("c", last, flow=request["key"], name="c")


app = restate.app([flows])
