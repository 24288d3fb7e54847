"""What an approximate index loses: recall@k of a server's HNSW search against exact search over the same vectors.

For each question, with E the ids that exact search may return among its k best (all that tie with the k-th count) and
A the k ids that the index returned:

    recall@k = |A and E| / min(k, chunks found by exact search)

What the embedding model itself does not find is no part of it: both sides search with the same vector. Both search as
a run does, for a few more than k, of which the best k count: a server whose `hnsw_ef` is smaller than that loses more
when it is asked for k alone. The interval is
that of `stats` for the mean, two-sided at 95 %, with the data set's clusters as units.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from evals import stats
from evals.embeddings import Embedder
from evals.index import Stored
from evals.retrieval import Store
from evals.schema import Sample, Unjudged
from gateway.contracts.errors import InputError

_ALPHA = 0.025


@dataclass(frozen=True, slots=True)
class Loss:
    """Mean recall in [0, 1] with its bounds; `indexed` of `points` vectors are in the index, the rest are scanned."""

    k: int
    recall: float
    lower: float
    upper: float
    questions: int
    points: int
    indexed: int
    notes: list[str]


async def measure(samples: Sequence[Sample], k: int, embedder: Embedder, store: Store, collection: str) -> Loss:
    """Ask every question twice, with the index and without it.

    Raises InputError for a collection that is another model's, still builds its index or is none of the harness's, and
    for a question that cannot be asked: leaving it out would flatter the index.
    """
    stored = await store.look(collection)
    _check(stored, embedder, store.location)
    totals: dict[str, list[float]] = {}
    for sample in samples:
        totals.setdefault(sample.cluster or f"\0{sample.id}", []).append(
            await _recall(sample, k, embedder, store, collection)
        )
    clusters = [stats.Cluster(sum(values), len(values)) for values in totals.values()]
    notes = []
    if stored.indexed < stored.points:
        notes.append(
            f"the server scans the {stored.points - stored.indexed} vectors that are not in its index, which loses "
            "nothing: expect another recall once they are"
        )
    return Loss(
        k=k,
        recall=stats.mean(clusters),
        lower=stats.lower_bound(clusters, worst=0.0, alpha=_ALPHA),
        upper=stats.upper_bound(clusters, best=1.0, alpha=_ALPHA),
        questions=len(samples),
        points=stored.points,
        indexed=stored.indexed,
        notes=notes,
    )


async def _recall(sample: Sample, k: int, embedder: Embedder, store: Store, collection: str) -> float:
    try:
        (vector,) = await embedder.embed([sample.question()])
    except Unjudged as error:
        raise InputError(f"question {sample.id!r}: {error}") from error
    exact = await store.search(collection, vector, k, exact=True)
    quick = await store.search(collection, vector, k)
    allowed = {passage.id for passage in exact.passages} | exact.tied
    return sum(passage.id in allowed for passage in quick.passages) / len(exact.passages)


def _check(stored: Stored, embedder: Embedder, location: str) -> None:
    made = stored.manifest
    if made is None or not stored.points:
        raise InputError(f"collection {stored.name!r} in {location!r} is no index that `evals index` made")
    if (made.embedding, made.embedding_digest) != (embedder.name, embedder.digest):
        raise InputError(
            f"collection {stored.name!r} was made with {made.embedding!r} {made.embedding_digest}, and the questions "
            f"would be embedded with {embedder.name!r} {embedder.digest}: give the same model with --embedding"
        )
    if not stored.ready:
        raise InputError(f"the server still builds the index of {stored.name!r}: measure it once its status is green")
