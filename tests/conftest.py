"""For every test: one thread a process, so that tests of many processes do not fight for two cores."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
