"""Flows that run other flows, and events, by command."""

from __future__ import annotations

from pathlib import Path

import pytest

from acceptance.cli_support import Commands

CHILD = """\
flow: child
inputs: {n: integer}
steps:
  - double: {set: {twice: '{{ inputs.n * 2 }}'}}
outputs: $double
"""
PARENT = """\
flow: parent
steps:
  - child: {params: {n: 4}}
  - again: {flow: {flow: child, inputs: {n: $child.twice}}}
outputs: $again
"""
WAITS = """\
flow: waits
steps:
  - paid: {wait: {event: order.paid, where: $.id == 1}, timeout: 1h}
outputs: $paid
"""


@pytest.fixture
def commands(tmp_path: Path) -> Commands:
    return Commands(tmp_path)


@pytest.mark.req("EXEC-7.names")
def test_a_flow_finds_the_flows_beside_it_by_their_names(commands: Commands) -> None:
    commands.write("child.yaml", CHILD)
    parent = commands.write("parent.yaml", PARENT)
    ran = commands.segue("run", str(parent), "--json")
    assert ran.code == 0, ran.err
    assert [run["flow"] for run in commands.runs()] == ["child", "child", "parent"]
    shown = commands.segue("show", commands.runs()[0]["id"])
    assert f"by `again` of {commands.runs()[2]['id']} (parent)" in shown.out
    assert commands.runs()[0]["id"] in commands.segue("show", commands.runs()[2]["id"]).out


@pytest.mark.req("EXEC-7.names")
def test_a_sub_flow_whose_file_is_gone_is_the_one_that_was_there_when_the_run_began(commands: Commands) -> None:
    commands.write("child.yaml", CHILD)
    parent = commands.write("parent.yaml", PARENT)
    assert commands.segue("run", str(parent), "--detach").code == 0
    (commands.folder / "child.yaml").unlink()
    assert commands.segue("run", "--continue").code == 0
    assert {run["status"] for run in commands.runs()} == {"succeeded"}


@pytest.mark.req("EXEC-9.publish")
def test_an_event_that_is_sent_by_command_is_delivered_by_the_next_host(commands: Commands) -> None:
    waits = commands.write("waits.yaml", WAITS)
    assert commands.segue("run", str(waits), "--detach").code == 0
    commands.segue("run", "--continue")
    assert commands.runs()[0]["status"] == "waiting"
    why = commands.segue("why", "last")
    assert "waiting for the event `order.paid`" in why.out
    sent = commands.segue("emit", "order.paid", "--data", '{"id": 1, "sum": 7}', "--id", "shop-1")
    assert (sent.code, sent.out) == (0, "order.paid is sent: shop-1\n")
    assert "segue run --continue" in sent.err
    assert commands.segue("run", "--continue").code == 0
    assert commands.runs()[0]["status"] == "succeeded"
