"""Kept vectors: never another vector than the encoder's, whatever happens to the file."""

import logging
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tiny_encoder import tiny_encoder

from bizcharts_pipeline.sentiment import vectors
from bizcharts_pipeline.sentiment.vectors import FILE, SET_ASIDE, FileStore, KeepingEncoder

TEXTS = [f"the coin number {number} is over" for number in range(40)]
EXACT = tiny_encoder().encode(TEXTS)


def encoded(store: FileStore, texts: list[str] = TEXTS, seed: int = 1) -> tuple[np.ndarray, bool]:
    """Return the vectors by a new encoder, and whether it had to compute any."""
    encoder = tiny_encoder(seed)
    found = KeepingEncoder(encoder, store).encode(texts)
    return found, "_session" in vars(encoder)


def test_a_text_is_encoded_once_and_its_vector_stays_the_same_to_the_last_bit(tmp_path: Path) -> None:
    for expected in (True, False):
        found, computed = encoded(FileStore(tmp_path), [*TEXTS, *TEXTS[:3]])
        assert np.array_equal(found, np.concatenate([EXACT, EXACT[:3]]))
        assert computed == expected
    assert encoded(FileStore(tmp_path), [])[0].shape == (0, 8)


def test_another_encoder_gets_no_vectors_of_this_one(tmp_path: Path) -> None:
    encoded(FileStore(tmp_path))
    others = [tiny_encoder(seed=2), tiny_encoder(pooling="cls"), tiny_encoder(tokens=5)]
    for other in others:
        assert np.array_equal(KeepingEncoder(other, FileStore(tmp_path)).encode(TEXTS), other.encode(TEXTS))


def test_the_oldest_vectors_go_when_there_are_too_many(tmp_path: Path) -> None:
    store = FileStore(tmp_path, max_texts=10)
    for start in range(0, 40, 8):
        encoded(store, TEXTS[start : start + 8])
    assert rows(tmp_path) == 10
    assert not encoded(store, TEXTS[30:])[1]
    assert encoded(store, TEXTS[:1])[1]


@pytest.mark.parametrize("place", range(0, 40_000, 1_499))
def test_a_flipped_byte_changes_no_vector(tmp_path: Path, place: int) -> None:
    encoded(FileStore(tmp_path))
    file = tmp_path / FILE
    content = bytearray(file.read_bytes())
    content[place % len(content)] ^= 0x55
    file.write_bytes(content)
    for _ in range(3):
        assert np.array_equal(encoded(FileStore(tmp_path))[0], EXACT)
    assert not encoded(FileStore(tmp_path))[1], "the store works again"


def empty_table(file: Path) -> None:
    file.unlink()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("CREATE TABLE vectors (something TEXT)")


def exchanged(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        (other,) = connection.execute("SELECT vector FROM vectors LIMIT 1").fetchone()
        connection.execute("UPDATE vectors SET vector = ?", (other,))


def not_bytes(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("UPDATE vectors SET vector = NULL")


@pytest.mark.parametrize(
    "damage",
    [
        empty_table,
        exchanged,
        not_bytes,
        lambda file: file.write_bytes(b"no database" * 1_000),
        lambda file: file.write_bytes(file.read_bytes()[:5_000]),
    ],
)
def test_a_damaged_file_is_set_aside_and_made_again(
    tmp_path: Path, damage: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    encoded(FileStore(tmp_path))
    damage(tmp_path / FILE)
    with caplog.at_level(logging.WARNING):
        assert np.array_equal(encoded(FileStore(tmp_path))[0], EXACT)
    assert (tmp_path / SET_ASIDE).exists()
    assert "is damaged" in caplog.text
    assert not encoded(FileStore(tmp_path))[1]


def test_texts_are_encoded_where_vectors_cannot_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vectors, "BUSY_SECONDS", 0.1)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder" / FILE).mkdir(parents=True)
    for folder in (tmp_path / "file", tmp_path / "folder", tmp_path / "no" / "home"):
        assert np.array_equal(encoded(FileStore(folder))[0], EXACT)
    encoded(FileStore(tmp_path))
    with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        assert np.array_equal(encoded(FileStore(tmp_path))[0], EXACT)
        other.execute("ROLLBACK")
    assert not encoded(FileStore(tmp_path))[1], "what another process holds is not damaged"


@pytest.mark.slow
def test_a_kill_while_vectors_are_written_leaves_no_wrong_one(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from test_vectors import FileStore, encoded\n"
        "for number in range(10**6):\n"
        "    encoded(FileStore(Path(sys.argv[1])), [f'text {number} {k}' for k in range(50)])\n"
        "    print(number, flush=True)\n"
    )
    path = os.pathsep.join([*sys.path, str(Path(__file__).parent)])
    texts = [f"text {number} {k}" for number in range(3) for k in range(50)]
    exact = tiny_encoder().encode(texts)
    for kill in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path},
        ) as writer:
            assert writer.stdout
            for _ in range(kill + 1):
                writer.stdout.readline()
            writer.send_signal(signal.SIGKILL)
        assert np.array_equal(encoded(FileStore(tmp_path), texts)[0], exact)
        assert not (tmp_path / SET_ASIDE).exists(), "a kill damages nothing"


def rows(folder: Path) -> int:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        return int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
