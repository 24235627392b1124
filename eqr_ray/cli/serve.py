"""`eqr-ray serve`: an endpoint on Ray Serve, or in this process alone."""

from __future__ import annotations

import signal
import socket
import threading
from typing import TYPE_CHECKING

import click

from eqr_ray.cli.group import Failed

if TYPE_CHECKING:
    from eqr_ray.serving.settings import ServeConfig

_CONFIG_KEYS = {"replicas": "scaling.min_replicas"}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", "config_file", metavar="YAML", help="A configuration; options and --set win over it.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Set one key of the configuration; may be repeated."
)
@click.option("--host", metavar="HOST", help="The interface to listen on; 127.0.0.1 if left out. Others need a token.")
@click.option("--port", type=int, metavar="PORT", help="The port; 8000 if left out, 0 takes a free one.")
@click.option("--replicas", type=int, metavar="N", help="Replicas that are always there.")
@click.option("--token-file", metavar="F", help="A file with one bearer token a line; EQR_SERVE_TOKENS adds to it.")
@click.option("--device", type=click.Choice(["auto", "cpu", "cuda", "mps"]), help="Where the networks run.")
@click.option("--compile/--no-compile", default=None, help="Fuse the layers: faster, but a replica starts later.")
@click.option("--threads", type=int, metavar="N", help="CPU threads of a replica.")
@click.option(
    "--address",
    default="local",
    metavar="ADDRESS",
    show_default=True,
    help="local: Ray started here; auto or host:port.",
)
@click.option("--ray/--no-ray", "on_ray", default=True, help="--no-ray serves from this process alone.")
def serve(config_file: str | None, overrides: tuple[str, ...], address: str, on_ray: bool, **options: object) -> None:
    """Answer puzzles over HTTP, with a page at / that shows the trajectories; Ctrl-C lets open requests end and stops."""
    from eqr_ray.serving.guard import read_tokens
    from eqr_ray.serving.settings import load_serve_config
    from eqr_ray.serving.shelf import torch_stock

    given = {_CONFIG_KEYS.get(name, name): value for name, value in options.items()}
    if given["scaling.min_replicas"] is not None and not config_file:
        given["scaling.max_replicas"] = given["scaling.min_replicas"]
    config = load_serve_config(config_file, overrides, given)
    digests = read_tokens(config)
    if not on_ray:
        _alone(config, digests)
        return
    if address == "local":
        # What cannot be used is better found here than by a replica that dies again and again.
        torch_stock(config)
    _on_ray(config, address)


def _alone(config: ServeConfig, digests: tuple[str, ...]) -> None:
    import uvicorn

    from eqr_ray.serving.guard import Guard
    from eqr_ray.serving.http import build_app
    from eqr_ray.serving.logs import log_to_stderr
    from eqr_ray.serving.service import Service

    service = Service(config)
    log_to_stderr(config.log_level)
    app = build_app(service, Guard(digests, config.allowed_hosts))
    listener = uvicorn.Config(
        app,
        host=config.host,
        port=config.port,
        log_level="warning",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=int(config.drain_s) + 1,
    )
    sock = listener.bind_socket()
    click.echo(
        f"listening on http://{config.host}:{sock.getsockname()[1]}/ (this process alone); Ctrl-C stops", err=True
    )
    uvicorn.Server(listener).run(sockets=[sock])


def _on_ray(config: ServeConfig, address: str) -> None:
    from eqr_ray.distributed.cluster import connect

    stop = threading.Event()
    with connect(address):
        from ray import serve as ray_serve

        from eqr_ray.serving.app import NAME, application

        port = config.port or _free_port(config.host)
        ray_serve.start(http_options={"host": config.host, "port": port})
        try:
            try:
                ray_serve.run(application(config), name=NAME, route_prefix="/")
            except RuntimeError as error:
                raise Failed(f"no replica became ready ({_first_line(error)}); Ray's logs have the details") from None
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: stop.set())
            click.echo(f"listening on http://{config.host}:{port}/ (Ray Serve); Ctrl-C stops", err=True)
            stop.wait()
            click.echo("stopping: open requests may end", err=True)
        finally:
            ray_serve.shutdown()


def _free_port(host: str) -> int:
    with socket.create_server((host, 0)) as probe:
        return int(probe.getsockname()[1])


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
