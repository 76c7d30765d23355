"""Trying a connection out: one request to its address, with its credentials, through the guarded client.

What is asked is `check_path` below `base_url` (GET); `check_status` are the answers that are good (`200`, `2xx`, by
comma). Without them any answer says that the address is there; only 401, 403, 407 and a failing server count as bad.
Of n8n and Make it is known what only a good key is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from segue.access.connections import Connection, Connections
from segue.access.links import ConnectionLinks
from segue.errors import RequestError, SegueError, StepError
from segue.net.links import Link
from segue.net.messages import HttpRequest
from segue.observe.masking import DEFAULT_MASKER

if TYPE_CHECKING:
    from segue.net.client import HttpClient

CHECK_SECONDS: Final = 10.0
CHECK_BYTES_MAX: Final = 10 * 1024 * 1024
REFUSED: Final = frozenset((401, 403, 407))
KNOWN: Final = {"n8n": "api/v1/workflows?limit=1", "make": "users/me"}
"""What an adapter's server is asked where the connection does not say: n8n's public API 1, Make's API 2."""


async def tried(
    connections: Connections, links: ConnectionLinks, client: Callable[[], HttpClient], workspace: str, name: str
) -> tuple[bool, str | None]:
    """Whether the connection works, and in words what does not (`auth: …`, `dns: …`, `tls: …`). Raises NotFoundError if
    there is no such connection; never tells a secret.
    """
    found = await connections.get(workspace, name)
    path, wanted = asked(found), found.fields.get("check_status", "")
    if not found.fields.get("base_url", "").strip():
        return False, "it has no base_url, so there is nothing to ask"
    link: Link | None = None
    try:
        link = await links.link(workspace, name)
        status = await _status(link, client, path)
        if status in REFUSED and link.renew is not None:
            link = await link.renew()
            status = await _status(link, client, path)
        return judged(status, wanted, has_path=bool(path))
    except StepError as error:
        return False, _masked(f"{error.category}: {error.message}", link)
    except SegueError as error:
        return False, _masked(error.message, link)


def asked(connection: Connection) -> str:
    """The path below the address that a connection is tried out with."""
    path = connection.fields.get("check_path") or KNOWN.get(connection.adapter, "")
    version, _, rest = path.partition("/workflows")
    is_there = connection.fields.get("base_url", "").rstrip("/").endswith(f"/{version}")
    return f"workflows{rest}" if rest and is_there else path


async def _status(link: Link, client: Callable[[], HttpClient], path: str) -> int:
    request = HttpRequest(
        method="GET", url=path, headers={"accept": "*/*"}, timeout_seconds=CHECK_SECONDS,
        max_body_bytes=CHECK_BYTES_MAX, follow_redirects=False,
    )  # fmt: skip
    return (await client().request(link.applied(request))).status


def judged(status: int, wanted: str, *, has_path: bool) -> tuple[bool, str | None]:
    """What an answer's status says. Raises RequestError if `wanted` is nothing that statuses can be held to."""
    if status in REFUSED and str(status) not in wanted:
        return False, f"auth: the address answered {status}: it does not accept these credentials"
    if wanted:
        return (True, None) if fits(status, wanted) else (False, f"http.{status}: it answered {status}, not {wanted}")
    if status >= 500 or (has_path and status >= 400):
        return False, f"http.{status}: it answered {status}"
    return True, None


def fits(status: int, wanted: str) -> bool:
    """Whether a status is among those: numbers and classes such as `2xx`, by comma. Raises RequestError."""
    for word in wanted.replace(" ", "").lower().split(","):
        if not (len(word) == 3 and word[0].isdigit() and (word.isdigit() or word[1:] == "xx")):
            raise RequestError(f"check_status: {word[:20]!r} is no status; write 200, 2xx, or several by comma")
        if word in (str(status), f"{str(status)[0]}xx"):
            return True
    return False


def _masked(text: str, link: Link | None) -> str:
    return DEFAULT_MASKER.with_values(() if link is None else link.values).mask_values(text)[:1_000]
