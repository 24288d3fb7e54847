"""The prompts of ragas. The only file that imports it.

ragas is a library of prompts here: its runner, executor, cache, clients and telemetry take no part. The first use takes
some seconds, for its import brings many packages along; `Scorer.identity` is such a use, so that a run whose manifest
asks for it has waited before its first sample.
"""

import importlib.util
import os
from functools import cache
from typing import Any

INSTALL = "ragas is not installed: pip install 'tollgate[evals]'"


def installed() -> bool:
    """Whether ragas can be imported; says so without importing it."""
    return importlib.util.find_spec("ragas") is not None


@cache
def library() -> tuple[str, dict[str, Any]]:
    """The version of ragas, and its prompts by our names. Raises ModuleNotFoundError where it is not installed."""
    # ragas reads the variable once, at its first event, and reports to its vendor unless it says so.
    os.environ["RAGAS_DO_NOT_TRACK"] = "true"
    from ragas import __version__
    from ragas.metrics.collections.answer_accuracy import util as accuracy
    from ragas.metrics.collections.answer_relevancy import util as relevancy
    from ragas.metrics.collections.context_entity_recall import util as entities
    from ragas.metrics.collections.context_precision import util as precision
    from ragas.metrics.collections.context_recall import util as recall
    from ragas.metrics.collections.context_relevance import util as relevance
    from ragas.metrics.collections.factual_correctness import util as factual
    from ragas.metrics.collections.faithfulness import util as faithfulness
    from ragas.metrics.collections.response_groundedness import util as groundedness

    return __version__, {
        "statements": faithfulness.StatementGeneratorPrompt(),
        "support": faithfulness.NLIStatementPrompt(),
        "claims": factual.ClaimDecompositionPrompt(),
        "claim_support": factual.NLIStatementPrompt(),
        "question": relevancy.AnswerRelevancePrompt(),
        "usefulness": precision.ContextPrecisionPrompt(),
        "attribution": recall.ContextRecallPrompt(),
        "entities": entities.ExtractEntitiesPrompt(),
        "relevance_1": relevance.ContextRelevanceJudge1Prompt(),
        "relevance_2": relevance.ContextRelevanceJudge2Prompt(),
        "groundedness_1": groundedness.ResponseGroundednessJudge1Prompt(),
        "groundedness_2": groundedness.ResponseGroundednessJudge2Prompt(),
        "accuracy_1": accuracy.AnswerAccuracyJudge1Prompt(),
        "accuracy_2": accuracy.AnswerAccuracyJudge2Prompt(),
    }


def render(name: str, **fields: object) -> str:
    """The text to send: instruction, schema, examples and, as JSON, the fields of this prompt's input."""
    prompt = library()[1][name]
    text: str = prompt.to_string(prompt.input_model(**fields))
    return text


def blank(name: str, **fields: object) -> str:
    """The text with nothing in the fields that are not given: what a prompt says whatever the sample is."""
    kinds = library()[1][name].input_model.model_fields.items()
    return render(name, **{key: "" if kind.annotation is str else [] for key, kind in kinds} | fields)


def schema_name(name: str) -> str:
    """What ragas calls the shape of the reply."""
    found: str = library()[1][name].output_model.__name__
    return found
