"""The images: what is in them, who runs in them, how they are built."""

import json
import re
import tomllib

import pytest

from tests.docker.stack import DOCKERFILES, ROOT, said, steps

SERVED = [("Dockerfile", "gateway"), ("vllm-cpu.Dockerfile", "vllm-cpu")]
IMAGES = [*SERVED, ("Dockerfile", "evals")]
LOCKS = ROOT / "configs" / "locks"
BASE = re.compile(r"BASE_IMAGE=python:3\.\d+\.\d+-slim-[a-z]+@sha256:[0-9a-f]{64}")


def _locked(name: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (LOCKS / name).read_text(encoding="utf-8"), re.MULTILINE))


@pytest.mark.parametrize("file", DOCKERFILES)
def test_the_base_is_an_argument_pinned_by_digest(file: str) -> None:
    (argument,) = [each.text for each in steps(file) if each.stage == ""]
    assert BASE.fullmatch(argument)
    stages = {each.stage for each in steps(file)}
    for each in steps(file):
        if each.name == "FROM":
            assert each.text.split(" AS ")[0] in {"${BASE_IMAGE}"} | stages, each.text


def test_both_files_have_the_same_base() -> None:
    assert len({steps(file)[0].text for file in DOCKERFILES}) == 1


@pytest.mark.parametrize(("file", "stage"), IMAGES)
def test_nobody_in_particular_runs_a_list(file: str, stage: str) -> None:
    assert said(file, stage, "USER")[-1] == "10001:10001"
    (entrypoint,) = said(file, stage, "ENTRYPOINT")
    assert json.loads(entrypoint), "an exec-form list"
    assert json.loads(said(file, stage, "CMD")[-1])


@pytest.mark.parametrize(("file", "stage"), IMAGES)
def test_labels_say_what_it_is(file: str, stage: str) -> None:
    (labels,) = said(file, stage, "LABEL")
    found = dict(re.findall(r'org\.opencontainers\.image\.([a-z.]+)="([^"]+)"', labels))
    assert found.keys() == {"title", "description", "licenses", "vendor", "version", "revision"}


@pytest.mark.parametrize(("file", "stage"), SERVED)
def test_what_serves_says_how_it_is_and_stops_by_sigterm(file: str, stage: str) -> None:
    assert said(file, stage, "STOPSIGNAL") == ["SIGTERM"]
    (check,) = said(file, stage, "HEALTHCHECK")
    command = json.loads(check.partition("CMD ")[2])
    compile(command[-1], "the health check", "exec")
    assert "/health" in command[-1]


def test_a_job_has_no_health() -> None:
    assert said("Dockerfile", "evals", "HEALTHCHECK") == ["NONE"]


def test_the_gateway_lets_streams_end() -> None:
    arguments = json.loads(said("Dockerfile", "gateway", "CMD")[-1])
    assert float(arguments[arguments.index("--grace") + 1]) == 45


def test_what_is_installed_is_installed_by_hash() -> None:
    runs = [each.text for each in steps("Dockerfile") if each.name == "RUN"]
    installs = [
        part for run in runs for part in run.split("&&") if re.search(r"\b(?:pip (?:install|sync)|uv pip)\b", part)
    ]
    assert len(installs) == 5
    for each in installs:
        assert "--require-hashes" in each or ("--offline" in each and "--no-deps" in each), each
    for name in ("build.txt", "gateway-image.txt", "evals-image.txt"):
        text = (LOCKS / name).read_text(encoding="utf-8")
        pins, entries = re.findall(r"^\S+==", text, re.MULTILINE), re.split(r"\n(?=\S)", text.strip())
        assert len(pins) == len(entries)
        assert all("--hash=sha256:" in each for each in entries), name


@pytest.mark.parametrize(
    ("lock", "extras", "banned"),
    [
        ("gateway-image.txt", ["postgres", "redis"], {"torch", "ragas", "pandas", "numpy", "litellm", "pyarrow"}),
        ("evals-image.txt", ["evals"], {"torch", "psycopg", "litellm"}),
    ],
)
def test_a_lock_has_what_its_image_needs_in_the_versions_that_are_tested(
    lock: str, extras: list[str], banned: set[str]
) -> None:
    found, tested = _locked(lock), _locked("dev.txt")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [each for extra in extras for each in project["optional-dependencies"][extra]]
    names = {re.split(r"[\[<>=;]", each)[0].strip().lower() for each in wanted}
    assert names <= found.keys()
    assert not banned & found.keys()
    assert {name: tested.get(name) for name in found} == found


def test_a_build_sees_what_it_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    copied = [each for file in DOCKERFILES for each in steps(file) if each.name == "COPY" and "--from" not in each.text]
    sources = {source for each in copied for source in each.text.split()[:-1]}
    for source in sources:
        assert any(source == rule or source.startswith(f"{rule}/") for rule in let_in), source
    for rule in let_in:
        assert any(source == rule or source.startswith(f"{rule}/") for source in sources), rule
    assert all((ROOT / source).exists() for source in sources)


def test_secrets_of_a_build_are_mounted() -> None:
    for file in DOCKERFILES:
        for each in steps(file):
            assert each.name not in ("ARG", "ENV") or not re.search(r"PASSWORD|TOKEN|SECRET|API_KEY", each.text)
            if each.name == "RUN" and "PIP" in each.text:
                assert "--mount=type=secret" in each.text
