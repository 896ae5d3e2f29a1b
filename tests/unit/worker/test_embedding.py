"""The embedding model: what it makes of texts, and what becomes of it when its files are not right."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.enrichment import embedding
from app.enrichment.embedding import DIMENSIONS, MAX_TOKENS, Embedder, ModelUnavailable


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def test_texts_that_mean_the_same_are_nearer_than_those_that_share_words(embedder: Embedder) -> None:
    asked = embedder.embed("The program stops when I save a large file")
    reworded = embedder.embed("It crashes on storing big documents")
    other = embedder.embed("A large file icon for the save button of the program")

    assert asked @ reworded > asked @ other


def test_the_same_text_gives_the_same_vector_in_every_process(embedder: Embedder) -> None:
    text = "The export fails with an error since Monday. Only reports with images are affected."

    vector = embedder.embed(text)

    assert vector.dtype == np.float32
    assert vector.tobytes() == embedder.embed(text).tobytes() == Embedder().embed(text).tobytes()


def test_no_more_is_read_than_the_model_takes(embedder: Embedder) -> None:
    start = "word " * MAX_TOKENS

    assert embedder.embed(start).tobytes() == embedder.embed(start + "quite another matter").tobytes()


@pytest.mark.parametrize(
    "text",
    ["", " ", "\x00", "🐛" * 5000, "á" * 100_000, "\n" * 100_000, "((((" * 50_000, "[CLS] [SEP]"],
    ids=["empty", "space", "nul", "emoji", "one word", "lines", "brackets", "marks"],
)
def test_hostile_texts_have_a_vector_too(text: str, embedder: Embedder) -> None:
    _assert_unit(embedder.embed(text))


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=300))
def test_every_text_has_a_vector_of_length_one(embedder: Embedder, text: str) -> None:
    _assert_unit(embedder.embed(text))


def _assert_unit(vector: embedding.Vector) -> None:
    assert vector.shape == (DIMENSIONS,)
    assert float(np.linalg.norm(vector)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("file", ["weights", "vocabulary"])
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.write_bytes(b"a download that stopped half way"), "the SHA-256 is not"),
    ],
    ids=["missing", "damaged"],
)
def test_a_missing_or_damaged_file_is_told_by_its_name(
    file: str, damage: Callable[[Path], object], said: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"")
    damage(path)

    with pytest.raises(ModelUnavailable, match=f"model.bin: {said}"):
        Embedder(**{file: path})
