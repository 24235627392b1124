"""What a run asks of a cluster that grows and shrinks.

Invariants, asserted in tests/unit/test_scaling_config.py: a goal that cannot be kept, such as a cap without a price, is refused; a clock
time means its next occurrence.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field, field_validator, model_validator

from eqr_ray.config.reading import Config

_DURATION = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})")
_HOW = "write a duration such as 2h30m, a clock time such as 18:30, or a date such as 2027-01-31T18:30"
Positive = Annotated[float, Field(gt=0)]
Price = Annotated[float, Field(ge=0)]


class ScalingConfig(Config):
    """How many replicas, by when, for how much."""

    max_replicas: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="the most replicas to ask the cluster's autoscaler for; left out, the run takes what is there",
    )
    finish_by: str | None = Field(default=None, description=f"when the run is to end: {_HOW}; in YAML, in quotes")
    max_cost: Positive | None = Field(
        default=None,
        description="what this session may cost, in the unit of the prices; the run stops there and can be resumed",
    )
    price_per_replica_hour: Price = Field(default=0.0, description="what a replica costs an hour")
    price_per_node_hour: Price = Field(default=0.0, description="what a machine with replicas costs an hour")
    start_s: Positive = Field(default=180.0, description="how long a machine takes to start, for planning")
    idle_s: Positive = Field(
        default=30.0, description="how long a replica may idle before it is ended, so that its machine can leave"
    )

    @field_validator("finish_by", mode="before")
    @classmethod
    def _readable(cls, value: object) -> object:
        if value is None:
            return None
        if not isinstance(value, str):
            # YAML reads 18:30 as a number.
            raise ValueError(f"finish_by must be text, got {value}; {_HOW}, in quotes")
        seconds_until(value, datetime(2000, 1, 1))
        return value

    @model_validator(mode="after")
    def _possible(self) -> ScalingConfig:
        if self.finish_by is not None and self.max_replicas is None:
            raise ValueError("finish_by needs max_replicas, the most replicas that may be asked for; give it too")
        if self.max_cost is not None and not (self.price_per_replica_hour or self.price_per_node_hour):
            raise ValueError("max_cost needs price_per_replica_hour or price_per_node_hour; give what a machine costs")
        return self


def seconds_until(finish_by: str, now: datetime) -> float:
    """Return the seconds from `now` to a time: a duration, a clock time (its next occurrence) or a date; ValueError for other text."""
    text = finish_by.strip()
    duration = _DURATION.fullmatch(text)
    if text and duration:
        days, hours, minutes, seconds = (int(part or 0) for part in duration.groups())
        return float(86_400 * days + 3600 * hours + 60 * minutes + seconds)
    clock = _CLOCK.fullmatch(text)
    try:
        if clock:
            at = now.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
            return (at + timedelta(days=at <= now) - now).total_seconds()
        at = datetime.fromisoformat(text)
        return (at - (now.astimezone() if at.tzinfo else now)).total_seconds()
    except ValueError:
        raise ValueError(f"finish_by must be a time, got {finish_by!r}; {_HOW}") from None
