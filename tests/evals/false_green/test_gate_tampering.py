"""Nobody may change a log, a data set, a policy or a verdict and keep the green light: each is refused, with reason."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from gateway.contracts import attestation
from tests.evals.false_green.conftest import Release, right
from tests.evals.false_green.pairs import PASSED, Pair, scores

Lines = list[bytes]
ENVELOPE = "verdicts/faq@2.dsse.json"


def flat(text: str) -> str:
    return " ".join(text.split())


def value(lines: Lines) -> Lines:
    at = next(i for i, line in enumerate(lines) if b'"value":0.0' in line)
    return [*lines[:at], lines[at].replace(b'"value":0.0', b'"value":1.0'), *lines[at + 1 :]]


LOGS: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "a value edited": (value, "it does not follow from line"),
    "a bad line removed": (lambda lines: [*lines[:1], *lines[2:]], "line 2: it does not follow from line 1"),
    "a line added": (lambda lines: [*lines[:5], lines[5], *lines[5:]], "line 7: it does not follow"),
    "two lines swapped": (lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]], "line 4: it does not follow"),
    "the seal removed": (lambda lines: lines[:-1], "the run is unfinished"),
    "the last sample and the seal removed": (lambda lines: lines[:-2], "the run is unfinished"),
    "the seal torn": (lambda lines: [*lines[:-1], lines[-1][:-4]], "the last line is torn"),
    "the manifest edited": (
        lambda lines: [lines[0].replace(b'"limit":null', b'"limit":100'), *lines[1:]],
        "line 2: it does not follow from line 1",
    ),
    "a line of another log": (lambda lines: [*lines[:-1], b'{"kind":"end","prev":"","records":0}\n'], "not follow"),
    "no log at all": (lambda lines: [b"{}\n"], "is no run log"),
}


@pytest.mark.parametrize("name", LOGS)
def test_a_tampered_log_is_refused(pair: Pair, name: str) -> None:
    change, because = LOGS[name]
    pair.logs(scores(200, 5), scores(200, 5))
    assert pair.gate().exit_code == PASSED
    path = pair.folder / "b.jsonl"
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))
    decided = pair.flags("gate.yaml")
    assert (decided.exit_code, because in flat(decided.output)) == (3, True), decided.output


@pytest.fixture
def signed(pair: Pair, evals) -> Pair:
    """A signed verdict of pass in `verdicts/`, with all that it rests on beside it."""
    assert evals("keys", "--private", "gate.pem", "--public", "gate.pub").exit_code == 0
    pair.logs(scores(200, 5), scores(200, 5))
    pair.gate()
    assert pair.flags("gate.yaml", "--sign-with", "gate.pem").exit_code == PASSED
    return pair


RESTS = ("--gate", "gate.yaml", "--candidate", "b.jsonl", "--baseline", "a.jsonl")


def test_a_verdict_rests_on_its_files(signed: Pair, evals) -> None:
    verified = evals("verify", ENVELOPE, "--key", "gate.pub", *RESTS)
    assert verified.exit_code == 0, verified.output
    assert "rests on exactly these files: gate.yaml, b.jsonl, a.jsonl" in verified.stdout


def test_a_gate_that_was_changed_after_its_verdict(signed: Pair, evals) -> None:
    """A comment changes nothing; a wider margin, which would have passed more, is another policy."""
    path = signed.folder / "gate.yaml"
    path.write_text("# reviewed\n" + path.read_text())
    assert evals("verify", ENVELOPE, "--key", "gate.pub", *RESTS).exit_code == 0
    path.write_text(path.read_text().replace("margin: 0.1", "margin: 0.2"))
    verified = evals("verify", ENVELOPE, "--key", "gate.pub", *RESTS)
    assert verified.exit_code == 3
    assert "it rests on the gate 'g' sha256:" in flat(verified.stderr)


@pytest.mark.parametrize(("log", "role"), [("b.jsonl", "candidate's log"), ("a.jsonl", "baseline's log")])
def test_a_log_that_was_written_anew(signed: Pair, evals, log: str, role: str) -> None:
    """The chain of its lines is mended, so the log is whole; it is not the one that was decided on."""
    signed.edited(lambda position, record: record, log, model="faq@2 ")
    verified = evals("verify", ENVELOPE, "--key", "gate.pub", *RESTS)
    assert (verified.exit_code, f"the {role}" in flat(verified.stderr)) == (3, True), verified.output


def test_a_verdict_of_one_log_rests_on_no_other(signed: Pair, evals) -> None:
    verified = evals("verify", ENVELOPE, "--key", "gate.pub", "--candidate", "a.jsonl", "--run", "b.jsonl")
    assert verified.exit_code == 3
    assert "rests on the candidate's log 'b.jsonl'" in flat(verified.stderr)
    assert "rests on the baseline's log 'a.jsonl'" in flat(verified.stderr)


def test_a_data_set_that_was_changed(release: Release) -> None:
    """An answer key that was mended after the run: the log, the gate and the verdict all say which data it was."""
    assert release.evals("keys", "--private", "gate.pem", "--public", "gate.pub").exit_code == 0
    assert release.run(right).exit_code == 0
    assert release.decide("--sign-with", "gate.pem").exit_code == 0
    rests = ("--gate", "gate.yaml", "--run", "run.jsonl", "--dataset", "questions.jsonl")
    assert release.evals("verify", ENVELOPE, "--key", "gate.pub", *rests).exit_code == 0
    path = release.folder / "questions.jsonl"
    path.write_text(path.read_text().replace('"reference": "7"', '"reference": "8"', 1))
    verified = release.evals("verify", ENVELOPE, "--key", "gate.pub", *rests)
    assert (verified.exit_code, "it rests on the data set" in flat(verified.stderr)) == (3, True)
    release.run(right, out="again.jsonl")
    decided = release.decide(out="again.jsonl")
    assert (decided.exit_code, "the gate is for sha256:" in flat(decided.output)) == (3, True)
    planned = release.evals("plan", "gate.yaml")
    assert (planned.exit_code, "the gate is for" in flat(planned.stderr)) == (3, True)


def test_an_edited_payload(signed: Pair, evals) -> None:
    path = Path(ENVELOPE)
    envelope = json.loads(path.read_bytes())
    payload = base64.b64decode(envelope["payload"])
    for before, after in ((b'"margin":0.1', b'"margin":0.2'), (b"faq@2", b"faq@3"), (b'"pass"', b'"waived"')):
        assert before in payload
        edited = envelope | {"payload": base64.b64encode(payload.replace(before, after)).decode()}
        path.write_text(json.dumps(edited))
        verified = evals("verify", ENVELOPE, "--key", "gate.pub")
        assert (verified.exit_code, "no trusted key signed these bytes" in flat(verified.stderr)) == (3, True)


def test_a_verdict_of_a_stranger(signed: Pair, evals) -> None:
    evals("keys", "--private", "other.pem", "--public", "other.pub")
    assert signed.flags("gate.yaml", "--sign-with", "other.pem").exit_code == PASSED
    verified = evals("verify", ENVELOPE, "--key", "gate.pub")
    assert (verified.exit_code, "no trusted key" in flat(verified.stderr)) == (3, True)
    assert evals("verify", ENVELOPE, "--key", "gate.pub", "--key", "other.pub").exit_code == 0


def test_a_verdict_of_another_release(signed: Pair, evals) -> None:
    manifest = "schema: tollgate.release/v1\nname: faq@2\nmodel: {id: other-weights}\nengine: {name: vllm}\n"
    Path("faq-2.yaml").write_text(manifest)
    verified = evals("verify", ENVELOPE, "--key", "gate.pub", "--release", "faq-2.yaml")
    assert (verified.exit_code, "it is about faq@2 sha256:" in flat(verified.stderr)) == (3, True)


@pytest.mark.parametrize(("days", "because"), [(-30, "it expired at"), (30, "in the future")])
def test_a_verdict_out_of_its_time(signed: Pair, evals, days: int, because: str) -> None:
    """Signed by the right key, and not for today."""
    verdict = attestation.verify(Path(ENVELOPE).read_bytes(), [attestation.load_public(Path("gate.pub"))])
    created = datetime.now(UTC) + timedelta(days=days)
    moved = verdict.predicate.model_copy(update={"created": created, "expires": created + timedelta(days=14)})
    old = verdict.model_copy(update={"predicate": moved})
    Path(ENVELOPE).write_bytes(attestation.sign(old, attestation.load_private(Path("gate.pem"))))
    verified = evals("verify", ENVELOPE, "--key", "gate.pub")
    assert (verified.exit_code, because in flat(verified.stderr)) == (3, True), verified.output


def test_a_signed_fail_is_no_green_light(signed: Pair, evals) -> None:
    """A good signature under a bad verdict: whoever asks `verify` for an exit code must not read it as a pass."""
    for log in ("a.jsonl", "b.jsonl"):
        (signed.folder / log).unlink()
    signed.logs(scores(200, 100), scores())
    assert signed.flags("gate.yaml", "--sign-with", "gate.pem").exit_code == 1
    verified = evals("verify", ENVELOPE, "--key", "gate.pub")
    assert (verified.exit_code, "signature: good" in verified.stdout) == (1, True)


def test_a_gate_file_without_its_metrics_or_with_a_key_nobody_knows(pair: Pair) -> None:
    """A policy that lost its conditions, or says them in words that are not read, passes nothing."""
    pair.logs(scores())
    assert pair.gate().exit_code == PASSED
    path = pair.folder / "gate.yaml"
    whole = yaml.safe_load(path.read_text())
    for changed in (whole | {"metrics": []}, whole | {"min_covrage": 0.5}, whole | {"metrics": [{"metric": "exact"}]}):
        path.write_text(yaml.safe_dump(changed))
        decided = pair.flags("gate.yaml")
        assert (decided.exit_code, "metrics" in decided.output or "min_covrage" in decided.output) == (3, True)
