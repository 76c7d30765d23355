"""Which runs are meant: what lists and bulk operations take, as one filter of the store."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from segue.api.errors import InvalidRequestError
from segue.kernel.durations import InvalidDuration, moment_of
from segue.kernel.status import RunStatus
from segue.store.port import RunFilter
from segue.store.run_lists import SEARCH_LETTERS_MIN
from segue.store.run_notes import LABELS_MAX, label_of

STATUSES: Final = tuple(status.value for status in RunStatus)
WORDS: Final = ", ".join(STATUSES)
SEARCH_LENGTH_MAX: Final = 200
_ID: Final = re.compile(r"(run|eng)_[0-9a-z]{8,26}\Z")
"""The beginning of a run's id, long enough to name few."""


def run_filter(
    workspace: str,
    *,
    statuses: Sequence[str] = (),
    flow: str | None = None,
    version: str | None = None,
    trigger: str | None = None,
    parent: str | None = None,
    since: str | None = None,
    until: str | None = None,
    search: str | None = None,
    oldest_first: bool = False,
    among: frozenset[str] | None = None,
    labels: Sequence[str] = (),
) -> RunFilter:
    """The filter. Raises InvalidRequestError with the field that cannot be.

    `statuses` may hold several by comma; `since` and `until` are RFC 3339 times of a half-open range; `search` is the
    beginning of a run's id, or else a text in its error. `labels` are
    `name:value`, and all meant. `among`: only runs of these flows (None: of all).
    """
    words = [word for given in statuses for word in given.split(",") if word]
    unknown = [word for word in words if word not in STATUSES]
    if unknown:
        raise _wrong("status", f"{unknown[0][:50]!r} is no status; use {WORDS}")
    if version is not None and flow is None:
        raise _wrong("version", "a version is one of a flow: name `flow`, too")
    is_id = search is not None and _ID.match(search) is not None
    if search and not is_id and len(search) < SEARCH_LETTERS_MIN:
        raise _wrong("q", f"a text in an error is looked for by at least {SEARCH_LETTERS_MIN} letters")
    if len(labels) > LABELS_MAX:
        raise _wrong("label", f"a run has at most {LABELS_MAX} labels")
    return RunFilter(
        labels=tuple(dict.fromkeys(label_of(one) for one in labels)),
        workspace=workspace, flow_id=flow, among=among, statuses=tuple(words), created_from=_moment("since", since),
        created_before=_moment("until", until), version=version, trigger=trigger, parent_run_id=parent,
        id_prefix=search if is_id else None, error_text=None if is_id else search or None, oldest_first=oldest_first,
    )  # fmt: skip


def _moment(name: str, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return moment_of(text)
    except InvalidDuration as error:
        raise _wrong(name, f"{name}: {error}") from error


def _wrong(field: str, message: str) -> InvalidRequestError:
    return InvalidRequestError(message, [(field, message)])
