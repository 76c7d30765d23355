"""How many examples a property test tries: its usual number, twenty times as many under `HYPOTHESIS_PROFILE=long`, two
thirds in CI, whose time is short.
"""

from __future__ import annotations

import os
from typing import Final

PROFILE: Final = os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "local")
IS_LONG: Final = PROFILE == "long"


def examples(usual: int) -> int:
    """The number for `max_examples` of a test that needs another than Hypothesis' own hundred."""
    return usual * 20 if IS_LONG else usual * 2 // 3 if PROFILE == "ci" else usual
