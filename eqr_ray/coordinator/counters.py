"""How a run stands, for progress lines and summaries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReplicaCounters:
    """How one replica stands."""

    replica_id: str
    slices_in_flight: int
    rows_in_flight: int
    rows_waiting: int
    """Rows whose latents are parked there and that wait for its next slice."""
    slices_done: int
    rows_done: int
    nfe_computed: int
    elapsed_s: float
    """Time that it reported to have worked, added up."""
    leaving: bool


@dataclass(frozen=True, slots=True)
class Counters:
    """How the whole run stands."""

    puzzles_submitted: int
    puzzles_open: int
    puzzles_done: int
    nfe: int
    """Iterations charged to the puzzles that are done."""
    nfe_computed: int
    """Iterations that devices did, repeats, padding and results that came too late included."""
    rows_in_flight: int
    backlog_iterations: int
    """Iterations ordered by the policy and not yet reported."""
    slices_done: int
    rows_done: int
    lost_slices: int
    """Slices given out again because their replica was lost or failed them."""
    copied_slices: int
    """Slices of slow replicas that were ordered a second time elsewhere."""
    ignored_results: int
    """Results that came late, twice or unasked."""
    replicas: tuple[ReplicaCounters, ...]
