"""The demo's machines: vLLM engines with their models, and the gateway in front of them."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from show import console, fail, installed, note, run

from gateway.contracts import release
from gateway.contracts.errors import InputError
from gateway.control_plane import engine

HERE = Path("configs/demo")
WORK = Path(".demo")
DATA = Path("datasets/orbit-faq")
VLLM = Path(".vllm/bin/python")
# One thread each and no worker process: three engines share two cores, and start in a third of the time.
ENGINE_ENV = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_HOST_IP": "127.0.0.1",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}
ENGINE_FLAGS = (
    *("--served-model-name", "faq", "--distributed-executor-backend", "uni"),
    *("--enable-prompt-tokens-details", "--disable-uvicorn-access-log"),
)
READY_S = 300.0


@dataclass(frozen=True)
class Keys:
    """Two virtual keys: one for users, one for the harness."""

    serve: str
    evaluate: str


@dataclass
class Plan:
    """What runs where. `bits` says how coarsely a release's weights are rounded; None: not at all."""

    port: int
    config: Path
    suite: Path
    gates: dict[str, Path]
    story: dict[str, str]
    engines: dict[str, tuple[int, int | None]]
    question: str
    manifests: Path = HERE / "releases"
    verdicts: Path = WORK / "verdicts"
    pids: list[int] = field(default_factory=list)
    running: list[engine.Engine] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the gateway listens."""
        return f"http://127.0.0.1:{self.port}"

    def manifest(self, name: str) -> Path:
        """The manifest of a release."""
        return self.manifests / f"{name.replace('@', '-')}.yaml"

    def prepare(self) -> None:
        """Install vLLM, unpack the models, and clear what an earlier demo left."""
        if self.engines:
            install()
        WORK.mkdir(exist_ok=True)
        for path in (*WORK.glob("tollgate.db*"), *WORK.glob("gate.p*"), WORK / "verdicts", WORK / "runs"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for name, (_, bits) in self.engines.items():
            unpack(release.load(self.manifest(name)), bits)

    def start(self, stack: ExitStack) -> None:
        """Start everything; the stack ends it again."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", self.port))
            except OSError:
                fail(f"port {self.port} is in use: end what listens there, or try `make demo PORT=8081`")
        self.running = [self._engine(name, port, stack) for name, (port, _) in self.engines.items()]
        for name, (port, _) in self.engines.items():
            note(f"  vLLM loads {name} on port {port}")
        run(["evals", "keys", "--private", str(WORK / "gate.pem"), "--public", str(WORK / "gate.pub")])
        self._gateway(stack)

    def wait(self) -> None:
        """Wait until every engine answers."""
        with console.status("vLLM starts") as status:
            for each in self.running:
                each.wait_ready(READY_S, lambda s: status.update(f"vLLM starts on the CPU: {s:.0f} s"))
        note("every engine answers", style="green")

    def _engine(self, name: str, port: int, stack: ExitStack) -> engine.Engine:
        manifest = release.load(self.manifest(name))
        flags = list(ENGINE_FLAGS)
        for flag, value in manifest.engine.flags.items():
            flags += [f"--{flag}"] if value is True else [f"--{flag}", str(value)]
        log = WORK / f"{name}.engine.log"
        started = engine.start(
            VLLM.absolute(), str((WORK / "models" / name).absolute()), port=port, log=log, flags=flags, env=ENGINE_ENV
        )
        stack.callback(started.stop)
        self.pids.append(started.process.pid)
        return started

    def _gateway(self, stack: ExitStack) -> None:
        command = ["gateway", "serve", "--config", str(self.config), "--port", str(self.port)]
        note(f"$ {' '.join(command)} &", style="dim")
        with (WORK / "gateway.log").open("wb") as log:
            program = [installed(command[0]), *command[1:]]
            process = subprocess.Popen(program, stdout=log, stderr=log, start_new_session=True)
        stack.callback(_end, process)
        self.pids.append(process.pid)
        for _ in range(200):
            if process.poll() is not None:
                raise InputError(f"the gateway did not start:\n{(WORK / 'gateway.log').read_text()}")
            if "answers on" in (text := (WORK / "gateway.log").read_text()):
                note(text.rstrip())
                return
            time.sleep(0.05)
        raise InputError("the gateway did not answer within 10 s")

    def keys(self) -> Keys:
        """Two virtual keys, as an operator makes them."""
        return Keys(self._key("--team", "support"), self._key("--team", "quality", "--scope", "evaluate"))

    def _key(self, *options: str) -> str:
        command = ["gateway", "keys", "create", *options, "--config", str(self.config)]
        note(f"$ {' '.join(command)}", style="dim")
        program = [installed(command[0]), *command[1:], "--json"]
        made = subprocess.run(program, capture_output=True, text=True, check=True)
        key = str(json.loads(made.stdout)["key"])
        note(f"{key[:18]}… (shown whole, once, to the one who makes it)")
        return key


def install() -> None:
    """vLLM's CPU build; where it cannot be had, say so in one line."""
    code = subprocess.run([str(HERE / "install_vllm.sh")], check=False).returncode
    if code != 0:
        fail("start vLLM yourself, anywhere, and run: make demo ENGINE_URL=http://HOST:8000")


def unpack(manifest: release.ReleaseManifest, bits: int | None) -> None:
    """The folder that vLLM loads, checked file by file against the release's manifest."""
    folder = WORK / "models" / manifest.name
    if not folder.is_dir():
        folder.parent.mkdir(exist_ok=True)
        if bits is None:
            shutil.copytree(DATA / "model", folder)
        else:
            program = [sys.executable, str(DATA / "degrade.py"), str(DATA / "model"), str(folder), "--bits", str(bits)]
            subprocess.run(program, check=True, stdout=subprocess.DEVNULL)
    release.verify_files(manifest, folder)
    note(f"  {manifest.name}: {manifest.notes} ({len(manifest.model.files)} files as the manifest says)")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def on_this_machine(port: int) -> Plan:
    """Three engines on vLLM's CPU build: the trained weights, a fine rounding of them, a crude one."""
    return Plan(
        port=port,
        config=HERE / "gateway.yaml",
        suite=HERE / "suite.yaml",
        gates={"first": HERE / "gate-first.yaml", "next": HERE / "gate.yaml"},
        story={
            "faq@2": "faq@2 rounds the weights to 8 bits. Nothing should change.",
            "faq@3": "faq@3 rounds them to 3 bits. It starts, it answers, it raises no error.",
        },
        engines={"faq@1": (8101, None), "faq@2": (8102, 8), "faq@3": (8103, 3)},
        question="Could you tell me how expensive the Free plan is?",
    )
