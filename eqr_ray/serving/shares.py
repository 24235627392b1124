"""Who gets how many rows of the next slice.

Invariants, asserted in tests/serving/test_serving_parts.py: no more than the slice holds; everybody who wants a row gets one before anybody
gets two more than another; with more requests than rows, turns go round.
"""

from __future__ import annotations


def shares(n_requests: int, n_rows: int) -> list[int]:
    """Return the rows of each request that has work, in the order of their turns."""
    if n_requests < 1:
        return []
    each, more = divmod(n_rows, n_requests)
    return [each + (turn < more) for turn in range(n_requests)]
