"""Files of flows as an archive, in which a large folder goes to a server."""

from __future__ import annotations

import pytest

from segue.errors import InvalidInputError
from segue.flows.exchange import FlowFile, archive_of, files_of_archive


@pytest.mark.req("FLOW-8.archive")
def test_what_is_packed_is_unpacked_byte_for_byte() -> None:
    files = [
        FlowFile("a/b.yaml", "\ufeffflow: b\r\n"),
        FlowFile("c.json", '{"flow": "grüße"}'),
        FlowFile("plain", "flow: p\n"),
    ]
    assert files_of_archive(archive_of(files)) == [*files[:2], FlowFile("plain.yaml", "flow: p\n")]
    assert len(archive_of([FlowFile("x.yaml", "# pad\n" * 1_000_000)])) < 100_000


@pytest.mark.req("FLOW-8.archive")
def test_an_archive_that_unpacks_to_too_much_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="at most 2,000 files, and 52,428,800 bytes"):
        files_of_archive(archive_of([FlowFile("x.yaml", "x" * 52_428_801)]))
