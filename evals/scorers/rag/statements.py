"""Statements and their verdicts: which are the same, and whether each one was judged exactly once. Pure functions."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

from evals.schema import Unjudged

_ENDS = re.compile(r"""(?<=[.!?])\s+|(?<=[.!?]["')\]])\s+|(?<=[。！？])""")
# A full stop after these ends no sentence, nor does one after a letter (an initial, U.S., e.g.) or a number of a list.
_GOES_ON = re.compile(
    r"(?:^|[\s(\"'])(?:mr|mrs|ms|dr|prof|st|vs|cf|fig|approx|(?:[^\W\d_]\.)*[^\W\d_])\.$|^\d{1,3}\.$", re.IGNORECASE
)
_SHOWN_CHARACTERS = 120


def folded(statement: str) -> str:
    """What two writings of one statement share: letter case, spaces and a full stop at the end make no difference."""
    whole = " ".join(unicodedata.normalize("NFC", statement).casefold().split())
    return whole.rstrip(".。 ") or whole


def distinct(statements: Iterable[str], what: str) -> list[str]:
    """Each statement once, in order: one that is repeated would weigh more. Raises Unjudged for one without text."""
    found: dict[str, str] = {}
    for statement in statements:
        if not folded(statement):
            raise Unjudged("judge_failed", f"the judge listed an empty text among its {what}")
        found.setdefault(folded(statement), statement)
    return list(found.values())


def aligned(statements: Sequence[str], judged: Sequence[tuple[str, int]], what: str) -> list[int]:
    """The verdict for each statement, in their order, whatever order they were judged in.

    `statements` are distinct. Raises Unjudged unless each of them has exactly one verdict: one too few or too many, one
    judged twice, one in other words.
    """
    if len(judged) != len(statements):
        raise Unjudged("judge_failed", f"{what}: {len(statements)} statements, but {len(judged)} verdicts")
    verdicts = {folded(statement): verdict for statement, verdict in judged}
    if len(verdicts) < len(judged):
        raise Unjudged("judge_failed", f"{what}: the judge gave two verdicts on one statement, and none on another")
    left_out = [statement for statement in statements if folded(statement) not in verdicts]
    if left_out:
        raise Unjudged(
            "judge_failed",
            f"{what}: {len(left_out)} of {len(statements)} statements were not judged word for word: does the judge's "
            "engine enforce response_format json_schema?",
        )
    return [verdicts[folded(statement)] for statement in statements]


def sentences(text: str) -> list[str]:
    """The sentences of a text; a line break ends one too. At least one for a text that is not blank."""
    found: list[str] = []
    for line in text.splitlines():
        begun = ""
        for piece in _ENDS.split(line.strip()):
            begun = f"{begun} {piece}".strip()
            if not _GOES_ON.search(begun):
                found.append(begun)
                begun = ""
        found.append(begun)
    return [sentence for sentence in found if folded(sentence)]


def shown(statement: str) -> str:
    """A statement for an explanation, cut to a line."""
    return repr(statement if len(statement) <= _SHOWN_CHARACTERS else statement[: _SHOWN_CHARACTERS - 1] + "…")
