"""The Python actions of the examples. `segue run` finds this file beside a flow."""

from __future__ import annotations

import asyncio
from typing import TypedDict

from segue import AttemptContext, TerminalError, action


class Order(TypedDict):
    """What an action says it returns is checked where flows use it: `$look_up.custmer` is told before a run."""

    order: str
    customer: str


class Payment(TypedDict):
    """Of a charge."""

    paid: bool
    method: str
    amount: float
    reference: str


@action("shop.look_up", effect="safe")
async def look_up(order: str) -> Order:
    """Who ordered."""
    await asyncio.sleep(0.5)
    return {"order": order, "customer": "Ada Lovelace"}


@action("shop.reserve")
async def reserve(article: str, context: AttemptContext) -> dict[str, str | int]:
    """Set one article aside. The first try at a `desk` fails, to show a retry."""
    await asyncio.sleep(0.8)
    if article == "desk" and context.attempt == 1:
        raise ConnectionError("the stock system did not answer")
    context.log("info", f"reserved {article}")
    return {"article": article, "attempt": context.attempt}


@action("shop.charge")
async def charge(order: str, amount: float, context: AttemptContext, declined: bool = False) -> Payment:
    """Take the money, once: the key is the same for all attempts of this step."""
    await asyncio.sleep(1.0)
    if declined:
        raise TerminalError(f"the card for {order} was declined", category="adapter.card_declined")
    return {"paid": True, "method": "card", "amount": amount, "reference": context.idempotency_key[:12]}


@action("shop.ship")
def ship(order: str) -> dict[str, str]:
    """Hand the parcel over. A plain function: it runs in a thread."""
    return {"tracking": f"PX-{order}"}


@action("trip.book")
async def book(trip: str, what: str, sold_out: bool = False) -> dict[str, str]:
    """Book one part of a trip."""
    await asyncio.sleep(0.5)
    if sold_out:
        raise TerminalError(f"no {what} is left", category="adapter.sold_out")
    return {"booking": f"{trip}-{what}"}


@action("trip.cancel")
async def cancel(booking: str, context: AttemptContext) -> dict[str, str]:
    """Cancel a booking. Cancelling one twice does no harm, as an undoing must be."""
    await asyncio.sleep(0.5)
    context.log("info", f"cancelled {booking}")
    return {"cancelled": booking}
