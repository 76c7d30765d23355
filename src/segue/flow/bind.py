"""Binds the names that steps use to actions: `iam.*` becomes `iam.verify_token`, names that nothing is known by are
marked.

An adapter without an action means the action called like the step, if the adapter has one, else its default action.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from segue.flow.catalogue import Catalogue, FlowSpec
from segue.flow.model import Block, Flow, Handler, RawMap, Step

BUILT_IN: frozenset[str] = frozenset(("http",))
"""Actions that every engine has, known without a catalogue."""


def resolve(use: str, step_id: str, catalogue: Catalogue) -> str | None:
    """The full name of the action that a step uses, or None if nothing is known by it."""
    if use in BUILT_IN or catalogue.action(use) is not None:
        return use
    adapter, dot, action = use.partition(".")
    if dot and action != "*":
        return None
    if adapter not in catalogue.adapters():
        return None
    chosen = step_id if step_id in catalogue.actions(adapter) else catalogue.default_action(adapter)
    return None if chosen is None else f"{adapter}.{chosen}"


def flow_of_name(use: str, catalogue: Catalogue) -> FlowSpec | None:
    """The flow that a bare name stands for: names of actions go before names of flows."""
    return catalogue.flow(use) if "." not in use and use not in BUILT_IN and catalogue.action(use) is None else None


def bind_flow(flow: Flow, catalogue: Catalogue) -> Flow:
    """The flow with every `use` resolved, and `unbound` set where it cannot be."""

    def bind(step: Step) -> Step:
        if step.poll is not None and step.poll.use is not None:
            asked = resolve(step.poll.use, step.id, catalogue) or step.poll.use
            step = msgspec.structs.replace(step, poll=msgspec.structs.replace(step.poll, use=asked))
        if step.fallback:
            tried = tuple(
                msgspec.structs.replace(one, use=resolve(one.use, step.id, catalogue) or one.use)
                for one in step.fallback
            )
            step = msgspec.structs.replace(step, fallback=tried)
        if step.use is None or step.kind not in ("call", "poll"):
            return step
        if step.kind == "call" and flow_of_name(step.use, catalogue) is not None:
            params: RawMap = {"flow": step.use, "inputs": step.params} if step.params else {"flow": step.use}
            return msgspec.structs.replace(step, kind="flow", use=None, params=params, unbound=False)
        found = resolve(step.use, step.id, catalogue)
        if found is None:
            return msgspec.structs.replace(step, unbound=True)
        return (
            step if found == step.use and not step.unbound else msgspec.structs.replace(step, use=found, unbound=False)
        )

    return map_steps(flow, bind)


def map_steps(flow: Flow, change: Callable[[Step], Step]) -> Flow:
    """The flow with every step changed, inner ones first. Unchanged parts are shared with the old flow."""
    root = _block(flow.root, change)
    handlers = {
        name: _block(block, change)
        for name, block in (("on_error_block", flow.on_error_block), ("finally_", flow.finally_))
        if block is not None
    }
    if root is flow.root and all(handlers[name] is getattr(flow, name) for name in handlers):
        return flow
    return msgspec.structs.replace(flow, root=root, **handlers)


def _block(block: Block, change: Callable[[Step], Step]) -> Block:
    steps = tuple(_step(step, change) for step in block.steps)
    if all(new is old for new, old in zip(steps, block.steps, strict=True)):
        return block
    return msgspec.structs.replace(block, steps=steps)


def _step(step: Step, change: Callable[[Step], Step]) -> Step:
    fields: dict[str, object] = {}
    if step.blocks:
        blocks = tuple(_block(block, change) for block in step.blocks)
        if any(new is not old for new, old in zip(blocks, step.blocks, strict=True)):
            fields["blocks"] = blocks
    if step.on_error:
        handlers = tuple(_handler(handler, change) for handler in step.on_error)
        if any(new is not old for new, old in zip(handlers, step.on_error, strict=True)):
            fields["on_error"] = handlers
    for name in ("finally_", "compensate"):
        block: Block | None = getattr(step, name)
        if block is not None and (made := _block(block, change)) is not block:
            fields[name] = made
    return change(msgspec.structs.replace(step, **fields) if fields else step)


def _handler(handler: Handler, change: Callable[[Step], Step]) -> Handler:
    block = _block(handler.block, change)
    return handler if block is handler.block else msgspec.structs.replace(handler, block=block)
