"""`evals ...`: parse, call one function, print, exit code.

A command's module is loaded when the command is used: help and completion do not wait for pydantic, cryptography and
what else only the work itself needs.
"""

import gc
import importlib

import click

from gateway.contracts.commands import Commands

NEW_OBJECTS = 50_000
"""Made and still there since the collector looked last. A run's records hold no circles, and are walked less often."""

_COMMANDS = {
    "run": ("evals.cli.run", "run_suite", "Send a suite's samples to a model, score and log the answers."),
    "gate": ("evals.cli.gate", "gate", "Decide whether a release may be served."),
    "plan": ("evals.cli.plan", "plan_gate", "Show the power of a gate and the samples it needs."),
    "selftest": ("evals.cli.selftest", "selftest", "Tell how often a gate is wrong on its data set."),
    "compare": ("evals.cli.compare", "compare_runs", "Compare two runs, or the arms of one, sample by sample."),
    "report": ("evals.cli.report", "report", "Write a page about a gate's decision, two runs or one."),
    "show": ("evals.cli.runs", "show", "Print one sample: prompt, answers side by side, scores and why."),
    "pass-at-k": ("evals.cli.passk", "pass_at_k", "Estimate how often one of several answers passes."),
    "import": ("evals.cli.imports", "import_results", "Turn results of lm-eval, Inspect or promptfoo into a run log."),
    "batch": ("evals.cli.batch", "batch", "Write a suite as a batch file, read its results into a run log."),
    "scorers": ("evals.cli.scorers", "list_scorers", "List the scorers, their options and examples."),
    "keys": ("evals.cli.verdicts", "keys", "Make a pair of keys (ed25519) that signs verdicts."),
    "verify": ("evals.cli.verdicts", "verify", "Check the signature of a verdict and print what it says."),
    "index": ("evals.cli.index", "index_group", "Put documents into Qdrant for retrieval; measure the index."),
    "judge": ("evals.cli.judge", "judge", "Measure a judge, show its card, correct what it said."),
    "data": ("evals.cli.data", "data", "Check, show, compare, split and convert data sets."),
}

_DECIDING = ("gate", "selftest", "verify")
"""Their exit codes 1 and 2 are answers."""


class _Stopped(click.ClickException):
    exit_code = 130


class _Undecided(_Stopped):
    exit_code = 3


class _Lazy(Commands):
    unwritten = 3
    """No command answers with it otherwise."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module, name, _ = _COMMANDS[cmd_name]
        try:
            command: click.Command = getattr(importlib.import_module(module), name)
        except KeyboardInterrupt:
            stopped = _Undecided if cmd_name in _DECIDING else _Stopped
            raise stopped("stopped before it began: run the same command again") from None
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, _, summary) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="tollgate", prog_name="evals")
def main() -> None:
    """Evaluate releases and gate them.

    \b
    Examples:
      evals run suite.yaml --base-url http://127.0.0.1:8080/v1 --model faq@2
      evals gate gate.yaml --baseline runs/faq-1.jsonl --candidate runs/faq-2.jsonl
    """
    gc.set_threshold(NEW_OBJECTS, 20, 20)
