"""The messages of the gRPC contract are what its .proto makes."""

from __future__ import annotations

import pytest
from scripts import generate_wire

from segue.wire import engine_pb2
from segue.wire.names import EXECUTE, GET_RUN, SERVICE, WATCH_RUN


@pytest.mark.req("API-4.grpc")
def test_the_generated_messages_are_those_of_the_contract() -> None:
    made = generate_wire.generated()
    assert len(made) == 2
    for path, text in made.items():
        assert path.read_text() == text, f"{path.name} is stale: run `make wire`"


@pytest.mark.req("API-4.grpc")
def test_the_names_are_those_of_the_contract() -> None:
    service = engine_pb2.DESCRIPTOR.services_by_name["Engine"]
    assert service.full_name == SERVICE
    assert [method.name for method in service.methods] == [EXECUTE, GET_RUN, WATCH_RUN]
