"""`report.html` of a trace: its landscape, from the labelled puzzles.

Invariant, asserted in tests/cli/test_trace_commands.py: `eqr-ray report` writes it for the folder of a trace.
"""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from eqr_ray.evaluation.landscape import Ends, landscape_of
from eqr_ray.evaluation.landscape_report import landscape_page
from eqr_ray.sim.trace import Trace, read_trace
from eqr_ray.storage import Place
from eqr_ray.types import InputError


def ends_of(trace: Trace) -> Ends:
    """Return the columns that the diagnostics read."""
    return Ends(trace.code, trace.right, trace.residual, trace.depth, trace.rating)


def write_landscape(uri: str) -> str:
    """Write the report of a trace into its folder and return where it is; InputError without labelled puzzles."""
    trace = read_trace(uri)
    trace = trace.take(np.flatnonzero(trace.labelled))
    if not len(trace):
        raise InputError(f"{uri} holds no puzzle with an answer, and the landscape needs them; record a labelled file")
    ratings = [None if np.isnan(value) else float(value) for value in trace.rating.tolist()]
    questions = list(zip(trace.source, trace.questions, ratings, strict=True))
    page = landscape_page(landscape_of(ends_of(trace)), asdict(trace.facts), questions)
    place = Place(uri)
    place.write("report.html", page.encode())
    return place.address("report.html")
