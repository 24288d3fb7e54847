"""`gateway serve`: the gateway itself, from a configuration or from the URLs of running engines."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import astuple
from functools import partial
from pathlib import Path

import click

from gateway import logs
from gateway.app import Application, build
from gateway.cli import admin_port, serving
from gateway.cli.common import DATABASE
from gateway.config import Deployment, Listen
from gateway.contracts.commands import Number
from gateway.contracts.documents import Secret
from gateway.control_plane import engine as engines
from gateway.control_plane.current import REFUSED, priced, taken
from gateway.control_plane.discovery import discover
from gateway.control_plane.reload import Watch, follow
from gateway.control_plane.state import State
from gateway.control_plane.workers import Workers
from gateway.costs.fleet import unpriced
from gateway.gauges import WORKERS_FOLDER
from gateway.stores.bundle import Stores, open_stores
from gateway.stores.database import require_writable

NO_KEY = "\n  keys: none that is good, `gateway keys create --config FILE` makes one"
WORKER = "gateway.cli.worker"
DRAIN = "TOLLGATE_DRAIN"
BACKLOG = 2048

log = logging.getLogger("tollgate")


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
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes, one for each core.")
@click.option(
    "--drain", type=Number(0, 3600), default=0.0, envvar=DRAIN, show_default=True,
    help="Seconds after SIGTERM in which it still accepts, while /ready says 503.",
)  # fmt: skip
@click.option(
    "--grace", type=Number(0, 86_400), default=30.0, show_default=True,
    help="Seconds that running streams get after that.",
)  # fmt: skip
@click.option(
    "--keep-alive", type=Number(0, 86_400, min_open=True), default=75.0, show_default=True,
    help="Seconds that a connection may be idle: longer than the load balancer's own.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(logs.FORMATS), envvar=logs.FORMAT, default="text", show_default=True,
    help="Of the log on standard error.",
)  # fmt: skip
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
    workers: int,
    drain: float,
    grace: float,
    keep_alive: float,
    log_format: str,
    prices: Path | None,
) -> None:
    """Serve models behind one keyed, metered, OpenAI-compatible endpoint.

    With --upstream there is nothing to configure: the engines are asked what they serve, the first key is printed once,
    and the ledger is tollgate.db in the working directory.

    A configuration, and every file that it names, is read again when it changes and on SIGHUP. What does not validate
    changes nothing. SIGTERM and Ctrl-C let running streams end first; a second one cuts them. Behind a load balancer
    that asks /ready, give --drain more seconds than it takes to notice.

    \b
    Examples:
      gateway serve --upstream http://10.0.0.7:8000 --upstream http://10.0.0.8:8000
      gateway serve --config gateway.yaml --workers 4
      gateway serve --engine Qwen/Qwen3-8B --engine-arg=--max-model-len=8192
    """
    if sum((config_path is not None, bool(upstreams), engine is not None)) != 1:
        raise click.UsageError("name one of --config FILE, --upstream URL (repeatable) or --engine MODEL")
    os.environ[logs.FORMAT] = log_format  # for workers too
    # Leave in order from the start on, so that an own engine stops too.
    with contextlib.ExitStack() as stack:
        for number in serving.STOPPING:
            stack.callback(signal.signal, number, signal.signal(number, lambda *_: sys.exit(0)))
        # Until it serves there is nothing to read again, and an own engine must not be left behind.
        stack.callback(signal.signal, signal.SIGHUP, signal.signal(signal.SIGHUP, signal.SIG_IGN))
        if engine is not None:
            upstreams = (stack.enter_context(_engine(engine, engine_args, engine_python)),)
        watch = None if config_path is None else Watch(config_path, time.monotonic)
        listen = Listen() if watch is None else watch.deployment.config.listen
        listen = Listen(host=listen.host if host is None else host, port=listen.port if port is None else port)
        if watch is None:
            key = None if upstream_key_env is None else Secret(env=upstream_key_env)
            deployment = asyncio.run(discover(upstreams, listen=listen, prices=prices, database=DATABASE, api_key=key))
        else:
            deployment = watch.deployment
        code = _serve(deployment, listen, watch, workers, serving.Times(drain, grace, keep_alive))
    sys.exit(code)


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


def _serve(deployment: Deployment, listen: Listen, watch: Watch | None, workers: int, times: serving.Times) -> int:
    stores = open_stores(deployment.config.database, deployment.config.ledger.spool)
    require_writable(stores.database, stores.url)
    priced(deployment, stores, time.time())
    admin = deployment.config.admin
    with (
        serving.bound(listen.host, listen.port, "choose another with --port") as listener,
        admin_port.door(admin) as door,
    ):
        host, port = listener.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        greeting = _greeting(deployment, stores, address)
        if told := serving.allow_files():
            greeting += f"\n  {told}"
        good = [record for record in stores.keys.all() if record.refusal(time.time()) is None]
        if good:
            greeting += f"\n  keys: {len(good)} good, `gateway keys create` makes another"
        elif watch is None:
            greeting += _first_key(stores, address, next(iter(deployment.config.models)))
        else:
            greeting += NO_KEY
        greeting += "" if door is None else door.greeting
        if workers > 1:
            return serving.run(_together(deployment, stores, watch, listener, greeting, door, workers, times))
        return serving.run(_alone(build(deployment, stores), stores, watch, listener, greeting, door, times))


async def _alone(
    app: Application,
    stores: Stores,
    watch: Watch | None,
    listener: socket.socket,
    greeting: str,
    door: admin_port.Door | None,
    times: serving.Times,
) -> int:
    """Serve in this process."""
    asked = asyncio.Event()
    with serving.signals({signal.SIGHUP: asked.set}):
        async with admin_port.alone(door, app, stores, watch, asked) as take:

            async def beside() -> None:
                _say(greeting)
                await _follow(watch, asked, take)

            await serving.serve(app, listener, times=times, beside=beside)
    return 0


async def _together(
    deployment: Deployment,
    stores: Stores,
    watch: Watch | None,
    listener: socket.socket,
    greeting: str,
    door: admin_port.Door | None,
    count: int,
    times: serving.Times,
) -> int:
    """Serve in processes of their own. This one owns the configuration, the socket, and an engine if there is one."""
    listener.listen(BACKLOG)
    with tempfile.TemporaryDirectory(prefix="tollgate-metrics-") as metrics:
        workers = Workers(
            # -P: nothing in the working directory takes a module's place.
            command=[sys.executable, "-P", "-m", WORKER, str(listener.fileno()), *map(str, astuple(times))],
            count=count,
            fds=[listener.fileno()],
            environment={**os.environ, WORKERS_FOLDER: metrics},
            metrics=Path(metrics),
            deployment=deployment,
            grace_s=times.longest_s,
            monotonic=time.monotonic,
        )

        def stop() -> None:
            listener.close()
            workers.stop()

        async def tell(found: Deployment | None) -> str | None:
            # Asked here too: a worker that takes a dead one's place is to get what serves, not what the others refused.
            refusal = REFUSED
            if found is not None:
                refusal = await taken(partial(asyncio.to_thread, priced, found, stores, time.time()))
            await workers.tell(found if refusal is None else None)
            return refusal

        asked = asyncio.Event()
        with serving.signals({**dict.fromkeys(serving.STOPPING, stop), signal.SIGHUP: asked.set}):
            async with admin_port.together(door, workers, tell, stores, watch, asked) as take:
                follower = asyncio.create_task(_follow(watch, asked, take))
                follower.add_done_callback(serving.parted)
                try:
                    return await workers.run(lambda: _say(greeting))
                finally:
                    follower.cancel()


async def _follow(
    watch: Watch | None, asked: asyncio.Event, take: Callable[[Deployment | None], Awaitable[object]]
) -> None:
    """Follow the configuration for as long as the gateway runs; `asked` is SIGHUP."""
    if watch is not None:
        await follow(watch, asked, take)
    while True:
        await asked.wait()
        asked.clear()
        log.warning("SIGHUP: there is no configuration to read again, --config FILE names one")


def _say(message: str) -> None:
    click.echo(message)
    sys.stdout.flush()


def _greeting(deployment: Deployment, stores: Stores, address: str) -> str:
    snapshot = State(deployment, stores.keys, stores.releases, time.time, pools={}).snapshot
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
    lines += [f"  GPU money: {each}" for each in unpriced(deployment.config)]
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
