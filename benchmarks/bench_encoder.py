"""Speed of the sentence encoder and of the text ensemble, compared with sentence-transformers on PyTorch.

    python -m benchmarks encoder

Posts are those of ``bench_text``, each text once. Both use the same number of threads. The ensemble is trained on the
rated posts; without these, its rows are omitted.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.bench_text import LABELS, opening_posts
from benchmarks.measure import Row, alternated, ratio
from bizcharts_pipeline.models.estimate import read_examples
from bizcharts_pipeline.models.registry import fit_and_publish
from bizcharts_pipeline.sentiment.artifact import model_path
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.encoder import BATCH, threads
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.scorer import Post, Score
from bizcharts_pipeline.sentiment.vectors import FILE, FOLDER, FileStore, KeepingEncoder
from bizcharts_pipeline.training.recipes.encoders import PACKAGE, find_encoder, load_encoder
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.minilm import BITS, TOKENS

POSTS = 150
ROUNDS = 3


def rows() -> Iterator[Row]:
    """Yield every figure."""
    posts = list({whole_text(post): post for post in opening_posts()}.values())[:POSTS]
    with tempfile.TemporaryDirectory() as folder:
        yield from _encoder([whole_text(post) for post in posts], Path(folder))
        if LABELS.exists():
            yield from _ensemble(posts, Path(folder))


def _encoder(texts: list[str], home: Path) -> Iterator[Row]:
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(threads())
    base = find_encoder(PACKAGE)
    theirs = SentenceTransformer(str(base.folder), device="cpu", local_files_only=True).half().float()
    theirs.max_seq_length = TOKENS
    ours, single = load_encoder(base, TOKENS, BITS), load_encoder(base, TOKENS, 32)
    keeping = KeepingEncoder(ours, FileStore.of_home(home))
    vectors = keeping.encode(texts)
    exact = theirs.encode(texts, normalize_embeddings=True, batch_size=BATCH)
    seconds = alternated(
        lambda: theirs.encode(texts, normalize_embeddings=True, batch_size=BATCH),
        lambda: ours.encode(texts),
        lambda: keeping.encode(texts),
        lambda: single.encode(texts),
        rounds=ROUNDS,
    )
    torch_speed, speed, kept_speed, single_speed = (len(texts) / median(each) for each in seconds)
    yield "sentence-transformers, PyTorch", torch_speed, "posts/s", f"{threads()} threads, batches of {BATCH}"
    yield "encoder, ONNX Runtime", speed, "posts/s", "over PyTorch", ratio(seconds[1], seconds[0])
    yield "encoder, single precision", single_speed, "posts/s", "over PyTorch", ratio(seconds[3], seconds[0])
    yield "encoder, vectors kept", kept_speed, "posts/s", "over encoding them", ratio(seconds[2], seconds[1])
    yield (
        "least cosine with sentence-transformers, single precision",
        float((single.encode(texts) * exact).sum(axis=1).min()),
        "",
        "goal: above 0.9999",
    )
    yield "the same, 8 bits", float((vectors * exact).sum(axis=1).min()), "", "what matters is the models' accuracy"
    size = (home / FOLDER / FILE).stat().st_size / len(texts)
    yield "kept vectors of a million texts", size / 1000, "GB", "SQLite file, with its keys"


def _ensemble(posts: list[Post], home: Path) -> Iterator[Row]:
    artifact = fit_and_publish(EnsembleRecipe(home=home), read_examples(LABELS), "rated posts", home, 0)
    folder = model_path(home, artifact.model_version)
    cold, kept = load_scorer(folder, artifact.sha256), load_scorer(folder, artifact.sha256, home)
    difference = np.abs(_probabilities(cold.score(posts)) - _probabilities(kept.score(posts))).max()
    encoder, texts = load_encoder(find_encoder(PACKAGE), TOKENS, BITS), [whole_text(post) for post in posts]
    seconds = alternated(
        lambda: cold.score(posts), lambda: kept.score(posts), lambda: encoder.encode(texts), rounds=ROUNDS
    )
    speed, kept_speed = (len(posts) / median(each) for each in seconds[:2])
    new, over = f"{len(posts)} opening posts; over the encoder alone", ratio(seconds[0], seconds[2])
    yield "ensemble, new texts", speed, "posts/s", new, over
    yield "ensemble, vectors kept", kept_speed, "posts/s", "over the same", ratio(seconds[1], seconds[2])
    yield "largest difference of a probability", float(difference), "", "kept vectors against new ones; goal: 0"


def _probabilities(scores: list[Score]) -> np.ndarray:
    return np.array([(score.p_bearish, score.p_neutral, score.p_bullish) for score in scores])
