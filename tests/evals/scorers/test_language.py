import sys

import pytest
from pydantic import ValidationError

from evals.schema import Answer, Sample, Unjudged
from evals.scorers.base import NoServices
from evals.scorers.language import Language, _identifier

TEXTS = {
    "en": "The free plan includes five gigabytes of storage and support by e-mail.",
    "pt": "O plano gratuito inclui cinco gigabytes de armazenamento e suporte por e-mail.",
    "es": "El plan gratuito incluye cinco gigabytes de almacenamiento y soporte por correo.",
    "de": "Der kostenlose Tarif enthält fünf Gigabyte Speicherplatz und Hilfe per E-Mail.",
    "fr": "Le forfait gratuit comprend cinq gigaoctets de stockage et une assistance par e-mail.",
    "ru": "Бесплатный план включает пять гигабайт и поддержку по почте.",
    "ja": "無料プランには5ギガバイトのストレージが含まれています。",
}
SQL = "```sql\nSELECT name, price FROM plans WHERE free ORDER BY price\n```"
PORTUGUESE = Language(expected=("pt",))


async def value(scorer: Language, text: str, tags: list[str] | None = None) -> float:
    return (await scorer.score(Sample(id="a", input="q", tags=tags or []), Answer(text=text), NoServices())).value


@pytest.mark.parametrize("code", TEXTS)
async def test_the_language_of_an_answer(code: str) -> None:
    scorer = Language.model_validate({"expected": code})
    assert [await value(scorer, text) for text in TEXTS.values()] == [float(other == code) for other in TEXTS]


async def test_a_tag_says_what_is_expected() -> None:
    assert await value(Language(), TEXTS["pt"], ["plans", "lang:pt"]) == 1.0
    assert await value(Language(), TEXTS["pt"], ["lang:pt-BR"]) == 1.0
    assert await value(Language(), TEXTS["pt"], ["lang:es"]) == 0.0
    assert await value(Language(), TEXTS["pt"], ["lang:es", "lang:pt"]) == 1.0
    assert await value(Language(tag="in-"), TEXTS["pt"], ["in-pt"]) == 1.0


async def test_several_languages_are_equally_good() -> None:
    assert await value(Language(expected=("en", "pt")), TEXTS["en"]) == 1.0
    assert await value(Language(expected=("en", "pt")), TEXTS["de"]) == 0.0


async def test_a_sample_without_a_language_is_an_error() -> None:
    with pytest.raises(ValueError, match="sample 'a' has no tag lang:CODE"):
        await value(Language(), TEXTS["pt"], ["plans"])
    with pytest.raises(ValueError, match="no language 'xx'"):
        await value(Language(), TEXTS["pt"], ["lang:xx"])


@pytest.mark.parametrize(
    "text", ["Sim.", "42", "", "👍", f"Sim: {SQL}", "https://example.org/some/long/path/to/a/page"]
)
async def test_too_short_an_answer_is_missing_evidence(text: str) -> None:
    with pytest.raises(Unjudged, match="too few to tell") as failed:
        await value(PORTUGUESE, text)
    assert failed.value.kind == "not_measured"


async def test_a_chinese_letter_says_more_than_a_latin_one() -> None:
    assert await value(Language(expected=("zh",)), "你好，我可以帮你什么？") == 1.0
    with pytest.raises(Unjudged, match="too few"):
        await value(PORTUGUESE, "Olá, bom dia")


async def test_what_could_be_either_is_missing_evidence() -> None:
    scorer = Language(expected=("es",), min_confidence=0.99)
    with pytest.raises(Unjudged, match=r"es has a probability of 0\.8") as failed:
        await value(scorer, TEXTS["es"])
    assert failed.value.kind == "not_measured"


async def test_every_answer_is_judged_when_asked_for() -> None:
    assert await value(Language(expected=("pt",), min_bytes=0), "Não, obrigado.") == 1.0
    assert await value(Language(expected=("pt",), min_bytes=0), "") == 0.0


async def test_what_is_in_no_language_is_not_in_the_expected_one() -> None:
    assert await value(PORTUGUESE, "asdf qwer zxcv uiop hjkl vbnm") == 0.0


async def test_code_is_in_no_language() -> None:
    assert await value(PORTUGUESE, f"{TEXTS['pt']}\n{SQL}\nou `SELECT price FROM plans`") == 1.0


@pytest.mark.parametrize("options", [{"expected": "xx"}, {"min_confidence": 0.4}, {"min_bytes": -1}, {"tag": ""}])
def test_wrong_options_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Language.model_validate(options)


def test_the_library_is_loaded_with_the_suite_and_missed_there(monkeypatch) -> None:
    _identifier.cache_clear()
    monkeypatch.setitem(sys.modules, "py3langid.langid", None)
    with pytest.raises(ValidationError, match=r"py3langid\.langid is not installed: pip install"):
        Language(expected=("pt",))
