"""Inference without the libraries that trained: equal to them."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_encoder import packaged_base, tiny_encoder

from bizcharts_pipeline.sentiment.encoder import BertEncoder, UnusableEncoder, in_eight_bits
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.sentiment.tfidf import CHARACTER_GRAMS, WORD_GRAMS, TfidfModel, character_terms, word_terms

TEXTS = [
    "It's over, rugged again: sold at $0.0003",
    "we are so back 🚀🚀🚀 to the moon",
    ">be me\n>buy high\n>sell low",
    "a",
    "",
    "How do I report   my taxes in Österreich? " * 30,
    "ＦＯＭＯ \t\n is real, it is over",
    "to the moon again, back to work",
]


@given(st.text() | st.text(alphabet="ab é_3\n\t >🚀İ"))
def test_terms_are_those_of_scikit_learn(text: str) -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=WORD_GRAMS).build_analyzer()
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=CHARACTER_GRAMS).build_analyzer()
    assert sorted(word_terms(text.lower())) == sorted(words(text))
    assert sorted(character_terms(text.lower())) == sorted(characters(text))


def test_tfidf_says_what_scikit_learn_says(tmp_path: Path) -> None:
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=WORD_GRAMS, sublinear_tf=True)
    characters = TfidfVectorizer(analyzer="char_wb", ngram_range=CHARACTER_GRAMS, sublinear_tf=True)
    texts = [text.strip() for text in TEXTS]
    terms = hstack([words.fit_transform(texts[:6]), characters.fit_transform(texts[:6])]).tocsr()
    regression = LogisticRegression(C=5, max_iter=5_000).fit(terms, [0, 2, 0, 1, 1, 2])
    idf = np.concatenate([words.idf_, characters.idf_])
    model = TfidfModel(words.vocabulary_, characters.vocabulary_, idf, regression.coef_, regression.intercept_)
    model.save(tmp_path)
    told = TfidfModel.load(tmp_path).log_probabilities([Post("", text) for text in TEXTS])
    asked = hstack([words.transform(texts), characters.transform(texts)])
    assert np.abs(np.exp(told) - regression.predict_proba(asked)).max() < 1e-6


@pytest.fixture(scope="module")
def base() -> Path:
    return packaged_base()


def test_the_encoder_says_what_sentence_transformers_says(base: Path, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    BertEncoder.from_base(base, tokens=24, bits=32).save(tmp_path)
    ours = BertEncoder.load(tmp_path).encode(TEXTS)
    theirs = SentenceTransformer(str(base), device="cpu", local_files_only=True)
    theirs.max_seq_length = 24
    exact = theirs.encode(TEXTS, normalize_embeddings=True)
    assert (ours * exact).sum(axis=1).min() > 0.9999, "the weights are kept in half precision"
    rounded = theirs.half().float().encode(TEXTS, normalize_embeddings=True)
    assert np.abs(ours - rounded).max() < 1e-5
    BertEncoder.from_base(base, tokens=24, bits=8).save(tmp_path)
    assert (BertEncoder.load(tmp_path).encode(TEXTS) * exact).sum(axis=1).min() > 0.97, "activations of 8 bits"


def test_weights_of_eight_bits_are_at_most_half_a_step_off_and_never_cut_off() -> None:
    exact = (np.random.default_rng(3).standard_normal((40, 30)) * np.logspace(-4, 3, 40)[:, None]).astype(np.float16)
    exact[7] = 0
    integers, steps = in_eight_bits(exact)
    assert integers.shape == (30, 40)
    assert int(np.abs(integers).max()) * 255 * 2 < 2**15, "the sum of two products on a processor without VNNI"
    assert (np.abs(integers.T * steps[:, None] - exact) <= steps[:, None] * 0.501).all()


@pytest.mark.parametrize(
    ("pooling", "vector"),
    [
        ("mean", [-0.039643, 0.460379, 0.424638, -0.553848, 0.413354, -0.056899, 0.236559, -0.263353]),
        ("cls", [-0.105729, 0.534123, 0.484983, -0.156697, 0.540884, -0.005635, 0.213253, -0.325127]),
    ],
)
def test_the_files_of_earlier_versions_give_the_same_vectors(pooling: str, vector: list[float], tmp_path: Path) -> None:
    """The numbers were computed by the forward pass in NumPy that earlier versions had."""
    tiny_encoder(pooling=pooling).save(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"encoder.safetensors", "encoder.json", "tokenizer.json"}
    assert np.abs(BertEncoder.load(tmp_path).encode(["it is over"])[0] - vector).max() < 1e-5


@pytest.mark.parametrize("bits", [8, 32])
@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_text_has_the_same_vector_alone_and_in_company(
    base: Path, threads: str, bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    encoder = BertEncoder.from_base(base, tokens=64, bits=bits)
    texts = [*TEXTS, *(f"{text} again" for text in reversed(TEXTS))]
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    assert np.array_equal(encoder.encode(texts), alone), "to the last bit, or a kept vector would differ"
    assert np.allclose(np.linalg.norm(alone, axis=1), 1)
    assert encoder.encode([]).shape == (0, 384)


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("config.json", '"bert"', '"mpnet"'),
        ("config.json", '"gelu"', '"relu"'),
        ("1_Pooling/config.json", "mean", "max"),
        ("modules.json", "Normalize", "Dense"),
    ],
)
def test_an_encoder_of_another_architecture_is_refused(
    base: Path, tmp_path: Path, name: str, old: str, new: str
) -> None:
    for part in ("config.json", "modules.json", "1_Pooling/config.json"):
        text = (base / part).read_text()
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).write_text(text.replace(old, new) if part == name else text)
    with pytest.raises(UnusableEncoder, match="architecture"):
        BertEncoder.from_base(tmp_path, tokens=64, bits=8)
