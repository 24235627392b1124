"""`eqr-ray bench serve`: how an endpoint holds under a mixed load."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from eqr_ray.cli.group import Failed
from eqr_ray.types import InputError

if TYPE_CHECKING:
    from eqr_ray.client import Client
    from eqr_ray.serving.load import Account, Kind

HARD_DEPTH = 128


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--url", default="http://127.0.0.1:8000", show_default=True, help="The endpoint.")
@click.option("--token", envvar="EQR_SERVE_TOKEN", help="A bearer token; EQR_SERVE_TOKEN is read too.")
@click.option("--model", metavar="NAME", help="A model with example puzzles; the endpoint's first if left out.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), default=5.0, show_default=True, help="Requests a second."
)
@click.option(
    "--seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=30.0,
    show_default=True,
    help="Length of the load.",
)
@click.option(
    "--hard-share", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of hard requests."
)
@click.option(
    "--hard-nfe", type=click.IntRange(min=1), default=1024, show_default=True, help="Iterations of a hard request."
)
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0, min_open=True),
    default=10.0,
    show_default=True,
    help="Seconds; answers after it are no goodput.",
)
@click.option(
    "--unloaded",
    "n_unloaded",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Requests one by one beforehand.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Keys the arrivals.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def serve(
    url: str,
    token: str | None,
    model: str | None,
    rate: float,
    seconds: float,
    hard_share: float,
    hard_nfe: int,
    deadline_s: float,
    n_unloaded: int,
    seed: int,
    as_json: bool,
) -> None:
    """Send easy and hard requests in an open loop and print latencies by difficulty, refusals and goodput.

    Easy requests are the model's easiest examples under the endpoint's default policy; hard ones are its hardest example, run for a fixed
    number of iterations. Latencies of different runs and machines say little; the ratios printed are of one run.
    """
    from eqr_ray.client import Client, ServerError
    from eqr_ray.serving.load import account, arrivals, echoes, one_by_one, quantile, run_load

    client = Client(url, token, tries=1)
    try:
        kinds = _kinds(client, model, hard_share, hard_nfe, deadline_s)
        one_by_one(client, kinds[0], 3)
        echo = quantile(echoes(client, n_unloaded), 0.5)
        alone = one_by_one(client, kinds[0], n_unloaded)
    except ServerError as error:
        raise Failed(f"the endpoint {url} cannot be measured: {error}") from None
    planned = arrivals(kinds, rate, seconds, seed)
    endings = run_load(client, kinds, planned)
    accounts = {kind.name: account([e for e in endings if e.kind == kind.name], seconds, deadline_s) for kind in kinds}
    unloaded = account(alone, seconds, deadline_s)
    own = quantile([ending.engine_s for ending in alone if ending.status == 200], 0.5)
    ratios = {
        "easy_loaded_to_unloaded_p50": _ratio(accounts["easy"].latency_s["p50"], unloaded.latency_s["p50"]),
        "easy_unloaded_to_echo_plus_engine_p50": _ratio(unloaded.latency_s["p50"], (echo or 0.0) + (own or 0.0)),
    }
    if as_json:
        facts: dict[str, Any] = {"unloaded": asdict(unloaded), "echo_p50_s": echo, "engine_p50_s": own}
        click.echo(json.dumps({**{name: asdict(one) for name, one in accounts.items()}, **facts, "ratios": ratios}))
        return
    click.echo(
        f"{'':10}  {'n':>6}  {'answered':>8}  {'refused':>7}  {'failed':>6}  {'p50 ms':>8}  {'p90 ms':>8}  {'p99 ms':>8}  goodput/s"
    )
    for name, one in {"unloaded": unloaded, **accounts}.items():
        click.echo(_line(name, one))
    click.echo(f"echo p50 {_ms(echo)} ms, engine p50 of an easy request {_ms(own)} ms")
    for name, value in ratios.items():
        click.echo(f"{name} {'–' if value is None else f'{value:.2f}'}")


def _kinds(client: Client, name: str | None, hard_share: float, hard_nfe: int, deadline_s: float) -> list[Kind]:
    from eqr_ray.serving.load import Kind

    models = client.models()["models"]
    found = next((model for model in models if name in (None, model["name"])), None)
    if found is None or len(found["examples"]) < 3:
        have = ", ".join(model["name"] for model in models if model["examples"])
        raise InputError(f"the load needs a model with examples, got {name or 'none'}; name one of {have or 'none'}")
    depth = min(HARD_DEPTH, hard_nfe)
    budget = {"policy": "fixed", "depth": depth, "breadth": -(-hard_nfe // depth), "nfe": hard_nfe}
    common = {"model": found["name"], "deadline_s": deadline_s}
    return [
        Kind("easy", 1 - hard_share, found["examples"][:2], common),
        Kind("hard", hard_share, found["examples"][-1:], {**common, **budget}),
    ]


def _ratio(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None


def _line(name: str, one: Account) -> str:
    times = "  ".join(f"{_ms(one.latency_s[key]):>8}" for key in ("p50", "p90", "p99"))
    goodput = "" if name == "unloaded" else f"{one.goodput_per_s:9.2f}"
    return f"{name:10}  {one.n:6}  {one.answered:8}  {one.refused:7}  {one.failed:6}  {times}  {goodput}"


def _ms(seconds: float | None) -> str:
    return "–" if seconds is None else f"{1000 * seconds:,.1f}"
