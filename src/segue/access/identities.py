"""Who a cookie or a key is, in which workspace, with which rights: from the database, remembered for a few seconds.

Everything that can take a right away goes through the parts here, and each such change makes this process forget all
that it remembered: a revoked key is refused by the next request. Other processes follow within `REMEMBERED_SECONDS`.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeVar

from segue.access.accounts import Accounts
from segue.access.grants import Grants, grants_of
from segue.access.keys import Keys
from segue.access.members import Members
from segue.access.passwords import Passwords
from segue.access.principal import PERMISSIONS, Principal
from segue.access.records import Key
from segue.access.roles import Roles, permissions_of
from segue.access.sessions import Sessions
from segue.access.workspaces import Workspaces, flags_of, is_open, workspaces_of
from segue.errors import NotFoundError
from segue.store.tables import Sql, Tables

REMEMBERED_SECONDS: Final = 3.0
REMEMBERED_MAX: Final = 10_000
NOWHERE: Final = ""
"""The workspace of a person who belongs to none."""

_OF_A_FLOW: Final = ("flow:", "run:")
T = TypeVar("T")


class Identities:
    """The people, programs and workspaces of one server. Belongs to one event loop."""

    def __init__(
        self,
        tables: Tables,
        now: Callable[[], int],
        *,
        passwords: Passwords | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`now`: milliseconds since the epoch. `clock`: seconds, for what is remembered."""
        self._tables = tables
        self._clock = clock
        self._remembered: OrderedDict[tuple[str, str, str | None], tuple[object, float]] = OrderedDict()
        self._generation = 0
        self._on_change: list[Callable[[], None]] = []
        self.accounts = Accounts(tables, now, passwords or Passwords(), self.forget)
        self.sessions = Sessions(tables, now, self.forget)
        self.keys = Keys(tables, now, self.forget)
        self.roles = Roles(tables, now, self.forget)
        self.members = Members(tables, now, self.forget)
        self.grants = Grants(tables, now, self.forget)
        self.workspaces = Workspaces(tables, now, self.forget)

    def forget(self) -> None:
        """Look everything up anew: somebody's rights have changed."""
        self._generation += 1
        self._remembered.clear()
        for tell in self._on_change:
            tell()

    def on_change(self, tell: Callable[[], None]) -> None:
        """Have `tell` called after each change that may have taken somebody's rights, or closed a workspace."""
        self._on_change.append(tell)

    async def by_session(self, token: str, workspace: str | None) -> Principal | None:
        """Whose cookie this is, in the workspace that was asked for, or the person's first one.

        Raises NotFoundError for a workspace that the person does not belong to.
        """

        async def find() -> Principal | None:
            found = await self.sessions.account_of(token)
            return None if found is None else await self._person(found[0], workspace, is_browser=True)

        return await self._known(("session", token, workspace), find)

    async def by_key(self, token: str, workspace: str | None) -> Principal | None:
        """Whose key this is. Raises NotFoundError if it is asked to work in another workspace than its own."""

        async def find() -> Principal | None:
            found = await self.keys.find(token)
            if found is None:
                return None
            key, home = found
            return await self._tables.ask(lambda sql: _key_principal(sql, key, home))

        principal = await self._known(("key", token, None), find)
        if principal is not None and workspace not in (None, principal.workspace):
            raise NotFoundError(f"no workspace has the id {workspace!r}")
        return principal

    async def by_account(self, account_id: str, workspace: str | None) -> Principal | None:
        """A person who was proven another way (a provider's token). Raises NotFoundError as `by_session`."""
        return await self._known(
            ("account", account_id, workspace), lambda: self._person(account_id, workspace, is_browser=False)
        )

    async def has_workspace(self, workspace: str) -> bool:
        """Whether there is such a workspace, not archived."""

        async def find() -> bool:
            return await self._tables.ask(lambda sql: is_open(sql, workspace))

        return await self._known(("workspace", workspace, None), find)

    async def is_on(self, workspace: str, flag: str) -> bool:
        """Whether a switch is on in a workspace."""

        async def find() -> dict[str, bool]:
            found = await self._tables.ask(lambda sql: flags_of(sql, workspace))
            return {one.name: one.is_on for one in found}

        return (await self._known(("flags", workspace, None), find))[flag]

    async def _person(self, account_id: str, workspace: str | None, *, is_browser: bool) -> Principal | None:
        return await self._tables.ask(lambda sql: _person_principal(sql, account_id, workspace, is_browser=is_browser))

    async def _known(self, key: tuple[str, str, str | None], find: Callable[[], Awaitable[T]]) -> T:
        kept = self._remembered.get(key)
        if kept is not None and kept[1] > self._clock():
            return kept[0]  # pyright: ignore[reportReturnType]
        generation = self._generation
        found = await find()
        if found is not None and generation == self._generation:
            self._remembered[key] = (found, self._clock() + REMEMBERED_SECONDS)
            self._remembered.move_to_end(key)
            if len(self._remembered) > REMEMBERED_MAX:
                self._remembered.popitem(last=False)
        return found


def _person_principal(sql: Sql, account_id: str, workspace: str | None, *, is_browser: bool) -> Principal | None:
    row = sql.row("SELECT name FROM account WHERE id = ? AND disabled_at IS NULL", account_id)
    if row is None:
        return None
    own = [one.id for one in workspaces_of(sql, account_id)]
    if workspace is not None and workspace not in own:
        raise NotFoundError(f"no workspace has the id {workspace!r}")
    chosen = workspace or (own[0] if own else None)
    if chosen is None:
        # Without any workspace there is still the person itself: who may sign out and change the password.
        return Principal("user", account_id, row[0], NOWHERE, frozenset(), is_browser=is_browser)
    permissions, role = _rights(sql, chosen, account_id)
    grants = grants_of(sql, chosen, ("user", account_id), ("role", role))
    return Principal("user", account_id, row[0], chosen, permissions, is_browser=is_browser, grants=grants)


def _rights(sql: Sql, workspace: str, account_id: str) -> tuple[frozenset[str], str]:
    row = sql.row("SELECT role FROM membership WHERE workspace = ? AND account_id = ?", workspace, account_id)
    if row is None:
        return frozenset(), ""
    return permissions_of(sql, workspace, row[0]), str(row[0])


def _key_principal(sql: Sql, key: Key, home: str) -> Principal | None:
    if not is_open(sql, home):
        return None
    scope = _expanded(key.permissions)
    grants: dict[str, frozenset[str]] = {}
    if key.flows is not None:
        grants = {flow: frozenset(one for one in scope if one.startswith(_OF_A_FLOW)) for flow in key.flows}
        scope = frozenset(one for one in scope if not one.startswith(_OF_A_FLOW))
    if key.account_id is not None:
        # No more than the person may do today.
        person = _person_principal(sql, key.account_id, None, is_browser=False)
        if person is None or home not in [one.id for one in workspaces_of(sql, key.account_id)]:
            return None
        person = _person_principal(sql, key.account_id, home, is_browser=False)
        assert person is not None
        may = person.may
        grants = {flow: frozenset(one for one in given if may(one, flow)) for flow, given in grants.items()}
        if key.flows is None:
            grants = {flow: scope & _expanded(given) for flow, given in person.grants.items()}
        scope = frozenset(one for one in scope if may(one))
    for flow, given in grants_of(sql, home, ("key", key.id)).items():
        grants[flow] = grants.get(flow, frozenset()) | given
    return Principal("key", key.id, key.name, home, scope, grants=grants)


def _expanded(permissions: Iterable[str]) -> frozenset[str]:
    """With all that an `admin` of a resource stands for."""
    given = frozenset(permissions)
    return frozenset(one for one in PERMISSIONS if one in given or f"{one.partition(':')[0]}:admin" in given)
