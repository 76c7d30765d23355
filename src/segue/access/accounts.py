"""People: made, let in by their password, disabled; and one-time links with which they set a password."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from segue.access.errors import PasswordRefusedError
from segue.access.passwords import Passwords, check_password
from segue.access.principal import DEFAULT_WORKSPACE
from segue.access.records import Account
from segue.access.tokens import digest_of, new_token
from segue.engine.ids import new_run_id
from segue.errors import ConflictError, GoneError, InvalidInputError, NotFoundError
from segue.store.tables import Row, Sql, Tables

LINK_MS: Final = 72 * 3_600_000
EMAIL_LENGTH_MAX: Final = 254
NAME_LENGTH_MAX: Final = 100
_EMAIL: Final = re.compile(r"[^\s@\"<>()\[\]\\,;:]{1,64}@[^\s@\"<>()\[\]\\,;:]{1,189}\Z")
_COLUMNS: Final = "id, email, name, password IS NOT NULL, created_at, login_at, disabled_at"


class Accounts:
    """The people of one server. `changed` is called after every change that may end somebody's rights."""

    def __init__(
        self, tables: Tables, now: Callable[[], int], passwords: Passwords, changed: Callable[[], None]
    ) -> None:
        self._tables = tables
        self._now = now
        self._passwords = passwords
        self._changed = changed

    async def exists_owner(self) -> bool:
        """Whether the server has somebody who may manage it."""
        return await self._tables.ask(lambda sql: has_owner(sql, DEFAULT_WORKSPACE))

    async def get(self, account_id: str) -> Account:
        """Raises NotFoundError."""
        return await self._tables.ask(lambda sql: account_of(sql, account_id))

    async def make_owner(self, email: str, name: str, password: str) -> Account:
        """The first user: owner of the default workspace.

        Raises InvalidInputError, WeakPasswordError; ConflictError if there is an owner.
        """
        email, name = checked_person(email, name)
        check_password(password, (email, name))
        hashed = await self._passwords.hashed(password)
        now = self._now()

        def make(sql: Sql) -> Account:
            if has_owner(sql, DEFAULT_WORKSPACE):
                raise ConflictError("this server has its owner already; sign in, or let the owner invite you")
            account_id = _insert(sql, email, name, hashed, now)
            sql.run("INSERT INTO membership VALUES (?, ?, 'owner', ?)", DEFAULT_WORKSPACE, account_id, now)
            return account_of(sql, account_id)

        return await self._tables.change(make)

    async def sign_in(self, email: str, password: str) -> str | None:
        """The id of whose e-mail address and password these are; None, after the same time, if of nobody."""
        row = await self._tables.ask(
            lambda sql: sql.row(
                "SELECT id, password FROM account WHERE email = ? AND disabled_at IS NULL", email.strip().lower()
            )
        )
        fits = await self._passwords.verify(None if row is None else row[1], password)
        return str(row[0]) if row is not None and fits else None

    async def change_password(self, account_id: str, old: str, new: str) -> None:
        """Ends the person's sessions. Raises PasswordRefusedError if `old` is wrong, WeakPasswordError."""
        row = await self._tables.ask(
            lambda sql: sql.row("SELECT password, email, name FROM account WHERE id = ?", account_id)
        )
        if row is None or not await self._passwords.verify(row[0], old):
            raise PasswordRefusedError("the old password is wrong")
        check_password(new, (row[1], row[2]))
        await self._put_password(account_id, new)

    async def new_link(self, account_id: str) -> tuple[str, int]:
        """A token with which the person sets a password once, and until when. Earlier ones stop working."""
        token, until = new_token(), self._now() + LINK_MS

        def make(sql: Sql) -> None:
            account_of(sql, account_id)
            sql.run("DELETE FROM password_link WHERE account_id = ?", account_id)
            sql.run("INSERT INTO password_link VALUES (?, ?, ?)", digest_of(token), account_id, until)

        await self._tables.change(make)
        return token, until

    async def renew(self, account_id: str) -> bool:
        """Take the password of an account away and end its sessions, until a link sets another one. False for one
        without a password: its provider vouches for it.
        """

        def take(sql: Sql) -> bool:
            if not sql.run("UPDATE account SET password = NULL WHERE id = ? AND password IS NOT NULL", account_id):
                return False
            sql.run("DELETE FROM session WHERE account_id = ?", account_id)
            return True

        taken = await self._tables.change(take)
        self._changed()
        return taken

    async def use_link(self, token: str, password: str) -> Account:
        """Set a password by a link. Raises NotFoundError, GoneError, WeakPasswordError (the link stays good then)."""
        digest = digest_of(token)
        row = await self._tables.ask(
            lambda sql: sql.row(
                "SELECT account_id, expires_at, email, name FROM password_link"
                " JOIN account ON account.id = account_id WHERE hash = ?",
                digest,
            )
        )
        if row is None:
            raise NotFoundError("this link is unknown, or was used already")
        if row[1] <= self._now():
            raise GoneError("this link is too old; ask for another one")
        check_password(password, (row[2], row[3]))
        await self._put_password(str(row[0]), password, link=digest)
        return await self.get(str(row[0]))

    async def _put_password(self, account_id: str, password: str, link: bytes | None = None) -> None:
        hashed, now = await self._passwords.hashed(password), self._now()

        def put(sql: Sql) -> None:
            if link is not None and not sql.run("DELETE FROM password_link WHERE hash = ?", link):
                raise NotFoundError("this link is unknown, or was used already")
            sql.run("DELETE FROM password_link WHERE account_id = ?", account_id)
            sql.run("UPDATE account SET password = ?, password_at = ? WHERE id = ?", hashed, now, account_id)
            sql.run("DELETE FROM session WHERE account_id = ?", account_id)

        await self._tables.change(put)
        self._changed()

    async def set_disabled(self, account_id: str, *, disabled: bool) -> Account:
        """Let a person in no more, or again. Raises NotFoundError; ConflictError for the last owner of the server."""
        now = self._now()

        def put(sql: Sql) -> Account:
            account_of(sql, account_id)
            had_owner = has_owner(sql, DEFAULT_WORKSPACE)
            sql.run("UPDATE account SET disabled_at = ? WHERE id = ?", now if disabled else None, account_id)
            if disabled:
                refuse_losing_owner(sql, DEFAULT_WORKSPACE, had_owner=had_owner)
                sql.run("DELETE FROM session WHERE account_id = ?", account_id)
                sql.run("DELETE FROM password_link WHERE account_id = ?", account_id)
            return account_of(sql, account_id)

        try:
            return await self._tables.change(put)
        finally:
            self._changed()

    async def of_provider(self, issuer: str, subject: str, email: str, name: str, role: str | None) -> str | None:
        """The person of an OpenID provider: its issuer and subject together, never the e-mail address, say who it is.

        With a `role` the account is made if there is none, and has that role in the default workspace from now on (but
        the last owner stays one). None: nobody here knows the person, or the account is disabled.
        """
        now = self._now()
        email, name = checked_person(email, name)

        def find(sql: Sql) -> tuple[str | None, bool]:
            row = sql.row("SELECT id, disabled_at FROM account WHERE issuer = ? AND subject = ?", issuer, subject)
            if row is not None and row[1] is not None:
                return None, False
            if row is None and role is None:
                return None, False
            account_id = str(row[0]) if row is not None else _insert_of_provider(sql, issuer, subject, email, name, now)
            return account_id, role is not None and _take_role(sql, account_id, role, now)

        account_id, has_changed = await self._tables.change(find)
        if has_changed:
            self._changed()
        return account_id


def _insert_of_provider(sql: Sql, issuer: str, subject: str, email: str, name: str, now: int) -> str:
    if sql.row("SELECT 1 FROM account WHERE email = ?", email) is not None:
        # Somebody else's, for all that is known: two ways to sign in are two accounts.
        email = f"{digest_of(issuer + subject).hex()[:24]}@provider.invalid"
    account_id = _insert(sql, email, name, None, now)
    sql.run("UPDATE account SET issuer = ?, subject = ? WHERE id = ?", issuer, subject, account_id)
    return account_id


def _take_role(sql: Sql, account_id: str, role: str, now: int) -> bool:
    """Whether the role in the default workspace is another one now."""
    row = sql.row("SELECT role FROM membership WHERE workspace = ? AND account_id = ?", DEFAULT_WORKSPACE, account_id)
    if row is None:
        sql.run("INSERT INTO membership VALUES (?, ?, ?, ?)", DEFAULT_WORKSPACE, account_id, role, now)
        return True
    if row[0] == role:
        return False
    had_owner = has_owner(sql, DEFAULT_WORKSPACE)
    put = "UPDATE membership SET role = ? WHERE workspace = ? AND account_id = ?"
    sql.run(put, role, DEFAULT_WORKSPACE, account_id)
    if had_owner and not has_owner(sql, DEFAULT_WORKSPACE):
        sql.run(put, row[0], DEFAULT_WORKSPACE, account_id)
        return False
    return True


def found_or_made(sql: Sql, email: str, name: str, now: int) -> tuple[str, bool]:
    """The id of the account with an address, and whether it had to be made (without a password)."""
    row = sql.row("SELECT id FROM account WHERE email = ?", email)
    return (str(row[0]), False) if row is not None else (_insert(sql, email, name, None, now), True)


def account_of(sql: Sql, account_id: str) -> Account:
    """Raises NotFoundError."""
    row = sql.row(f"SELECT {_COLUMNS} FROM account WHERE id = ?", account_id)  # noqa: S608 - constant
    if row is None:
        raise NotFoundError(f"no user has the id {account_id!r}")
    return as_account(row)


def as_account(row: Row) -> Account:
    """An account of its seven columns."""
    return Account(
        id=row[0], email=row[1], name=row[2], has_password=bool(row[3]), created_at=row[4], login_at=row[5],
        disabled_at=row[6],
    )  # fmt: skip


def has_owner(sql: Sql, workspace: str) -> bool:
    """Whether a workspace has an owner who can sign in."""
    found = sql.row(
        "SELECT 1 FROM membership JOIN account ON account.id = account_id"
        " WHERE workspace = ? AND role = 'owner' AND disabled_at IS NULL LIMIT 1",
        workspace,
    )
    return found is not None


def refuse_losing_owner(sql: Sql, workspace: str, *, had_owner: bool) -> None:
    """Raises ConflictError if nobody is left who could let others in."""
    if had_owner and not has_owner(sql, workspace):
        raise ConflictError("this is the last owner; make another one first")


def checked_person(email: str, name: str) -> tuple[str, str]:
    """E-mail address (lower case) and name. Raises InvalidInputError."""
    email = email.strip().lower()
    # Letters that only look like others (RFC 8264: compatibility forms) would make a second person of the same address.
    is_plain = unicodedata.normalize("NFKC", email) == email
    if not _EMAIL.match(email) or len(email) > EMAIL_LENGTH_MAX or not is_plain:
        raise InvalidInputError("this is no e-mail address", [("email", "is no e-mail address")])
    return email, checked_name(name)


def checked_name(name: str) -> str:
    """What a person, a key or a workspace is called: nothing that cannot be seen. Raises InvalidInputError."""
    name = name.strip()
    if not 0 < len(name) <= NAME_LENGTH_MAX or not name.isprintable():
        raise InvalidInputError("this is no name", [("name", f"has 1 to {NAME_LENGTH_MAX} printable characters")])
    return name


def _insert(sql: Sql, email: str, name: str, hashed: str | None, now: int) -> str:
    account_id = new_run_id(now, prefix="usr_")
    sql.run(
        "INSERT INTO account(id, email, name, password, created_at, password_at) VALUES (?, ?, ?, ?, ?, ?)",
        account_id, email, name, hashed, now, None if hashed is None else now,
    )  # fmt: skip
    return account_id
