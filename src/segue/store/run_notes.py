"""What whoever starts a run says of it: labels, by which runs are found, and metadata, which is only kept.

Written with the run's first commit (`Commit.also`), and never changed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from segue.errors import InvalidInputError
from segue.store.tables import Sql

LABELS_MAX: Final = 32
LABEL_LENGTH_MAX: Final = 200
METADATA_BYTES_MAX: Final = 16 * 1024
LABEL_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./-]{0,62}")
LABEL_NAME_RULE: Final = "up to 63 letters, digits, `_`, `.`, `/` and `-`, beginning with a letter or digit"
RUNS_AT_ONCE: Final = 500
_encode: Final = msgspec.json.Encoder(order="sorted").encode


class RunNotes(msgspec.Struct, frozen=True, kw_only=True):
    """What is said of a run."""

    labels: dict[str, str] = {}
    metadata: dict[str, Any] = {}

    def __bool__(self) -> bool:
        return bool(self.labels or self.metadata)


NO_NOTES: Final = RunNotes()


def checked_notes(labels: Mapping[str, str], metadata: Mapping[str, Any]) -> RunNotes:
    """Raises InvalidInputError with every label or size that cannot be kept."""
    wrong: list[tuple[str, str]] = []
    if len(labels) > LABELS_MAX:
        wrong.append(("labels", f"a run has at most {LABELS_MAX} labels"))
    for name, label in labels.items():
        if LABEL_NAME.fullmatch(name) is None:
            wrong.append((f"labels.{name[:80]}", f"the name of a label is {LABEL_NAME_RULE}"))
        elif not 0 < len(label) <= LABEL_LENGTH_MAX or not label.isprintable():
            message = f"the value of a label is 1 to {LABEL_LENGTH_MAX} characters of one line"
            wrong.append((f"labels.{name}", message))
    if len(_encode(metadata)) > METADATA_BYTES_MAX:
        wrong.append(("metadata", f"metadata has at most {METADATA_BYTES_MAX:,} bytes as JSON"))
    if wrong:
        raise InvalidInputError(f"{wrong[0][0]}: {wrong[0][1]}", wrong)
    return RunNotes(labels=dict(labels), metadata=dict(metadata))


def label_of(text: str) -> tuple[str, str]:
    """Name and value of `name:value` (or `name=value`). Raises InvalidInputError."""
    found = re.match(r"([^:=]+)[:=](.+)\Z", text)
    if found is None or LABEL_NAME.fullmatch(found[1]) is None:
        message = f"{text[:80]!r} is no label; write NAME=VALUE (or NAME:VALUE), the name {LABEL_NAME_RULE}"
        raise InvalidInputError(message, [("label", message)])
    return found[1], found[2]


def write_notes(sql: Sql, notes: RunNotes, *, run_id: str, run_key: int, workspace: str, created_at: int) -> None:
    """Keep them with a new run."""
    labels, metadata = _encode(notes.labels).decode(), _encode(notes.metadata).decode()
    sql.run("INSERT INTO run_note (run_id, labels, metadata) VALUES (?, ?, ?)", run_id, labels, metadata)
    for name, label in notes.labels.items():
        sql.run("INSERT INTO run_label VALUES (?, ?, ?, ?, ?)", workspace, name, label, created_at, run_key)


def read_notes(sql: Sql, run_ids: Iterable[str]) -> Mapping[str, RunNotes]:
    """Those of these runs, by id; of runs without any there is nothing."""
    found: dict[str, RunNotes] = {}
    wanted = list(run_ids)
    for start in range(0, len(wanted), RUNS_AT_ONCE):
        some = wanted[start : start + RUNS_AT_ONCE]
        places = ",".join("?" * len(some))
        rows = sql.rows(f"SELECT run_id, labels, metadata FROM run_note WHERE run_id IN ({places})", *some)  # noqa: S608
        for run_id, labels, metadata in rows:
            found[run_id] = RunNotes(labels=msgspec.json.decode(labels), metadata=msgspec.json.decode(metadata))
    return found


def keys_with(sql: Sql, labels: Iterable[tuple[str, str]]) -> set[int]:
    """The keys of the runs of all workspaces that have all of these labels."""
    statement = "SELECT run_key FROM run_label WHERE name = ? AND label = ?"
    found = [{row[0] for row in sql.rows(statement, name, label)} for name, label in labels]
    return set[int].intersection(*found) if found else set()
