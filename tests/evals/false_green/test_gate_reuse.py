"""False greens of what is used again, cut short or mixed: caches, limits, budgets, retries, epochs, two releases."""

import random
from collections import Counter
from pathlib import Path

import pytest

from tests.evals.cli.conftest import completion
from tests.evals.false_green.conftest import COUNT, Release, Reply, number, right

WRONG = completion("no idea")


def wrong(body: dict) -> tuple[int, dict]:
    return WRONG


def counted(reply: Reply) -> tuple[list[dict], Reply]:
    """A reply, and the questions that it was asked; the one token that asks who answers is not among them."""
    asked: list[dict] = []

    def answer(body: dict) -> tuple[int, dict]:
        if body.get("max_tokens") != 1:
            asked.append(body)
            return reply(body)
        return completion("hello")

    return asked, answer


def test_ragas_2983_a_cache_gives_no_other_releases_answers(release: Release) -> None:
    """The good release fills the cache; the bad one that comes after it is asked itself."""
    release.gate["cached"] = "allow"
    _, good = counted(right)
    assert release.run(good, "--cache", "kept", baseline=good, out="good.jsonl").exit_code == 0
    assert release.decide(out="good.jsonl").exit_code == 0
    asked, bad = counted(wrong)
    release.write()
    url = release.serve(bad, release="faq@3")
    flags = ("--model", "faq@2", "--base-url", url, "--cache", "kept", "--out", "bad.jsonl", "--quiet")
    release.evals("run", "suite.yaml", *flags)
    assert len(asked) == COUNT
    decided = release.evals("gate", "gate.yaml", "--candidate", "bad.jsonl", "--baseline", "good.jsonl")
    assert decided.exit_code == 1, decided.output


def test_lighteval_1040_a_limited_run_is_no_run_and_no_beginning_of_one(release: Release) -> None:
    assert release.run(right, "--limit", 10).exit_code == 0
    decided = release.decide()
    assert (decided.exit_code, "partial (--limit 10)" in " ".join(decided.output.split())) == (3, True)
    again = release.run(wrong)
    assert (again.exit_code, "the log of another run" in again.output) == (3, True)
    release.run(wrong, out="whole.jsonl")
    assert release.decide(out="whole.jsonl").exit_code == 1


def test_promptfoo_360_repeats_are_asked_and_not_copied(release: Release) -> None:
    """Three epochs are three answers, also where answers are kept; a second run of kept ones is no evidence."""
    release.suite["epochs"] = 3
    release.samples(40)
    release.gate["metrics"] = [{"metric": "exact", "test": "absolute", "at_least": 0.8}]
    times = Counter[tuple[str, int]]()

    def every_third_is_wrong(body: dict) -> tuple[int, dict]:
        times[body["model"], number(body)] += 1
        return right(body) if times[body["model"], number(body)] % 3 else WRONG

    asked, wavering = counted(every_third_is_wrong)
    release.run(wavering, "--cache", "kept", baseline=wavering)
    assert len(asked) == 2 * 3 * 40
    assert release.answered() == pytest.approx(2 / 3)
    assert release.decide().exit_code == 1
    release.run(wavering, "--cache", "kept", baseline=wavering, out="again.jsonl")
    assert len(asked) == 2 * 3 * 40
    decided = release.decide(out="again.jsonl")
    assert (decided.exit_code, "come from the harness's cache" in " ".join(decided.output.split())) == (3, True)


def test_promptfoo_980_an_answer_out_of_a_cache_has_no_latency(release: Release) -> None:
    release.suite["scorers"] = [{"name": "latency", "at_most_s": 20, "zero_at_s": 30}]
    release.gate |= {"cached": "allow", "metrics": [{"metric": "latency", "test": "absolute", "at_least": 0.8}]}
    _, reply = counted(right)
    release.run(reply, "--cache", "kept", baseline=reply)
    assert release.decide().exit_code == 0
    release.run(reply, "--cache", "kept", baseline=reply, out="again.jsonl")
    decided = release.decide(out="again.jsonl")
    assert (decided.exit_code, "coverage is 0.00%" in " ".join(decided.output.split())) == (3, True)


def test_hindsight_2050_nothing_that_was_answered_is_asked_again(release: Release) -> None:
    """A second try of the failed half alone would turn 50 % into 100 %."""
    release.run(lambda body: right(body) if number(body) % 2 else WRONG)
    asked, fixed = counted(right)
    again = release.run(fixed, baseline=fixed)
    assert again.exit_code == 0
    assert asked == []
    assert release.decide().exit_code == 1


def test_review_code_127_a_budget_cuts_a_run_short(release: Release) -> None:
    cut = release.run(right, "--max-cost", "0.40")
    assert cut.exit_code == 3
    assert release.answered() == 1.0
    decided = release.decide()
    assert (decided.exit_code, "stopped at its spending cap" in " ".join(decided.output.split())) == (3, True)
    assert release.run(right, "--max-cost", "9").exit_code == 0
    assert release.decide().exit_code == 0


def test_a_run_that_was_killed_is_unfinished(release: Release) -> None:
    release.run(right)
    path = release.folder / "run.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[: len(lines) // 2]))
    decided = release.decide()
    assert (decided.exit_code, "the run is unfinished" in " ".join(decided.output.split())) == (3, True)


def test_securityskills_1377_two_releases_answer_one_run(release: Release) -> None:
    """A deployment in the middle of a run: half of the evidence is about another release."""
    release.run(right, out="first.jsonl")
    path = release.folder / "first.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:100]))
    release.release = "faq@9"
    assert release.run(right, out="first.jsonl").exit_code == 0
    decided = release.decide(out="first.jsonl")
    assert (decided.exit_code, "several releases answered" in " ".join(decided.output.split())) == (3, True)


def test_an_engine_without_a_gateway_names_no_release(release: Release) -> None:
    release.release = None
    release.run(right)
    decided = release.decide()
    assert (decided.exit_code, "name no release and digest" in " ".join(decided.output.split())) == (3, True)
    assert not list(Path("verdicts").glob("*.verdict.json"))


def test_an_empty_data_set_is_not_even_run(release: Release) -> None:
    release.samples(0)
    release.gate["dataset_sha256"] = "sha256:" + "0" * 64
    asked, reply = counted(right)
    assert release.run(reply, baseline=reply).exit_code == 3
    assert asked == []
    assert release.decide().exit_code == 3


def test_dotnet_skills_952_a_release_beside_itself(release: Release) -> None:
    """One release on both sides, one answer in ten wrong at random: the gate neither flips about nor calls it worse."""
    release.gate["metrics"] = release.gate["metrics"][:1]
    codes = []
    for seed in range(5):

        def wavering(body: dict, seed: int = seed) -> tuple[int, dict]:
            drawn = random.Random(f"{seed} {body['model']} {number(body)}").random()
            return WRONG if drawn < 0.1 else right(body)

        release.run(wavering, baseline=wavering, out=f"{seed}.jsonl")
        codes.append(release.decide(out=f"{seed}.jsonl").exit_code)
    assert codes == [0] * 5
