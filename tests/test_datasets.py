"""Every data set is what its programs write and what its card says."""

import asyncio
import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from evals import dataset, rag
from evals.config import SuiteConfig
from evals.embeddings import Wordllama
from evals.scorers.retrieval import document
from gateway.contracts import release

ROOT = Path(__file__).resolve().parents[1]
FAQ, RECITE, DOCS = (ROOT / "datasets" / name for name in ("orbit-faq", "recite", "orbit-docs"))
RELEASES = ROOT / "configs/demo/releases"


@pytest.mark.parametrize(
    "program",
    [FAQ / "generate.py", FAQ / "analyse.py", FAQ / "card.py", RECITE / "generate.py", DOCS / "generate.py"],
    ids=lambda path: f"{path.parent.name}/{path.name}",
)
def test_the_committed_files_are_what_their_program_writes(program: Path) -> None:
    done = subprocess.run([sys.executable, str(program), "--check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("folder", [FAQ, RECITE, DOCS], ids=lambda path: path.name)
def test_a_card_names_licence_and_digest_of_each_split(folder: Path) -> None:
    card = yaml.safe_load((folder / "card.yaml").read_text())
    assert card["licence"]["data"] == "CC0-1.0"
    assert card["made"]
    for split in card["splits"].values():
        data = (folder / split["file"]).read_bytes()
        assert hashlib.sha256(data).hexdigest() == split["sha256"]
        assert len(data.splitlines()) == split["rows"]


def test_no_held_out_question_was_trained_on() -> None:
    def questions(name: str) -> set[str]:
        return {line.split('"input": ')[1].split(', "reference"')[0] for line in (FAQ / name).read_text().splitlines()}

    assert not questions("train.jsonl") & questions("heldout.jsonl")


async def test_retrieval_finds_what_the_card_says() -> None:
    """Recall@5 of whole pages with the local model, over all questions and over its weak slice."""
    suite = SuiteConfig.model_validate(
        {
            "suite": "docs",
            "dataset": "questions.jsonl",
            "scorers": [{"name": "exact"}],
            "embeddings": {},
            "retrieval": {"corpus": "documents.jsonl"},
        }
    )
    found: dict[str, list[float]] = {}
    about = {"environ": {}, "say": print, "sleep": asyncio.sleep}
    async with rag.opened(suite, DOCS, Wordllama(), **about) as asker:
        for sample in dataset.load(DOCS / "questions.jsonl").samples:
            passages = (await asker.prepare(sample)).passages or []
            got = {document(passage.id, "#") for passage in passages}
            for tag in ("all", *sample.tags):
                found.setdefault(tag, []).append(len(got & set(sample.relevant or ())) / len(sample.relevant or ()))
    recall = {tag: round(sum(values) / len(values), 3) for tag, values in found.items()}
    assert (recall["all"], recall["errors"], recall["two-pages"]) == (0.963, 0.8, 1.0)


@pytest.mark.parametrize(("name", "bits"), [("faq-1", None), ("faq-2", 8), ("faq-3", 3)])
def test_the_demos_releases_are_these_weights(tmp_path: Path, name: str, bits: int | None) -> None:
    """Rounding is deterministic: the same bits on every machine, as the manifests demand."""
    folder = FAQ / "model"
    if bits is not None:
        folder = tmp_path / name
        program = [sys.executable, str(FAQ / "degrade.py"), str(FAQ / "model"), str(folder), "--bits", str(bits)]
        subprocess.run(program, check=True, capture_output=True)
    release.verify_files(release.load(RELEASES / f"{name}.yaml"), folder)
