"""Whether traffic needs a verdict, and whose."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator

from gateway.contracts import documents


def _word(value: object) -> object:
    """YAML reads a bare `off` as false."""
    return "off" if value is False else value


class Enforcement(documents.Frozen):
    """Whether traffic needs a verdict. `warn` serves and says so; `require` refuses."""

    mode: Annotated[Literal["require", "warn", "off"], BeforeValidator(_word)] = "require"
    trusted_keys: tuple[Path, ...] = ()
    verdicts: Path = Path("verdicts")

    def anchored(self, base: Path) -> "Enforcement":
        """The same with relative paths made relative to a folder."""
        keys = tuple(base / key for key in self.trusted_keys)
        return self.model_copy(update={"trusted_keys": keys, "verdicts": base / self.verdicts})
