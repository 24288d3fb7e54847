#!/usr/bin/env python3
"""Write the Orbit documents and questions about them, from the domain of the Orbit FAQ beside this folder.

A document is a help page: a few facts about one plan, region, error or integration, or one howto. A question comes from
the held-out wordings of the FAQ, so it rarely uses the words of its page; every eighth asks about two pages at once.
"""

import argparse
import hashlib
import json
import random
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
FAQ = HERE.parent / "orbit-faq"
SEED = 20261129
SINGLE, PAIRS = 210, 30
PAGES = {
    "plan": {
        "price": ("price", "trial", "notice"),
        "limits": ("users", "storage", "projects", "rate", "upload"),
        "service": ("retention", "support", "backup", "uptime"),
    },
    "region": {"page": ("code", "country", "opened", "failover")},
    "error": {"page": ("meaning", "remedy")},
    "integration": {"page": ("plan", "login", "sync")},
    "howto": {"page": ("steps",)},
}
TITLES = {
    "plan": "{e} plan: {p}",
    "region": "Region {e}",
    "error": "Error {e}",
    "integration": "{e} integration",
    "howto": "How to {e}",
}
PAIRED = (
    ("price", "Which of the two costs more per month, {a} or {b}?"),
    ("storage", "Between {a} and {b}, which comes with more disk space?"),
    ("users", "Do we fit more people on {a} or on {b}?"),
    ("opened", "Which is older, the {a} region or the {b} region?"),
    ("sync", "Does {a} update more often than {b}?"),
)

Row = dict[str, Any]


def slug(text: str) -> str:
    """Return ``text`` as lower-case words joined by dashes, as the FAQ's ids have it."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")


def page_of(family: str, entity: str, field: str) -> str:
    """Return the id of the document that holds a fact."""
    for page, fields in PAGES[family].items():
        if field in fields:
            return f"{family}/{slug(entity)}" + ("" if page == "page" else f"/{page}")
    raise KeyError(field)


def documents(domain: dict[str, Any]) -> list[Row]:
    """Return every page: its facts as sentences, in the order of the domain."""
    rows = []
    for family, spec in domain["families"].items():
        entities = dict.fromkeys(e for form in spec["fields"].values() for e in form["values"])
        for entity in entities:
            for page, fields in PAGES[family].items():
                forms = [spec["fields"][field] for field in fields]
                text = " ".join(form["answer"].format(e=entity, v=form["values"][entity]) for form in forms)
                rows.append(
                    {
                        "id": page_of(family, entity, fields[0]),
                        "title": TITLES[family].format(e=entity, p=page),
                        "text": text,
                        "metadata": {"family": family},
                    }
                )
    return rows


def singles(domain: dict[str, Any], rng: random.Random) -> list[Row]:
    """Return questions about one page, each with a wording that is new to its fact."""
    pages = {
        f"{family}.{slug(entity)}.{field}": page_of(family, entity, field)
        for family, spec in domain["families"].items()
        for field, form in spec["fields"].items()
        for entity in form["values"]
    }
    asked = [json.loads(line) for line in (FAQ / "heldout.jsonl").read_text(encoding="utf-8").splitlines()]
    asked = [row for row in asked if row["id"].endswith("h05")]
    return [
        {
            "id": row["cluster"],
            "input": row["input"],
            "reference": row["reference"],
            "tags": [row["tags"][0], "one-page"],
            "cluster": pages[row["cluster"]],
            "relevant": [pages[row["cluster"]]],
        }
        for row in sorted(rng.sample(asked, SINGLE), key=lambda row: row["id"])
    ]


def pairs(domain: dict[str, Any], rng: random.Random) -> list[Row]:
    """Return questions that need two pages; the reference is the two facts."""
    families = {
        field: (name, spec["fields"][field]) for name, spec in domain["families"].items() for field in spec["fields"]
    }
    rows = []
    for number in range(PAIRS):
        field, question = PAIRED[number % len(PAIRED)]
        family, form = families[field]
        a, b = rng.sample(list(form["values"]), 2)
        rows.append(
            {
                "id": f"pair.{number:02d}.{field}",
                "input": question.format(a=a, b=b),
                "reference": " ".join(form["answer"].format(e=e, v=form["values"][e]) for e in (a, b)),
                "tags": [form["tags"][0], "two-pages"],
                "cluster": f"pair.{number:02d}",
                "relevant": sorted({page_of(family, e, field) for e in (a, b)}),
            }
        )
    return rows


def card(texts: dict[str, str], samples: list[Row]) -> str:
    """Return card.yaml."""
    clusters = {"documents": len(texts["documents"].splitlines()), "questions": len({r["cluster"] for r in samples})}
    lines = [
        'name: "orbit-docs"',
        'version: "1.0.0"',
        'description: "Help pages of an imaginary service, and questions with the pages that answer them."',
        'owner: "Tollgate maintainers"',
        "licence:",
        '  data: "CC0-1.0"',
        '  code: "Apache-2.0"',
        'language: "en"',
        "personal_data: false",
        'made: "Synthetic: generate.py arranges the facts and wordings of orbit-faq with a fixed seed."',
        "splits:",
    ]
    for name, text in texts.items():
        lines += [
            f"  {name}:",
            f'    file: "{name}.jsonl"',
            f'    sha256: "{hashlib.sha256(text.encode()).hexdigest()}"',
            f"    rows: {len(text.splitlines())}",
            f"    clusters: {clusters[name]}",
        ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the files, or check that the ones on disk are what would be written."""
    parser = argparse.ArgumentParser(description="Write documents.jsonl, questions.jsonl and card.yaml of orbit-docs.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail if the files on disk differ")
    check = parser.parse_args().check
    domain = json.loads((FAQ / "domain.json").read_text(encoding="utf-8"))
    rng = random.Random(SEED)
    rows = documents(domain)
    samples = singles(domain, rng) + pairs(domain, rng)
    known = {row["id"] for row in rows}
    if len(known) < len(rows) or any(set(sample["relevant"]) - known for sample in samples):
        raise ValueError("a document's id occurs twice, or a question names a page that is not there")
    texts = {
        name: "".join(json.dumps(row) + "\n" for row in found)
        for name, found in (("documents", rows), ("questions", samples))
    }
    files = {f"{name}.jsonl": text for name, text in texts.items()} | {"card.yaml": card(texts, samples)}
    wrong = []
    for name, text in files.items():
        path = HERE / name
        if not check:
            path.write_text(text, encoding="utf-8", newline="\n")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            wrong.append(f"error: {name} is not what this program writes")
    print(
        "\n".join(wrong) or f"{len(rows)} documents, {len(samples)} questions", file=sys.stderr if wrong else sys.stdout
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
