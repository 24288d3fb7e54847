import json
import os
import subprocess
import sys
from typing import Any

import pytest

from evals.scorers.rag import SCORERS, prompts

ASKS = [(metric, name, reply) for metric, kind in SCORERS.items() for name, reply in kind.ASKS.items()]  # type: ignore[attr-defined]

FIRST_USE = """
import json, sys

network = []
def watch(event, args):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.sendmsg", "urllib.Request"):
        network.append([event, repr(args[1:])])
sys.addaudithook(watch)

from evals.scorers.rag import SCORERS
early = sorted({name.split(".")[0] for name in sys.modules} & {"ragas", "langchain_core", "openai", "pandas", "numpy"})
digests = {name: kind().identity() for name, kind in SCORERS.items()}
# An event of ragas' own, which it reports unless told not to.
from ragas._analytics import BaseEvent, track
track(BaseEvent(event_type="used", user_id="somebody"))
import atexit
atexit._run_exitfuncs()
import os
print(json.dumps({"early": early, "network": network, "digests": digests, "track": os.environ["RAGAS_DO_NOT_TRACK"]}))
"""


@pytest.fixture(scope="module")
def first_use() -> dict[str, Any]:
    environment = os.environ | {"RAGAS_DO_NOT_TRACK": "false"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", FIRST_USE],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_ragas_is_loaded_when_a_metric_is_used_and_not_before(first_use: dict[str, Any]) -> None:
    assert first_use["early"] == []


def test_nothing_of_it_reaches_for_the_network(first_use: dict[str, Any]) -> None:
    assert first_use["network"] == []
    assert first_use["track"] == "true"


def test_the_identity_is_the_same_in_every_process(first_use: dict[str, Any]) -> None:
    assert first_use["digests"] == {name: kind().identity() for name, kind in SCORERS.items()}
    assert len(set(first_use["digests"].values())) == len(SCORERS) - 1, "context_utilization asks what precision asks"


@pytest.mark.parametrize(("metric", "name", "reply"), ASKS, ids=[f"{metric}-{name}" for metric, name, _ in ASKS])
def test_our_replies_have_the_fields_that_ragas_asks_for(metric: str, name: str, reply: type[Any]) -> None:
    theirs = prompts.library()[1][name].output_model.model_json_schema()
    ours = reply.model_json_schema()

    def fields(schema: dict[str, Any]) -> list[list[str]]:
        parts = [schema, *schema.get("$defs", {}).values()]
        return [list(part["properties"]) for part in parts]

    assert fields(ours) == fields(theirs)
    # What ragas shows as an example is what we take for a reply.
    for _, example in prompts.library()[1][name].examples:
        reply.model_validate_json(example.model_dump_json())


def test_a_prompt_holds_instruction_examples_and_input() -> None:
    text = prompts.render("support", context='Ada "lived".', statements=["a", "b"])
    assert text.startswith("Your task is to judge the faithfulness")
    assert "John is majoring in Biology." in text
    assert '"context": "Ada \\"lived\\"."' in text


def test_a_blank_prompt_says_what_never_changes() -> None:
    assert prompts.blank("support") == prompts.render("support", context="", statements=[])
    finely = prompts.blank("claims", atomicity="high", coverage="high")
    assert "Charles Babbage was a food critic." in finely
    assert "Charles Babbage was a food critic." not in prompts.blank("claims", atomicity="low", coverage="low")


def test_whether_it_is_installed_is_known_without_importing_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert prompts.installed()
    monkeypatch.setitem(sys.modules, "ragas", None)
    assert not prompts.installed()


def test_the_name_of_a_schema_is_one_that_openai_takes() -> None:
    assert prompts.schema_name("support") == "NLIStatementOutput"
    assert all(prompts.schema_name(name).isidentifier() for name in prompts.library()[1])
