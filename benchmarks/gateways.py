"""What is compared: how each gateway is installed, configured for two engines and started, and what it must send back.

Each is configured for its own best case: no log of requests, one worker for one core, as many connections as it likes.
"""

import json
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import install, tollgate
from benchmarks.machine import free_port

LITELLM = "litellm[proxy]==1.106.2"
VLLM_ROUTER = "vllm-router==0.1.17"
SGLANG_ROUTER = "sglang-router==0.3.2"
PORTKEY = "@portkey-ai/gateway@1.15.2"
PORTKEY_SERVER = "@hono/node-server@1.13.8"
"""From 1.14 on it gives Portkey headers that cannot be changed, and each of Portkey's streams ends in status 500."""


@dataclass(frozen=True)
class Place:
    """Where a gateway is to run: its port, the engines' URLs, and an empty folder for its files."""

    port: int
    engines: tuple[str, ...]
    folder: Path


@dataclass(frozen=True)
class Launch:
    """A gateway, ready to be started. Without a command the load goes to `port` as it is.

    `verbatim`: its answers have the engine's length. `audit` tells, after its end, what its own books say.
    """

    version: str
    command: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[str, ...] = ()
    verbatim: bool = True
    port: int | None = None
    audit: Callable[[], dict[str, object]] | None = None


def direct(place: Place) -> Launch:
    """No gateway: what engine and load generator reach by themselves."""
    return Launch("-", port=int(place.engines[0].rpartition(":")[2]))


NGINX_CONF = """\
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 8192; multi_accept on; }}
http {{
  access_log off; tcp_nodelay on; keepalive_requests 1000000000; keepalive_timeout 300s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi; client_body_buffer_size 128k;
  upstream engines {{ {servers} keepalive 2048; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://engines; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
      proxy_read_timeout 300s;
    }}
  }}
}}
"""


def nginx(place: Place) -> Launch:
    """A plain reverse proxy: the floor under everything that looks at no byte."""
    program = install.system_program("nginx")
    version = subprocess.run([program, "-v"], capture_output=True, text=True, check=True).stderr
    servers = " ".join(f"server {url.removeprefix('http://')};" for url in place.engines)
    conf = place.folder / "nginx.conf"
    conf.write_text(NGINX_CONF.format(folder=place.folder, servers=servers, port=place.port), encoding="utf-8")
    return Launch(version.strip().rpartition("/")[2], [str(program), "-p", str(place.folder), "-c", str(conf)])


def litellm(place: Place) -> Launch:
    """LiteLLM's proxy without keys and without a database, its fastest."""
    entry = {"model": "openai/bench", "api_key": "unused", "input_cost_per_token": 2e-7, "output_cost_per_token": 6e-7}
    config = {
        "model_list": [
            {"model_name": "bench", "litellm_params": {**entry, "api_base": f"{url}/v1"}} for url in place.engines
        ],
        "litellm_settings": {"set_verbose": False, "json_logs": True, "telemetry": False, "request_timeout": 600},
    }
    path = place.folder / "litellm.yaml"
    path.write_text(json.dumps(config), encoding="utf-8")  # JSON is YAML
    tools = install.python_package(LITELLM)
    env = {
        "LITELLM_LOG": "ERROR",
        "LITELLM_MODE": "PRODUCTION",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        "LITELLM_TELEMETRY": "False",
        "LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true",
        "NO_DOCS": "True",
        "DISABLE_ADMIN_UI": "True",
    }
    command = [str(tools / "litellm"), "--config", str(path), "--host", "127.0.0.1", "--port", str(place.port)]
    return Launch(_version(LITELLM), [*command, "--num_workers", "1"], env, verbatim=False)


def portkey(place: Place) -> Launch:
    """Portkey's open gateway; its routing comes with each request, in a header."""
    folder = install.node_package(PORTKEY, PORTKEY_SERVER)
    targets = [
        {"provider": "openai", "api_key": "unused", "custom_host": f"{url}/v1", "weight": 1} for url in place.engines
    ]
    routing = json.dumps({"strategy": {"mode": "loadbalance"}, "targets": targets}, separators=(",", ":"))
    command = ["node", str(folder / "build/start-server.js"), f"--port={place.port}", "--headless"]
    env = {"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    return Launch(PORTKEY.rpartition("@")[2], command, env, (f"x-portkey-config: {routing}",), verbatim=False)


def _router(place: Place, command: Sequence[str], version: str, flags: Sequence[str]) -> Launch:
    flags = ["--host", "127.0.0.1", "--port", str(place.port), "--worker-urls", *place.engines, *flags]
    return Launch(version, [*command, *flags, "--prometheus-port", str(free_port())])


IN_TURN = ("--policy", "round_robin", "--max-concurrent-requests", "4096")


def vllm_router(place: Place, flags: Sequence[str] = IN_TURN) -> Launch:
    """vLLM's router in Rust: no keys, no money."""
    program = install.python_package(VLLM_ROUTER) / "vllm-router"
    return _router(place, [str(program)], _version(VLLM_ROUTER), [*flags, "--log-level", "warning"])


def sglang_router(place: Place, flags: Sequence[str] = IN_TURN) -> Launch:
    """SGLang's router in Rust: no keys, no money."""
    python = install.python_package(SGLANG_ROUTER) / "python"
    command = [str(python), "-m", "sglang_router.launch_router"]
    return _router(place, command, _version(SGLANG_ROUTER), [*flags, "--log-level", "warn"])


def ours(place: Place) -> Launch:
    """Tollgate with everything on: keys, limits, verdicts, rules, a queue, scores, usage, prices, the ledger."""
    return _ours(place, tollgate.EVERYTHING)


def ours_plain(place: Place) -> Launch:
    """Tollgate without rules, limits, queue and scores: keys, verdicts, usage, prices and the ledger."""
    return _ours(place, tollgate.PLAIN)


def _ours(place: Place, setup: tollgate.Setup) -> Launch:
    gate = tollgate.prepare(place.folder, place.port, place.engines, setup)
    return Launch(gate.version, gate.command, headers=(f"authorization: Bearer {gate.key}",), audit=gate.audit)


def _version(requirement: str) -> str:
    return requirement.partition("==")[2]


GATEWAYS: dict[str, Callable[[Place], Launch]] = {
    "direct": direct,
    "nginx": nginx,
    "litellm": litellm,
    "portkey": portkey,
    "sglang-router": sglang_router,
    "vllm-router": vllm_router,
    "tollgate": ours,
    "tollgate-plain": ours_plain,
}
