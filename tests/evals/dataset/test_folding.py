from evals.dataset.folding import asked, fold, guidance, words
from evals.schema import Sample


def test_case_punctuation_width_and_space_do_not_count() -> None:
    assert fold("  How\nMUCH, please?! ") == fold("how much please") == "how much please"
    assert fold("STRASSE") == fold("straße")
    assert fold("Ｈｉ") == "hi"


def test_signs_without_spaces_are_words() -> None:
    assert words("東京の料金は5ドル") == ["東", "京", "の", "料", "金", "は", "5", "ド", "ル"]


def test_a_text_without_words_is_itself() -> None:
    assert fold(" ?! ") == "?!"


def test_what_is_asked_leaves_out_what_the_system_says() -> None:
    sample = Sample(
        id="a",
        input=[
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": None},
            {"role": "user", "content": [{"type": "text", "text": "Look:"}, {"type": "image_url", "image_url": {}}]},
        ],
        follow_ups=["And?"],
    )
    assert asked(sample).split() == ["Look:", "And?"]
    assert guidance(sample) == "Be brief."
    assert (asked(Sample(id="a", input="x")), guidance(Sample(id="a", input="x"))) == ("x", "")
