"""The report as one HTML file: no network, every text of a stranger escaped, readable without its script.

What it says in which order stands in `page.html.j2`; its content policy lets nothing run or load but the style and the
script that stand in the page, by their hashes.
"""

import base64
import hashlib
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

from evals.report import headline, plots
from evals.report.texts import clean
from evals.report.view import Condition, Page

if TYPE_CHECKING:
    import jinja2
    import markupsafe

SHOWN_SLICES = 20
"""Slices before the others are folded."""
GLYPHS = {"pass": "✓", "fail": "✗", "inconclusive": "?", "invalid": "!", "waived": "~"}
KINDS = {
    "regressed": ("Got worse", "samples whose score certainly fell"),
    "improved": ("Got better", "samples whose score certainly rose, and fell in nothing"),
    "lowest": ("Lowest scores", "samples below the full score, the lowest first"),
}


def render(page: Page) -> str:
    """The page. The same content gives the same bytes."""
    style, script = _text("page.css"), _text("page.js")
    rows, slices = page.said.conditions, page.slices
    paired = page.baseline is not None
    around = plots.scale_of(slices, anchors=(0.0,) if paired else ()) if slices else None
    return _template().render(
        page=page,
        said=page.said,
        style=style,
        script=script,
        policy=f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; "
        "base-uri 'none'; form-action 'none'",
        condition_plots=_condition_plots(rows),
        slice_plots=[plots.interval(row, around, 0.0 if paired else None) for row in slices] if around else [],
        slice_axis=plots.axis(around, 0.0 if paired else None) if around else "",
        shown_slices=SHOWN_SLICES,
        histograms=[plots.histogram(quantity) for quantity in page.quantities],
        noises=[(noise.metric, _noise_parts(noise.split.shares()), noise.split) for noise in page.noises],
        noise_plot=plots.parts_of_one,
        glyphs=GLYPHS,
        kinds=KINDS,
        summary=headline.summary(rows) if page.said.answer else "",
        paired=paired,
    )


def _text(name: str) -> str:
    return resources.files("evals.report").joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


@cache
def _template() -> "jinja2.Template":
    import jinja2

    made = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: clean(value) if type(value) is str else value,
    )
    made.filters |= {
        "number": number,
        "signed": signed,
        "short": plots.short,
        "percent": percent,
        "count": lambda value: f"{value:,}",
        "money": money,
        "plain": headline.plain,
        "coded": coded,
        "moment": lambda when: f"{when:%d %B %Y, %H:%M %Z}",
    }
    return made.from_string(_text("page.html.j2"))


def _condition_plots(rows: tuple[Condition, ...]) -> list[str]:
    """One plot for each condition; those of one test share a scale, so that they can be compared."""
    scales = {}
    for test in {row.test for row in rows}:
        same = [row for row in rows if row.test == test and row.estimate is not None]
        if same:
            scales[test] = plots.scale_of(same, anchors={"noninferior": (0.0,), "ratio": (1.0,)}.get(str(test), ()))
    zeros = {"noninferior": 0.0, "ratio": 1.0}
    return [
        plots.interval(row, scales[row.test], zeros.get(str(row.test)))
        if row.test in scales and row.test != "golden"
        else ""
        for row in rows
    ]


def _noise_parts(shares: dict[str, float | None]) -> list[tuple[str, float]]:
    """Shares of the known sources, in words."""
    names = {"sample": "which samples", "sampling": "sampling of answers", "judge": "the judge"}
    return [(names[name], share) for name, share in shares.items() if share is not None]


def number(value: float | None, digits: int = 4) -> str:
    """A figure, or that there is none."""
    return "unknown" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    return "unknown" if value is None else f"{value:+.4f}".replace("-", "−")


def coded(text: str) -> "markupsafe.Markup":
    """Text as HTML, with what stands between two backticks as code."""
    import markupsafe

    pieces = clean(text).split("`")
    if len(pieces) % 2 == 0:
        return markupsafe.escape(clean(text))
    styles = (markupsafe.Markup("{}"), markupsafe.Markup("<code>{}</code>"))
    return markupsafe.Markup("").join(styles[at % 2].format(piece) for at, piece in enumerate(pieces))


def percent(share: float) -> str:
    """A share of 1; 100 % stands for all and nothing less."""
    text = f"{share * 100:.1f}"
    return ("> 99.9" if text == "100.0" and share < 1 else text.removesuffix(".0")) + "\u00a0%"


def money(amount: Decimal | None) -> str:
    """A sum to six digits, for reading."""
    return "unknown" if amount is None else f"{amount:.6g}" if amount else "0"
