import json
import socket
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from evals import judge_card, judges, run_log
from evals.cli import main
from evals.lines import Manifest, Record
from evals.schema import Answer, Score
from tests.evals.cli.conftest import completion
from tests.evals.judge_bench import verdict

JUDGE = "judge: {model: judge@3, max_retries: 0}\nscorer: {name: judge, as: quality, rubric: correct}\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A judge, and sixty labelled answers of which half are good."""
    (tmp_path / "judge.yaml").write_text(JUDGE)
    lines = [
        {"id": f"a{at}", "input": "q", "answer": "good" if at % 2 else "bad", "label": at % 2, "tags": ["plans"]}
        | {"split": "test" if at < 60 else "dev"}
        for at in range(80)
    ]
    (tmp_path / "labels.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return tmp_path


def honest(body: dict) -> tuple[int, dict]:
    return completion(verdict("pass" if "\ngood\n" in body["messages"][-1]["content"] else "fail"))


def evals(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["judge", *map(str, arguments)])


def measure(folder: Path, url: str, *more: object) -> Result:
    paths = (folder / "judge.yaml", folder / "labels.jsonl", "--out", folder / "card.yaml")
    return evals("measure", *paths, "--base-url", url, *more)


def test_a_judge_is_measured_and_has_a_card(serve: Callable[..., str], folder: Path) -> None:
    done = measure(folder, serve(honest, release="judge@3"), "--split", "test", "--ttl", "30d")
    assert done.exit_code == 0, done.output
    card = judge_card.load(folder / "card.yaml")
    assert card.figures.tpr is not None
    assert (card.figures.tpr.value, card.figures.tpr.samples, card.labels.split) == (1.0, 30, "test")
    assert card.judge.digest == judges.load(folder / "judge.yaml").digest
    assert card.judge.releases[0].startswith("judge@3 sha256:")
    assert (card.expires - card.created).days == 30
    for text in ("tpr", "[0.8843, 1.0000]", "plans", "asked: 60 questions in 60 attempts", "cost: 0.60", card.digest()):
        assert text in done.output


def test_a_measurement_that_never_began_leaves_no_log(serve: Callable[..., str], folder: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        assert measure(folder, closed).exit_code == 3
        assert not (folder / "card.jsonl").exists()
        assert measure(folder, serve(honest)).exit_code == 0
        assert measure(folder, closed).exit_code in (0, 3)
    assert len(run_log.read(folder / "card.jsonl").records) == 80, "evidence is never removed"


def test_a_card_is_shown(serve: Callable[..., str], folder: Path) -> None:
    as_json = json.loads(measure(folder, serve(honest), "--json").stdout)
    shown = evals("show", folder / "card.yaml")
    assert shown.exit_code == 0
    assert "counts until" in shown.output
    assert as_json["card_digest"] in shown.output
    assert json.loads(evals("show", folder / "card.yaml", "--json").output)["card_digest"] == as_json["card_digest"]


def test_a_judge_that_fails_is_said_to_and_asked_again(serve: Callable[..., str], folder: Path) -> None:
    seen: list[str] = []

    def reply(body: dict) -> tuple[int, dict]:
        seen.append("x")
        return completion("prose") if len(seen) <= 5 else honest(body)

    url = serve(reply)
    first = measure(folder, url)
    assert first.exit_code == 3
    assert "failures: 5 samples got no verdict; they count as wrong" in first.output
    assert "judge_failed, such as " in first.stderr
    weak = judge_card.load(folder / "card.yaml")
    again = measure(folder, url)
    assert (again.exit_code, len(seen)) == (0, 85)
    assert "resuming: 5 of 80 verdicts left" in again.output
    whole = judge_card.load(folder / "card.yaml")
    assert whole.figures.accuracy.value == 1.0 > weak.figures.accuracy.value  # type: ignore[union-attr]
    assert measure(folder, url).exit_code == 0
    assert len(seen) == 85
    assert judge_card.load(folder / "card.yaml").judge == whole.judge


def test_a_judge_that_never_judges_ends_the_measurement_without_a_card(serve: Callable[..., str], folder: Path) -> None:
    done = measure(folder, serve(lambda body: completion("prose")))
    assert done.exit_code == 3
    assert "answers got no verdict; the last: " in done.stderr
    assert len(run_log.read(folder / "card.jsonl").records) < 60
    assert not (folder / "card.yaml").exists()


def test_another_judge_does_not_go_on_from_the_log(serve: Callable[..., str], folder: Path) -> None:
    url = serve(honest)
    assert measure(folder, url).exit_code == 0
    (folder / "judge.yaml").write_text(JUDGE.replace("correct", "kind"))
    other = measure(folder, url)
    assert (other.exit_code, "log of another run" in other.output) == (3, True)
    assert measure(folder, url, "--fresh").exit_code == 0
    assert (folder / "card-2.jsonl").exists()


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        (("--ttl", "soon"), "--ttl: expected a number and a unit"),
        (("--split", "none"), "no labelled sample of split 'none'"),
        (("--api-key-env", "NOT_SET_ANYWHERE"), "expected a key in the variable 'NOT_SET_ANYWHERE', found none"),
        (("--metric", "tone"), "choose one with --metric"),
    ],
)
def test_wrong_flags(folder: Path, more: tuple[str, ...], expected: str) -> None:
    done = measure(folder, "http://127.0.0.1:9/v1", *more)
    assert (done.exit_code, expected in done.output) == (3, True), done.output


@pytest.mark.parametrize(
    ("out", "expected"),
    [
        ("judge.yaml", "is there already, and is no judge's card"),
        ("labels.jsonl", "is there already, and is no judge's card"),
        ("card.jsonl", "is the log of verdicts, and cannot be the card"),
    ],
)
def test_a_card_is_written_over_nothing_but_a_card(
    serve: Callable[..., str], folder: Path, out: str, expected: str
) -> None:
    before = {path: path.read_bytes() for path in folder.iterdir()}
    refused = measure(folder, serve(honest), "--out", folder / out)
    assert (refused.exit_code, expected in refused.output) == (3, True), refused.output
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_nobody_there(folder: Path) -> None:
    done = measure(folder, "http://127.0.0.1:9/v1")
    assert (done.exit_code, "nothing usable answers" in done.output) == (3, True)


def judged_run(path: Path, digest: str, passed: int, of: int = 200) -> Path:
    manifest = Manifest(
        suite="s", suite_digest="d", dataset="f", dataset_sha256="d", samples=of, epochs=1, model="m", params={},
        system=None, scorers=[{"name": "judge", "as": "quality"}], judges={"quality": digest},
    )  # fmt: skip
    with run_log.Writer(path, manifest) as writer:
        for at in range(of):
            score = {"quality": Score(float(at < passed))}
            writer.write(Record(id=f"s{at}", digest="d", outcome="scored", scores=score, answer=Answer(text="x")))
        writer.seal()
    return path


def test_raw_and_corrected_stand_side_by_side(serve: Callable[..., str], folder: Path) -> None:
    assert measure(folder, serve(honest)).exit_code == 0
    digest = judge_card.load(folder / "card.yaml").judge.digest
    run = judged_run(folder / "run.jsonl", digest, 120)
    live = judged_run(folder / "live.jsonl", digest, 110)
    (folder / "people.jsonl").write_text(
        "".join(f'{{"id": "s{at}", "label": {int(at < 100)}}}\n' for at in range(0, 200, 4))
    )
    people = folder / "people.jsonl"
    arguments = (folder / "card.yaml", run, "--metric", "quality", "--labels", people, "--baseline", live)
    done = evals("correct", *arguments, "--baseline-labels", people)
    assert done.exit_code == 0, done.output
    for name in ("raw", "Rogan-Gladen", "PPI++", "raw difference", "PPI++ difference"):
        assert f"\n {name}  " in done.output
    lines = json.loads(evals("correct", *arguments, "--json").output)
    assert [line["name"] for line in lines][:3] == ["raw", "Rogan-Gladen", "PPI++"]
    assert "label more of them" in lines[-1]["note"]


def test_a_card_of_another_judge_corrects_nothing(serve: Callable[..., str], folder: Path) -> None:
    assert measure(folder, serve(honest)).exit_code == 0
    run = judged_run(folder / "run.jsonl", "sha256:" + "0" * 64, 5)
    done = evals("correct", folder / "card.yaml", run, "--metric", "quality")
    assert (done.exit_code, "error rates of another judge" in done.output) == (3, True)
    alone = evals("correct", folder / "card.yaml", run, "--metric", "quality", "--baseline-labels", run)
    assert (alone.exit_code, "belongs to --baseline" in alone.output) == (2, True)


def test_an_old_log_makes_no_young_card(serve: Callable[..., str], folder: Path) -> None:
    url = serve(honest)
    assert measure(folder, url).exit_code == 0
    log, digest = folder / "card.jsonl", judge_card.load(folder / "card.yaml").digest()
    old = msgspec.structs.replace(run_log.read(log).manifest, created="2020-01-01T00:00:00+00:00", prev="")
    records = run_log.read(log).records
    log.unlink()
    with run_log.Writer(log, old) as writer:
        for record in records:
            writer.write(record)
    assert measure(folder, url).exit_code == 0
    card = judge_card.load(folder / "card.yaml")
    assert (card.created.year, card.digest() == digest) == (2020, False)
    assert "expired on 2020-03-31" in evals("show", folder / "card.yaml").output


GATE = """\
gate: release
suite: faq
dataset_sha256: {dataset}
min_clusters: 2
metrics: [{{metric: exact, test: absolute, at_least: 0.8}}]
"""
FLOOR = (
    "judges: [{{metric: exact, card: card.yaml, card_digest: {pin}, min_tpr: {least}, min_tnr: 0.9, min_kappa: 0.8}}]\n"
)


def test_a_gate_asks_for_the_judges_card(
    serve: Callable[..., str], folder: Path, make_log: Callable[..., Path], tmp_path: Path
) -> None:
    assert measure(folder, serve(honest)).exit_code == 0
    card = judge_card.load(folder / "card.yaml")
    values = {f"s{at:03}": 1.0 for at in range(100)}
    run = make_log(folder / "run.jsonl", values, judges={"exact": card.judge.digest})
    dataset = run_log.read(run).manifest.dataset_sha256
    (folder / "card.yaml").write_text((folder / "card.yaml").read_text().replace("metric: quality", "metric: exact"))
    pin = judge_card.load(folder / "card.yaml").digest()
    for floor, code, text in (
        ("", 3, "evals judge measure SUITE LABELS --metric exact"),
        (FLOOR.format(pin=pin, least=0.9), 0, f"card {pin}"),
        (FLOOR.format(pin=pin, least=0.99), 3, "and the gate asks for 0.99"),
        (FLOOR.format(pin=card.digest(), least=0.9), 3, f"the gate pins {card.digest()}"),
        ("judges_unmeasured: allow\n", 0, "verdicts of judges without a card"),
    ):
        (folder / "gate.yaml").write_text(GATE.format(dataset=dataset) + floor)
        arguments = ["gate", folder / "gate.yaml", "--candidate", run, "--out", tmp_path / "verdicts"]
        done = CliRunner().invoke(main, [str(one) for one in arguments])
        assert (done.exit_code, text in " ".join(done.output.split())) == (code, True), done.output
