"""What goes in and out over HTTP: strict, unknown keys refused.

Infinite numbers, which JSON lacks, are null.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MOST_DIGITS = 2**31 - 1
"""Bound on counts, so that a limit and not an overflow refuses them."""

Count = Annotated[int, Field(ge=1, le=MOST_DIGITS)]
Name = Annotated[str, Field(min_length=1, max_length=120)]
Question = Annotated[
    str,
    Field(
        min_length=4,
        max_length=100_000,
        description="row by row: Sudoku with . or 0 for a blank, a maze with # wall, space open, S start, G goal",
        examples=["..3....1..2.3.........4614.......5.."],
    ),
]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Asked(_In):
    task: Name | None = Field(default=None, description="such as sudoku9; follows from the question if left out")
    model: Name | None = Field(default=None, description="a name of GET /v1/models; follows from the task if left out")
    policy: Name | None = Field(
        default=None, description="a name of GET /v1/models; the endpoint's default if left out"
    )
    depth: Count | None = Field(default=None, description="D, iterations of one trajectory")
    breadth: Count | None = Field(default=None, description="B, trajectories of a puzzle")
    nfe: Count | None = Field(default=None, description="iterations of a puzzle over all its trajectories")
    seed: int = Field(default=0, ge=0, lt=2**63, description="keys every random draw")
    deadline_s: float | None = Field(
        default=None, gt=0, le=86_400, description="when time is over, the best answer so far is given"
    )


class SolveRequest(_Asked):
    """One puzzle."""

    puzzle: Question
    trace: bool = Field(default=False, description="whether every iteration of every trajectory is reported")


class StreamRequest(_Asked):
    """One puzzle, watched."""

    puzzle: Question
    every: int = Field(default=1, ge=1, le=64, description="iterations between two reports of a trajectory")


class BatchRequest(_Asked):
    """Puzzles of one task, answered together."""

    puzzles: list[Question] = Field(min_length=1, max_length=100_000)


class PolicyOut(BaseModel):
    """The policy that answered, with its budget in full."""

    name: str
    depth: int
    breadth: int
    nfe: int


class BallotOut(BaseModel):
    """One distinct answer and what speaks for it."""

    answer: str
    count: int = Field(description="trajectories that voted for it")
    weight: float = Field(description="probability that the policy gives it")


class VerdictOut(BaseModel):
    """The answer to one puzzle, and what it cost."""

    puzzle_id: str
    question: str
    prediction: str = Field(description="the answer in the notation of the question, on one line")
    valid: bool = Field(description="whether it obeys the rules; nothing in the search knows this")
    confidence: float
    votes: int
    distinct_answers: int
    breadth: int
    depth: int
    nfe: int
    residual: float | None
    stop: str
    selection: str
    ballot: list[BallotOut] = Field(description="distinct answers, best first, at most eight")


class TraceOut(BaseModel):
    """A trajectory after one report."""

    trajectory: int
    depth: int
    residual: float | None = Field(description="mean of the last three iterations; null before the third")
    q_halt: float | None = Field(description="halting logit")
    status: str = Field(description="running, converged, q_halted or diverged")
    answer: str = Field(description="what the trajectory decodes to now")


class SolveResponse(BaseModel):
    """The verdict of one puzzle."""

    request_id: str
    model: str
    task: str
    policy: PolicyOut
    seed: int
    verdict: VerdictOut
    elapsed_s: float = Field(description="from the request's arrival to its answer")
    engine_s: float = Field(description="of which the engine worked on slices with rows of this request")
    trace: list[TraceOut] | None = None


class BatchResponse(BaseModel):
    """The verdicts of a batch, in the order of the questions."""

    request_id: str
    model: str
    task: str
    policy: PolicyOut
    seed: int
    verdicts: list[VerdictOut | None] = Field(description="null where time ran out before the first iteration")
    elapsed_s: float


class ModelOut(BaseModel):
    """A model of this endpoint."""

    name: str
    task: str
    family: str
    rows: int
    cols: int
    box_rows: int
    box_cols: int
    symbols: str = Field(description="what a cell may hold, blank first")
    parameters: int
    sha256: str
    nle_per_iteration: int
    examples: list[str] = Field(description="questions to try, easiest first")


class PolicyLimits(BaseModel):
    """A policy by name, with the budget it has when none is given."""

    name: str
    depth: int
    breadth: int
    nfe: int
    featured: bool = Field(description="whether it is made to be chosen; the others are kinds to experiment with")


class ModelsResponse(BaseModel):
    """What can be asked for."""

    models: list[ModelOut]
    policies: list[PolicyLimits]
    default_policy: str
    limits: dict[str, float]
    version: str


class Health(BaseModel):
    """Whether a replica works, or is ready for work."""

    status: str


class ErrorDetail(BaseModel):
    """What is wrong, in a word and in a sentence."""

    code: str
    message: str
    request_id: str


class ErrorResponse(BaseModel):
    """Every answer with a status of 400 or more."""

    error: ErrorDetail
