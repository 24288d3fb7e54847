"""`gateway …`: each command parses its options, calls one function, prints, and sets the exit code.

A command's module is loaded when the command is used, so that `gateway keys list` does not wait for a web framework.
"""

import importlib
import sys
from typing import Any

import click

from gateway import __version__
from gateway.contracts.commands import Commands
from gateway.contracts.errors import TollgateError
from gateway.contracts.troubles import told

_COMMANDS = {
    "serve": ("gateway.cli.serve", "Serve models behind one keyed, metered endpoint."),
    "check": ("gateway.cli.check", "Validate a configuration and show what it resolves to."),
    "explain": ("gateway.cli.explain", "Say which release answers, rule by rule, and how a request was routed."),
    "engines": ("gateway.cli.engines", "Ask the engines what they are, now."),
    "keys": ("gateway.cli.keys", "Make, list and end virtual keys."),
    "releases": ("gateway.cli.releases", "Show releases and their verdicts, and put one live."),
    "costs": ("gateway.cli.costs", "Show what was used and what it cost, by team, model, day and more."),
    "budgets": ("gateway.cli.budgets", "Show what each budget has left, and when it resets."),
    "prices": ("gateway.cli.prices", "Show and check price files, and import list prices without a network."),
    "ledger": ("gateway.cli.ledger", "Show the latest requests, one row each."),
    "database": ("gateway.cli.database", "Look at the database, bring it up to date, let old rows go."),
    "trace": ("gateway.cli.trace", "Write the ledger's traffic as a trace without names or texts."),
    "simulate": ("gateway.cli.simulate", "Replay a trace against other policies and fleets."),
}


class _Commands(Commands):
    """Loads commands on first use, and turns the product's own errors into one message and exit code 1."""

    unwritten = 1

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in _COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TollgateError as error:
            raise click.ClickException(str(error)) from error
        except _lost() as error:
            raise click.ClickException(f"the database failed: {told(error, 'try again once it is well')}") from error


def _lost() -> tuple[type[Exception], ...]:
    """What SQLAlchemy raises for a database that is gone, or lets this user read alone; where it was not loaded, nobody
    has asked one."""
    module = sys.modules.get("sqlalchemy.exc")
    if module is None:
        return ()
    return module.OperationalError, module.InterfaceError, module.InternalError, module.ProgrammingError


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="gateway")
def main() -> None:
    """An OpenAI-compatible gateway for models that you serve with vLLM.

    \b
    Examples:
      gateway serve --upstream http://10.0.0.7:8000     a keyed, metered endpoint in front of one engine
      gateway check gateway.yaml                        every mistake of a configuration, with its line
      gateway costs --by team,day                       what each team's tokens cost
    """
