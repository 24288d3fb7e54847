"""Evaluations, gates and promotions: each is a command that a person or a CI job could run."""

import os
import time

from fleet import WORK, Keys, Plan
from openai import APIStatusError, OpenAI
from show import fail, note, run

VERDICTS = {"pass": 0, "fail": 1}


def evaluate(plan: Plan, keys: Keys, release: str) -> None:
    """Run the suite against a release by its pinned name, with the harness's key."""
    command = ["evals", "run", str(plan.suite), "--base-url", f"{plan.url}/v1", "--model", release]
    run([*command, "--out", str(_log(release))], env={**os.environ, "TOLLGATE_API_KEY": keys.evaluate})


def gate(plan: Plan, release: str, *, baseline: str | None, expected: str) -> None:
    """Decide on a release; end the demo when the gate says something else than the demo promises."""
    spec = plan.gates["first" if baseline is None else "next"]
    command = ["evals", "gate", str(spec), "--candidate", str(_log(release))]
    if baseline is not None:
        command += ["--baseline", str(_log(baseline))]
    command += ["--release", str(plan.manifest(release)), "--sign-with", str(WORK / "gate.pem")]
    run([*command, "--out", str(plan.verdicts)], expected=[VERDICTS[expected]])


def wait_until_live(plan: Plan, keys: Keys, release: str) -> None:
    """The gateway reads new verdicts twice a second."""
    client = OpenAI(base_url=f"{plan.url}/v1", api_key=keys.serve, max_retries=0)
    for _ in range(50):
        try:
            answer = client.chat.completions.with_raw_response.create(
                model="faq", messages=[{"role": "user", "content": plan.question}]
            )
        except APIStatusError as error:
            if error.code != "release_not_gated":
                fail(f"the gateway answered: {error}")
            time.sleep(0.1)
            continue
        if answer.headers["x-tollgate-release"] == release:
            note(f"the model 'faq' is now served by {release}", style="green")
            return
        time.sleep(0.1)
    fail(f"the gateway does not serve {release}")


def promote(plan: Plan, keys: Keys, release: str, *, served: bool) -> None:
    """Ask for a release to go live; a refusal says why."""
    command = ["gateway", "releases", "promote", release, "--config", str(plan.config)]
    run(command, expected=[0 if served else 1])
    if served:
        wait_until_live(plan, keys, release)


def ledger(plan: Plan) -> None:
    """Who used what, and what it cost."""
    run(["gateway", "releases", "list", "--config", str(plan.config)])
    run(["gateway", "costs", "--by", "team,release", "--config", str(plan.config)])


def _log(release: str) -> "os.PathLike[str]":
    return WORK / "runs" / f"{release}.jsonl"
