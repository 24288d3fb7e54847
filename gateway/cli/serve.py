"""`gateway serve`: the gateway itself, from a configuration or from the URLs of running engines."""

import asyncio
import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import uvicorn

from gateway import config as configuration
from gateway.app import build
from gateway.cli.common import DATABASE
from gateway.config import Deployment, Listen, Secret
from gateway.contracts.errors import InputError
from gateway.control_plane import engine as engines
from gateway.control_plane.discovery import discover
from gateway.policy.resolution import Snapshot
from gateway.server.protocol import HttpProtocol
from gateway.stores.bundle import Stores, open_stores

NO_KEY = "\n  keys: none that is good, `gateway keys create --config FILE` makes one"
GRACE_S = 30
"""How long streams may go on after SIGTERM."""


@click.command()
@click.option(
    "--config", "config_path", type=click.Path(path_type=Path, dir_okay=False), help="The gateway's YAML file."
)
@click.option("--upstream", "upstreams", multiple=True, metavar="URL", help="A running engine; repeatable.")
@click.option("--upstream-key-env", metavar="NAME", help="The variable that holds the engines' own API key.")
@click.option("--engine", metavar="MODEL", help="Start vLLM with this model, and serve it.")
@click.option(
    "--engine-arg", "engine_args", multiple=True, metavar="ARG", help="An argument for that vLLM; repeatable."
)
@click.option(
    "--engine-python", type=click.Path(path_type=Path), default=Path(sys.executable),
    help="The interpreter that has vLLM.  [default: this one]",
)  # fmt: skip
@click.option("--host", help="Where to listen.  [default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65_535), help="Where to listen; 0 picks a free port.  [default: 8080]")
@click.option(
    "--prices", type=click.Path(path_type=Path, dir_okay=False), help="A price file, without a configuration."
)
def serve(
    config_path: Path | None,
    upstreams: tuple[str, ...],
    upstream_key_env: str | None,
    engine: str | None,
    engine_args: tuple[str, ...],
    engine_python: Path,
    host: str | None,
    port: int | None,
    prices: Path | None,
) -> None:
    """Serve models behind one keyed, metered, OpenAI-compatible endpoint.

    With --upstream there is nothing to configure: the engines are asked what they serve, the first key is printed once,
    and the ledger is tollgate.db in the working directory. SIGTERM and Ctrl-C let running streams end first.

    \b
    Examples:
      gateway serve --upstream http://10.0.0.7:8000 --upstream http://10.0.0.8:8000
      gateway serve --config gateway.yaml
      gateway serve --engine Qwen/Qwen3-8B --engine-arg=--max-model-len=8192
    """
    if sum((config_path is not None, bool(upstreams), engine is not None)) != 1:
        raise click.UsageError("name one of --config FILE, --upstream URL (repeatable) or --engine MODEL")
    # uvicorn raises the signal again once streams have ended: leave in order then, so that an own engine stops too.
    with contextlib.ExitStack() as stack:
        for number in (signal.SIGTERM, signal.SIGINT):
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: sys.exit(0)))
        if engine is not None:
            upstreams = (stack.enter_context(_engine(engine, engine_args, engine_python)),)
        if config_path is not None:
            deployment = configuration.load(config_path, trust=True)
            listen = deployment.config.listen
        else:
            listen = Listen()
        listen = Listen(host=listen.host if host is None else host, port=listen.port if port is None else port)
        if config_path is None:
            key = None if upstream_key_env is None else Secret(env=upstream_key_env)
            deployment = asyncio.run(discover(upstreams, listen=listen, prices=prices, database=DATABASE, api_key=key))
        _serve(deployment, listen, first_key=config_path is None)


@contextlib.contextmanager
def _engine(model: str, args: tuple[str, ...], python: Path) -> Iterator[str]:
    """The URL of a vLLM that lives as long as the gateway."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    engine = engines.start(python, model, port=port, log=Path("engine.log"), flags=args)
    try:
        click.echo(f"starting vLLM with {model!r} on port {port}; its log is engine.log", err=True)
        engine.wait_ready(1800.0)
        yield engine.url
    finally:
        engine.stop()


def _serve(deployment: Deployment, listen: Listen, *, first_key: bool) -> None:
    stores = open_stores(deployment.config.database)
    app = build(deployment, stores)
    server = _Server(
        uvicorn.Config(
            app,
            http=HttpProtocol,
            log_level="warning",
            access_log=False,
            proxy_headers=False,  # nothing here depends on a client's address
            timeout_graceful_shutdown=GRACE_S,
            timeout_keep_alive=75,
            server_header=False,
        )
    )
    with _bound(listen) as listener:
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        server.ready_message = _greeting(deployment, app.state.snapshot, address)
        good = [record for record in stores.keys.all() if record.refusal(time.time()) is None]
        if good:
            server.ready_message += f"\n  keys: {len(good)} good, `gateway keys create` makes another"
        elif first_key:
            server.ready_message += _first_key(stores, address, next(iter(deployment.config.models)))
            app.state.refresh()
        else:
            server.ready_message += NO_KEY
        server.run(sockets=[listener])
    if not server.started:
        raise InputError("the gateway could not start: see the message above")


class _Server(uvicorn.Server):
    """uvicorn, with a message once it answers."""

    ready_message = ""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        click.echo(self.ready_message)
        sys.stdout.flush()


def _bound(listen: Listen) -> socket.socket:
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((listen.host, listen.port))
    except OSError as error:
        listener.close()
        where = f"{listen.host}:{listen.port}"
        raise InputError(f"cannot listen on {where} ({error.strerror}): choose another with --port") from error
    return listener


def _greeting(deployment: Deployment, snapshot: Snapshot, address: str) -> str:
    lines = [f"Tollgate answers on {address}/v1"]
    for model, release in snapshot.live.items():
        pool = deployment.config.pools[deployment.releases[release].pool]
        where = pool.provider.model if pool.provider else ", ".join(replica.url for replica in pool.replicas)
        lines.append(f"  model {model!r}: release {release} on {where}")
        if release in snapshot.gates and (refusal := snapshot.gates[release].explained(time.time())):
            lines.append(f"    no traffic yet: {refusal}" if snapshot.mode == "require" else f"    warning: {refusal}")
    lines.append(f"  verdicts: {'not asked for' if snapshot.mode == 'off' else snapshot.mode}")
    if not deployment.prices.models:
        lines.append("  prices: none, so the ledger says `unpriced` (--prices FILE sets them)")
    return "\n".join(lines)


def _first_key(stores: Stores, address: str, model: str) -> str:
    text, _ = stores.keys.create(
        name="first", team="default", scope="serve", models=None, now=time.time(), ttl_s=None, random_bytes=os.urandom
    )
    return f"""

Your first key, shown this once:

  export TOLLGATE_API_KEY={text}

  curl {address}/v1/chat/completions -H "Authorization: Bearer $TOLLGATE_API_KEY" \\
    -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "messages": [{{"role": "user", "content": "Hello"}}]}}'
"""
