"""Optimistic locking by entity tags (RFC 9110, section 13): a change names the revision that it was made for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from segue.api.errors import BadBodyError, PreconditionRequiredError
from segue.errors import StaleError

_TAG: Final = re.compile(r'"([0-9]{1,15})"\Z')


def etag(revision: int) -> str:
    """The tag of a revision."""
    return f'"{revision}"'


def flow_path(id: str, rest: str = "") -> str:
    """The address of a flow, for a `Location` header: ids may have letters of any script."""
    return f"/api/v1/flows/{quote(id, safe='')}{rest}"


def attachment(name: str) -> str:
    """A `Content-Disposition` (RFC 6266) that names a file, whatever script its name is in."""
    return f"attachment; filename*=UTF-8''{quote(name, safe='')}"


def expected_revision(headers: Mapping[str, str], *, required: bool = True) -> int | None:
    """The revision of `If-Match`; None for `*`, and for none at all unless that is `required`.

    Raises PreconditionRequiredError; StaleError for a tag that no revision has; BadBodyError for what is no tag.
    """
    given = headers.get("if-match")
    if given is None:
        if not required:
            return None
        raise PreconditionRequiredError(
            "send the ETag of the draft that you changed as If-Match, or If-Match: * to overwrite whatever is there"
        )
    if given.strip() == "*":
        return None
    found = _TAG.match(given.strip())
    if found is not None:
        return int(found[1])
    if '"' not in given:
        raise BadBodyError(f"If-Match: {given[:60]!r} is no entity tag; send the ETag as it came, with its quotes")
    raise StaleError("the If-Match header names no revision of this draft; read it again")
