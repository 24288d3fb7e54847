"""Files that the options of a scorer name: a long text, or the log of a run to compare with.

    scorers:
      - {name: judge, rubric: {file: rubric.md}}
      - {name: pairwise, against: runs/live.jsonl}

They are looked for beside the suite and bound by content, so that a changed file is another suite.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gateway.contracts import canonical, documents
from gateway.contracts.errors import InputError

LOG, LOG_DIGEST = "against", "against_sha256"


def filled(options: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The options with texts in the place of `{file: NAME}`, and with path and digest of a log.

    Raises ValueError for a file that cannot be read, or is not the one that the digest names.
    """
    values = {key: _text(value, folder) for key, value in options.items()}
    name = values.get(LOG)
    if not isinstance(name, str):
        return values
    path = folder / name
    try:
        found = canonical.file_digest(path)
    except OSError as error:
        raise ValueError(f"{LOG}: no readable run log at {str(path)!r} ({error.strerror})") from error
    if values.get(LOG_DIGEST) not in (None, found):
        raise ValueError(f"{LOG}: {str(path)!r} is {found}, and {LOG_DIGEST} says {values[LOG_DIGEST]}: another run")
    return values | {LOG: str(path), LOG_DIGEST: found}


def named(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as a manifest keeps them: of a log the file's name, for where it lies changes no score."""
    name = options.get(LOG)
    return {**options, LOG: Path(name).name} if isinstance(name, str) else dict(options)


def _text(value: Any, folder: Path) -> Any:
    if not (isinstance(value, dict) and list(value) == ["file"] and isinstance(value["file"], str)):
        return value
    try:
        return documents.read_text(folder / value["file"])
    except InputError as error:
        raise ValueError(str(error)) from error
