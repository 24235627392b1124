"""`eqr-ray submit`: a job on a Ray cluster, followed to its end."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import click

from eqr_ray.cli.group import Interrupted
from eqr_ray.types import InputError

if TYPE_CHECKING:
    from eqr_ray.distributed.jobs import JobServer, JobState


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("job", metavar="[evaluate|trace|tune|train]", required=False)
@click.option("--config", "config_file", metavar="YAML", help="The job's configuration, a file of this machine.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration; may be repeated."
)
@click.option("--out", metavar="DIR", help="Where the results go: s3://, or a folder that all nodes share.")
@click.option(
    "--address", metavar="URL", help="The dashboard; RAY_API_SERVER_ADDRESS, RAY_ADDRESS or http://127.0.0.1:8265 else."
)
@click.option("--follow/--no-wait", default=True, help="Show the log and end with the job's exit code (default).")
@click.option("--working-dir", metavar="DIR", help="Upload DIR and run in it, instead of the package on the cluster.")
@click.option("--cpus", type=click.FloatRange(min=0), metavar="N", help="CPUs for the job's own process.")
@click.option("--gpus", type=click.FloatRange(min=0), metavar="N", help="GPUs for it: training needs one.")
@click.option("--device", metavar="NAME", help="Of training: such as cuda.")
@click.option("--env/--no-env", "with_env", default=True, help="Pass AWS_* and EQR_* variables on (default).")
@click.option("--status", "asked", metavar="ID", help="Say how a job stands.")
@click.option("--logs", "logged", metavar="ID", help="Follow the log of a job.")
@click.option("--stop", "stopped", metavar="ID", help="Ask a job to end; what it has done is kept.")
def submit(
    job: str | None,
    address: str | None,
    asked: str | None,
    logged: str | None,
    stopped: str | None,
    **options: Any,
) -> int:
    """Run a job on a Ray cluster and end as it ends: exit code 0, 1 or 2.

    The same configuration has the same id: submitted again while it runs, its log is followed; after it failed, was stopped or
    killed, it goes on where it was.
    """
    given = [name for name in (asked, logged, stopped) if name is not None]
    if (job is None) == (not given) or len(given) > 1:
        raise InputError("submit takes one of: a job to submit, --status ID, --logs ID, --stop ID; see --help")
    from eqr_ray.cli.job import JOBS

    if job is not None and job not in JOBS:
        raise InputError(f"no job is called {job}; the jobs are {', '.join(JOBS)}")
    if job is not None:
        return _submit(job, address=address, **options)

    from eqr_ray.distributed.jobs import JobServer

    server = JobServer(address)
    if stopped is not None:
        ran = server.stop(stopped)
        click.echo(
            f"{stopped} is asked to end; its results are kept" if ran else f"{stopped} had ended: "
            + server.state(stopped).status.lower()
        )  # fmt: skip
        return 0
    if logged is not None:
        return _follow(server, logged)
    _say(server.state(given[0]))
    return 0


def _submit(
    job: str,
    config_file: str | None,
    overrides: tuple[str, ...],
    out: str | None,
    address: str | None,
    follow: bool,
    working_dir: str | None,
    cpus: float | None,
    gpus: float | None,
    device: str | None,
    with_env: bool,
) -> int:
    from importlib.metadata import version

    from eqr_ray.cli import submitting
    from eqr_ray.distributed.jobs import JobServer, Standing, Work

    values = submitting.settings_of(job, config_file, overrides, out)
    values.pop("address", None)
    if working_dir is None:
        values = submitting.with_full_paths(values)
        out = None if out is None or "://" in out else os.path.abspath(out)
    extra = ["--out", out or "", *(["--device", device] if device else [])] if job == "train" else []
    name = submitting.name_of(job, values, extra)
    server = JobServer(address)

    def command(attempt: int) -> str:
        """A further try goes on with what the tries before have left."""
        options = submitting.set_options(values if attempt == 1 or job == "train" else {**values, "resume": True})
        if job != "train":
            options = ["--set", "address=auto", *options]
        resume = ["--resume"] if job == "train" and attempt > 1 else []
        return submitting.entry_point(server.address, job, [*extra, *options, *resume])

    revision = submitting.git_revision(working_dir or os.getcwd())
    env = submitting.passed_on(os.environ) if with_env else {}
    work = Work(
        name,
        command,
        env | ({"EQR_GIT_REVISION": revision} if revision else {}),
        {
            "job": job, "config_digest": name.rpartition("-")[2], "git_revision": revision, "version": version("eqr-ray"),
            "out": str(values.get("out", out or "")),
        },
        working_dir, cpus, gpus,
    )  # fmt: skip
    name, standing = server.submit(work)
    click.echo(f"{name}: {standing.value} at {server.address}", err=True)
    if standing is Standing.DONE:
        click.echo(f"results are in {work.metadata['out']}; change the configuration or --out for other ones", err=True)
    elif not follow:
        click.echo(f"follow it with `eqr-ray submit --logs {name}`, stop it with --stop", err=True)
    if not follow or standing is Standing.DONE:
        click.echo(name)
        return 0
    return _follow(server, name)


def _follow(server: JobServer, name: str) -> int:
    def write(text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()

    try:
        state = server.follow(name, write)
    except KeyboardInterrupt:
        raise Interrupted(
            f"the job goes on; follow it with `eqr-ray submit --logs {name}`, stop it with `eqr-ray submit --stop {name}`"
        ) from None
    if state.code:
        click.echo(f"{name}: {state.status.lower()}, exit code {state.code}; {_short(state.message)}", err=True)
    else:
        click.echo(f"{name}: succeeded", err=True)
    return state.code


def _say(state: JobState) -> None:
    code = "" if state.exit_code is None else f", exit code {state.exit_code}"
    click.echo(f"job       {state.submission_id}\nstatus    {state.status.lower()}{code}")
    if state.message:
        click.echo(f"message   {_short(state.message)}")
    for key, value in sorted(state.metadata.items()):
        if value:
            click.echo(f"{key:9} {value}")
    click.echo(f"command   {state.entrypoint}")


def _short(message: str) -> str:
    text = " ".join(message.split())
    return text if len(text) <= 200 else f"{text[:199]}…"
