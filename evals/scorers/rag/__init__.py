"""Metrics of retrieval-augmented generation: ragas' prompts and formulas, so counted that nothing can inflate.

Each metric asks a judge through `Services.chat`, with a JSON schema that the engine enforces (`response_format` of type
`json_schema`; vLLM's structured outputs), and works on whole verdicts or on none: one missing, one too many, one cut
off at `max_tokens`, one of another shape, and the sample is `harness_error`, its score unknown. Passages are those that
a retriever found (`Answer.passages`), else those of the sample (`Sample.contexts`).

What an average over a judge's verdicts gets wrong when nobody counts them, and what happens here instead:

| elsewhere | here |
|---|---|
| a failed judge becomes NaN, and NaN leaves the mean | `Unjudged`: the sample keeps its place in the denominator |
| no passages, or no answer: an exception, and the worst failures of a retriever vanish | 0 |
| faithfulness divides by the verdicts that came back: skipping hard statements raises it | one verdict for each |
| a statement listed twice weighs twice | it is counted once |
| no statement found: NaN, or a perfect score | the answer itself is the statement |
| context recall divides by whatever the judge listed | by the reference's sentences, all of them judged |
| two ratings, of which one did not parse: the other one counts alone | both, or `Unjudged` |
| a guess without a question leaves the mean of answer relevancy | all votes, or `Unjudged` |
| a verdict of 2, "1", true or 1.0 is taken as a yes | 0 or 1 |
| repeated votes hit one entry of a cache | votes carry numbers and seeds |
| factual correctness rises when one true thing is said in many ways | recall counts the claims of the reference |

What is no longer visible in a number is a judge that finds too few statements, or the wrong ones: nobody can count what
it should have found. Measure the judge on samples that people have labelled.

| metric | no passages | no answer in text | nothing to judge |
|---|---|---|---|
| faithfulness | 0 | 0 | no statements: the answer is one |
| answer_relevancy | not read | 0 | every vote noncommittal: 0 |
| context_precision | 0 | not read | no reference: an error of the data set |
| context_utilization | 0 | 0 | |
| context_recall | 0 | not read | no reference: an error of the data set |
| context_entity_recall | 0 | not read | no entity in the reference: `Unjudged` |
| context_relevance | 0 | not read | passages that repeat the question: 0 |
| response_groundedness | 0 | 0 | |
| factual_correctness | not read | 0 | no claims: the text is one |
| answer_accuracy | not read | 0 | |

"No passages" means that a retriever found none, or blank ones only. Where no retriever took part and the sample brings
none, nothing can be measured (`not_measured`). Of several references the best counts, and all of them are judged.

Left out, for they cannot be made sound: ragas' answer correctness (its judge lists what the answer lacks; what it does
not list counts as said) and noise sensitivity (without passages it is perfect).

`identity()` of each scorer is a digest of ragas' version, the prompts with their examples and the schemas; it belongs
into a run's manifest.
"""

from evals.scorers.base import Scorer
from evals.scorers.rag.claims import FactualCorrectness, Faithfulness
from evals.scorers.rag.context import ContextEntityRecall, ContextPrecision, ContextRecall, ContextUtilization
from evals.scorers.rag.ratings import AnswerAccuracy, ContextRelevance, ResponseGroundedness
from evals.scorers.rag.relevancy import AnswerRelevancy

SCORERS: dict[str, type[Scorer]] = {
    "answer_accuracy": AnswerAccuracy,
    "answer_relevancy": AnswerRelevancy,
    "context_entity_recall": ContextEntityRecall,
    "context_precision": ContextPrecision,
    "context_recall": ContextRecall,
    "context_relevance": ContextRelevance,
    "context_utilization": ContextUtilization,
    "factual_correctness": FactualCorrectness,
    "faithfulness": Faithfulness,
    "response_groundedness": ResponseGroundedness,
}
