"""Write models as safetensors: equal arrays give equal bytes, and reading them runs no code.

The format has no checksum. The shipped model has one beside it, a project's model has one in the database.
"""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save


class ArtefactError(ValueError):
    """The bytes are not a model, or differ from what was written."""


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the arrays as safetensors. Convert texts with `text_array`."""
    return save({name: np.asarray(array, order="C") for name, array in arrays.items()})


def unpack(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays. Raise ArtefactError if `data` is not safetensors."""
    try:
        return load(data)
    except SafetensorError as error:
        raise ArtefactError(f"it is not in the safetensors format ({error}): train it again") from None


def checksum(data: bytes) -> str:
    """Return the SHA-256 in hexadecimal."""
    return sha256(data).hexdigest()


def verify(data: bytes, expected: str) -> None:
    """Raise ArtefactError if the checksum of `data` is not `expected`."""
    if checksum(data) != expected:
        raise ArtefactError("its checksum is wrong: the file is damaged or was changed")


def version(data: bytes) -> str:
    """Return a short name of exactly these bytes."""
    return checksum(data)[:12]


def text_array(text: str) -> NDArray[np.uint8]:
    """Return a text as an array of its UTF-8 bytes."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def array_text(array: NDArray[np.uint8]) -> str:
    """Return the text of `text_array`."""
    return array.tobytes().decode()
