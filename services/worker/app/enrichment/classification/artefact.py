"""Arrays and texts as bytes with a checksum, the same bytes each time; reading them runs no code."""

import hashlib
import io
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

_MAGIC = b"IssueTracker model 1\n"
_DIGEST = 32
_EPOCH = (1980, 1, 1, 0, 0, 0)


class ArtefactError(ValueError):
    """The bytes are no artefact, or not as they were written."""


def pack(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return magic, SHA-256 and a zip of `.npy` members; texts go in as arrays of bytes (`text_array`)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in sorted(arrays.items()):
            member = io.BytesIO()
            npy.write_array(member, np.asarray(array, order="C"), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            archive.writestr(entry, member.getvalue(), zipfile.ZIP_DEFLATED, 9)
    payload = buffer.getvalue()
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def unpack(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the arrays; raise ArtefactError where the bytes are not what `pack` wrote."""
    start = len(_MAGIC) + _DIGEST
    if not data.startswith(_MAGIC) or len(data) <= start:
        raise ArtefactError("not a model of this program")
    if hashlib.sha256(data[start:]).digest() != data[len(_MAGIC) : start]:
        raise ArtefactError("the model's checksum is wrong: the file is damaged or was changed")
    with np.load(io.BytesIO(data[start:]), allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def version(data: bytes) -> str:
    """Return a name for exactly these bytes."""
    return data[len(_MAGIC) : len(_MAGIC) + _DIGEST].hex()[:12]


def text_array(text: str) -> NDArray[np.uint8]:
    """Return a text as an array of its UTF-8 bytes."""
    return np.frombuffer(text.encode(), dtype=np.uint8)


def array_text(array: NDArray[np.uint8]) -> str:
    """Return the text of `text_array`."""
    return array.tobytes().decode()
