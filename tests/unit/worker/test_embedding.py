"""The embedding model: its vectors, and its errors for missing or damaged files."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.enrichment import embedding
from app.enrichment.embedding import DIMENSIONS, MAX_TOKENS, Embedder, ModelUnavailable
from tests.support.processes import WORKER


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def test_embedding_of_paraphrase_is_closer_than_shared_words(embedder: Embedder) -> None:
    query = embedder.embed("The program stops when I save a large file")
    reworded = embedder.embed("It crashes on storing big documents")
    other = embedder.embed("A large file icon for the save button of the program")

    assert query @ reworded > query @ other


def test_embedding_of_same_text_is_identical_across_instances(embedder: Embedder) -> None:
    text = "The export fails with an error since Monday. Only reports with images are affected."

    vector = embedder.embed(text)

    assert vector.dtype == np.float32
    assert vector.tobytes() == embedder.embed(text).tobytes() == Embedder().embed(text).tobytes()


def test_embedding_of_long_text_ignores_tokens_beyond_maximum(embedder: Embedder) -> None:
    start = "word " * MAX_TOKENS

    assert embedder.embed(start).tobytes() == embedder.embed(start + "quite another matter").tobytes()


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00", "🐛" * 5000, "á" * 100_000, "\n" * 100_000, "((((" * 50_000, "[CLS] [SEP]"],
    ids=["empty", "space", "nul", "emoji", "one_word", "lines", "brackets", "special_tokens"],
)
def test_embedding_of_hostile_text_has_unit_length(text: str, embedder: Embedder) -> None:
    _assert_unit(embedder.embed(text))


@settings(max_examples=25)
@given(st.text(max_size=300))
def test_embedding_of_any_text_has_unit_length(embedder: Embedder, text: str) -> None:
    _assert_unit(embedder.embed(text))


def _assert_unit(vector: embedding.Vector) -> None:
    assert vector.shape == (DIMENSIONS,)
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("file", ["weights", "vocabulary"])
@pytest.mark.parametrize(
    ("damage", "error"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b"a download that stopped half way"), "the SHA-256 is not"),
    ],
    ids=["missing", "damaged"],
)
def test_embedder_with_missing_or_damaged_file_raises_error_with_file_name(
    file: str, damage: Callable[[Path], object], error: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"")
    damage(path)

    with pytest.raises(ModelUnavailable, match=f"model.bin: {error}"):
        Embedder(**{file: path})


def test_embedder_stores_no_telemetry_in_home_directory(tmp_path: Path) -> None:
    """The library stores its events before it sends them."""
    code = "from app.enrichment.embedding import Embedder; Embedder().embed('text')"
    env = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}

    subprocess.run([sys.executable, "-c", code], cwd=WORKER, env=env, check=True)

    assert list(tmp_path.rglob("*")) == []
