"""A request watched: server-sent events.

`start` names the model, the board and the budget; `trace` holds what one slice did to the trajectories, the votes so far and the
iterations spent; `verdict` is the answer of `/v1/solve`; `error` ends a stream that has none.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator

from eqr_ray.serving.answers import policy_out, trace_out, verdict_out
from eqr_ray.serving.jobs import Outcome, Reached, Steps
from eqr_ray.serving.schemas import SolveResponse, TraceOut
from eqr_ray.serving.service import Question, Service, Unavailable
from eqr_ray.types import Verdict

_SETTLED = ("converged", "q_halted")


async def watched(service: Service, question: Question, request_id: str) -> AsyncIterator[str]:
    """Yield the events of one puzzle."""
    started = time.monotonic()
    budget = policy_out(question)
    start = {
        "request_id": request_id,
        "model": question.model.name,
        "task": question.task.name,
        "rows": question.task.rows,
        "cols": question.task.cols,
        "question": question.task.format(question.records[0].puzzle.cells),
        "policy": budget.model_dump(),
        "seed": question.seed,
    }
    yield _event("start", start)
    latest: dict[int, TraceOut] = {}
    verdict: Verdict | None = None
    try:
        async for event in service.answer(question):
            if isinstance(event, Steps):
                rows = list(trace_out(question.task, event))
                latest.update((row.trajectory, row) for row in rows)
                yield _event(
                    "trace",
                    {
                        "rows": [row.model_dump() for row in rows],
                        "votes": _votes(latest),
                        "nfe": sum(row.depth for row in latest.values()),
                        "elapsed_s": time.monotonic() - started,
                    },
                )
            elif isinstance(event, Reached):
                verdict = event.verdict
            elif verdict is None:
                yield _error(request_id, *_REASONS.get(event.outcome, _REASONS[Outcome.FAILED]))
            else:
                answer = SolveResponse(
                    request_id=request_id,
                    model=question.model.name,
                    task=question.task.name,
                    policy=budget,
                    seed=question.seed,
                    verdict=verdict_out(question.task, question.records[0], verdict),
                    elapsed_s=time.monotonic() - started,
                    engine_s=event.engine_s,
                )
                yield _event("verdict", answer.model_dump(exclude={"trace"}))
    except Unavailable as refusal:
        yield _error(request_id, refusal.code, str(refusal))


_REASONS = {
    Outcome.DEADLINE: ("no_time", "time ran out before the first iteration; allow more or ask later"),
    Outcome.FAILED: ("failed", "the engine failed this request; send it again"),
}


def _votes(latest: dict[int, TraceOut]) -> list[dict[str, object]]:
    """Return the answers of settled trajectories, most votes first."""
    counts = Counter(row.answer for row in latest.values() if row.status in _SETTLED)
    return [{"answer": answer, "count": count} for answer, count in counts.most_common()]


def _event(name: str, data: object) -> str:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'), allow_nan=False)}\n\n"


def _error(request_id: str, code: str, message: str) -> str:
    return _event("error", {"code": code, "message": message, "request_id": request_id})
