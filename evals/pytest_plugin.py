"""A pytest plugin: a test that fails unless a gate passes.

    def test_the_new_prompt_is_no_worse(assert_gate):
        assert_gate("gate.yaml", candidate="runs/b.jsonl", baseline="runs/a.jsonl")

Every pytest run of an environment with Tollgate in it loads this file: it imports nothing of the harness until a test
asks for a gate.
"""

import importlib
import os
import warnings
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from evals.decision import Decision

Name = str | os.PathLike[str]
_DEFERRED = {"assertions": "evals.assertions", "errors": "gateway.contracts.errors"}
"""What is imported when a test asks for a gate."""


class GateWaived(UserWarning):
    """A gate passed because somebody answers for a metric that did not."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--gate-reports`."""
    group = parser.getgroup("tollgate")
    group.addoption("--gate-reports", metavar="DIR", help="write Markdown, JUnit and verdicts of gates in tests here")


@pytest.fixture(name="assert_gate")
def _assert_gate(request: pytest.FixtureRequest) -> Callable[..., "Decision"]:
    """`assert_gate("gate.yaml", candidate="b.jsonl", baseline="a.jsonl")`; paths count from pytest's rootdir."""
    root, folder = request.config.rootpath, request.config.getoption("--gate-reports")

    def asserting(
        gate: Name,
        *,
        candidate: Name | None = None,
        baseline: Name | None = None,
        run: Name | None = None,
        release: Name | None = None,
    ) -> "Decision":
        __tracebackhide__ = True
        files = {"candidate": candidate, "baseline": baseline, "run": run, "release": release}
        return _waived(_admitted(root, gate, files, folder))

    return asserting


def assert_gate(
    gate: Name,
    *,
    candidate: Name | None = None,
    baseline: Name | None = None,
    run: Name | None = None,
    release: Name | None = None,
    reports: Name | None = None,
) -> "Decision":
    """Fail the test, with the gate's report, on anything but `pass` or `waived`; a waived one warns.

    `inconclusive` and `invalid` fail too, as do files that cannot be read: a gate that cannot decide lets nothing
    through. `candidate` and `baseline` are logs, `run` is one of both, `release` the candidate's manifest. Documents
    of the decision go into a folder of the gate's name in `reports`.
    """
    __tracebackhide__ = True
    files = {"candidate": candidate, "baseline": baseline, "run": run, "release": release}
    return _waived(_admitted(Path(), gate, files, reports))


def _admitted(root: Path, gate: Name, files: Mapping[str, Name | None], reports: Name | None) -> "Decision":
    """The decision, where it lets the release through; the test fails where it does not. Paths count from `root`."""
    __tracebackhide__ = True
    assertions = importlib.import_module(_DEFERRED["assertions"])
    errors = importlib.import_module(_DEFERRED["errors"])
    given = {name: root / path for name, path in files.items() if path is not None}
    folder = root / reports if reports else None
    try:
        runs = assertions.Runs(root / gate, **given)
        decision: Decision = assertions.decided(runs, now=datetime.now(UTC), reports=folder)
    except errors.TollgateError as error:
        # Not of the error: pytest would print it, and what caused it, before the words that tell it.
        raise pytest.fail.Exception(f"the gate cannot decide: {error}", pytrace=False) from None
    if not assertions.admitted(decision):
        pytest.fail(assertions.account(decision), pytrace=False)
    return decision


def _waived(decision: "Decision") -> "Decision":
    """The decision, with a warning at the line of the test where somebody answers for it."""
    if decision.answer == "waived":
        warnings.warn(GateWaived(f"gate {decision.gate!r} is waived: {decision.reason}"), stacklevel=3)
    return decision
