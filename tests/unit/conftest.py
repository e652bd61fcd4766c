"""For the unit tests: property tests try the same examples every time, so that a run means the same everywhere.

`HYPOTHESIS_PROFILE=search` looks further, with other examples each time; what it finds belongs into a test of its own.
"""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("ci", derandomize=True, deadline=None, database=None, max_examples=100)
settings.register_profile("search", deadline=None, max_examples=1_000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))
