"""What is asked of every harness: short questions, all with one answer, of which four in five are right."""

import json
from dataclasses import dataclass
from pathlib import Path

TOKENS = 16
WRONG_EACH = 5
ANSWER, OTHER = "word1", "word2"
"""What the engine says when it is set to one token, and what it never says."""


@dataclass(frozen=True)
class Job:
    """One run of one harness: its samples as JSON Lines, where to send them, and an empty folder for its files."""

    data: Path
    samples: int
    base_url: str
    concurrency: int
    folder: Path

    @property
    def right(self) -> int:
        """How many samples an honest harness scores 1."""
        return right(self.samples)


@dataclass(frozen=True)
class Outcome:
    """What a harness says that it has scored."""

    samples: int
    right: int


def right(samples: int) -> int:
    """How many of so many samples are answered right."""
    return samples - (samples + WRONG_EACH - 1) // WRONG_EACH


def rows(samples: int) -> list[dict[str, str]]:
    """The samples; every fifth one, from the first on, is one that the engine gets wrong."""
    return [
        {
            "id": f"s{number:06d}",
            "input": f"Question {number}: which word comes first? Answer with that word alone.",
            "reference": ANSWER if number % WRONG_EACH else OTHER,
        }
        for number in range(samples)
    ]


def write(path: Path, samples: int) -> Path:
    """The samples as JSON Lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(samples)), encoding="utf-8")
    return path
