"""A call that starts an outside job, and then asks about it until it is done."""

from __future__ import annotations

from typing import Any

import pytest

from segue import AttemptContext, Segue

pytestmark = pytest.mark.anyio

FLOW = """
flow: job
steps:
  - render:
      call: job.start
      params: {size: 3}
      poll:
        call: job.status
        params: {id: "{{ $.id }}"}
        success_condition: $.state == 'done'
        failure_condition: $.state == 'broken'
        interval: 10ms
"""


class Job:
    """An outside job that is done when it was asked about for the third time."""

    def __init__(self, states: list[str]) -> None:
        self.states = states
        self.started: list[int] = []
        self.asked: list[str] = []
        self.keys: list[str] = []

    def register(self, segue: Segue) -> None:
        @segue.action("job.start")
        async def start(size: int, context: AttemptContext) -> dict[str, Any]:
            self.started.append(size)
            self.keys.append(context.idempotency_key)
            return {"id": f"job-{size}"}

        @segue.action("job.status")
        async def status(id: str, context: AttemptContext) -> dict[str, Any]:
            self.asked.append(id)
            self.keys.append(context.idempotency_key)
            return {"id": id, "state": self.states[len(self.asked) - 1]}

        assert start
        assert status


@pytest.mark.req("TIME-3.composite")
async def test_the_job_is_started_once_and_asked_about_by_its_own_call_until_it_is_done() -> None:
    job = Job(["busy", "busy", "done"])
    segue = Segue()
    job.register(segue)
    async with segue:
        result = await segue.run(FLOW)
    assert (result.status, result.outputs) == ("succeeded", {"id": "job-3", "state": "done"})
    assert (job.started, job.asked) == ([3], ["job-3"] * 3)


@pytest.mark.req("DUR-5.key-of-a-poll")
async def test_each_question_has_a_key_of_its_own_so_that_no_server_repeats_an_old_answer() -> None:
    job = Job(["busy", "busy", "done"])
    segue = Segue()
    job.register(segue)
    async with segue:
        await segue.run(FLOW)
    assert len(set(job.keys)) == 4


@pytest.mark.req("TIME-3.failure-condition")
async def test_a_job_that_says_it_broke_fails_the_step() -> None:
    job = Job(["busy", "broken"])
    segue = Segue()
    job.register(segue)
    async with segue:
        result = await segue.run(FLOW)
    assert result.status == "failed"
    assert result.error is not None
    assert result.error.code == "poll_failed"
    assert job.started == [3]
