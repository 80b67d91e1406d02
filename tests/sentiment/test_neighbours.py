"""A text is read like the training posts that it resembles."""

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from tiny_encoder import SIZE, tiny_encoder

from bizcharts_pipeline.sentiment.minilm import EncoderModel
from bizcharts_pipeline.sentiment.neighbours import Neighbours
from bizcharts_pipeline.sentiment.scorer import Post


def made(seed: int, posts: int = 12) -> Neighbours:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((posts, SIZE)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return Neighbours(vectors, np.eye(3)[np.arange(posts) % 3], np.array([20.0, 0.02]))


@given(st.integers(0, 2**16))
def test_probabilities_sum_to_one_and_no_class_is_ruled_out(seed: int) -> None:
    neighbours = made(seed)
    found = np.exp(neighbours.log_probabilities(made(seed + 1).vectors))
    assert np.allclose(found.sum(axis=1), 1)
    assert found.min() > 0.01


def test_a_training_post_gets_its_own_class_and_a_vote_of_twice_the_weight_counts_twice() -> None:
    neighbours = made(3)
    assert neighbours.log_probabilities(neighbours.vectors).argmax(axis=1).tolist() == [0, 1, 2] * 4
    same = np.tile(neighbours.vectors[:1], (3, 1))
    weighted = Neighbours(same, np.diag([2.0, 1.0, 1.0]), np.array([20.0, 0.0]))
    assert np.allclose(np.exp(weighted.log_probabilities(same[:1])), [[0.5, 0.25, 0.25]])


def test_a_model_is_read_with_its_neighbours_and_one_without_them_as_before(tmp_path: Path) -> None:
    posts = [Post("", text) for text in ("it is over", "we are so back", "which wallet")]
    encoder, head = tiny_encoder(), np.random.default_rng(5).standard_normal((3, SIZE))
    for name, neighbours in (("with", made(1)), ("without", None)):
        folder = tmp_path / name
        folder.mkdir()
        model = EncoderModel(encoder, head, np.zeros(3), neighbours)
        model.save(folder)
        assert np.allclose(
            EncoderModel.load(folder).log_probabilities(posts), model.log_probabilities(posts), atol=1e-5
        )
    with_them, without = (EncoderModel.load(tmp_path / name).log_probabilities(posts) for name in ("with", "without"))
    assert not np.allclose(with_them, without, atol=0.01)
