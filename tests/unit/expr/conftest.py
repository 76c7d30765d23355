"""Fixtures of the tests of the expression language."""

from __future__ import annotations

import pytest
from tests.unit.expr.support import FixedImpure


@pytest.fixture
def impure() -> FixedImpure:
    return FixedImpure()
