"""The public kill test: a flow's run, killed at every journal write and at any moment, must end as if it had not been.

Nothing lost: what was flushed is there after the death, and the run ends with the status, the outputs and the steps of
one that nobody killed. Nothing twice: what was completed is not called again, no attempt is made twice, and whatever is
repeated goes out under its first idempotency key with the same parameters.
"""

from __future__ import annotations

from segue.testing.crash.life import Scenario
from segue.testing.crash.runner import CrashReport, CrashTest, ScenarioReport
from segue.testing.crash.verdict import Finding

__all__ = ["CrashReport", "CrashTest", "Finding", "Scenario", "ScenarioReport"]
