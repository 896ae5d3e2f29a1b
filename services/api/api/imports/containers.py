"""Unpack an imported file, and recognise its format by its content if the content type does not name it."""

import zlib

from fastapi import HTTPException

from api.gzip_bodies import MEMBERS_MAX
from contracts.states import ImportFormat

_CHUNK = 256 * 1024
_PIECE = 64 * 1024
"""Compressed bytes that are read at a time. zlib copies the rest of them at the end of a member."""
_GZIP = b"\x1f\x8b"
_ZIP = b"PK\x03\x04"
_WORKBOOK = b"xl/workbook"
_FOREIGN = {
    b"\xd0\xcf\x11\xe0": "an old or encrypted Excel workbook. Save it as .xlsx without a password, or as CSV",
    b"%PDF": "a PDF document. Export the issues as CSV",
    b"BZh": "a bzip2 archive. Use gzip",
    b"\xfd7zXZ": "an xz archive. Use gzip",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive. Use gzip",
    b"7z\xbc\xaf": "a 7-Zip archive. Use gzip",
    b"\x89PNG": "an image. Export the issues as CSV",
    b"\xff\xd8\xff": "an image. Export the issues as CSV",
    b"SQLite format 3": "an SQLite database. Export the issues as CSV",
}
"""Formats that people send by mistake, by their first bytes (https://en.wikipedia.org/wiki/List_of_file_signatures)."""
_PAGES = (b"<!doctype", b"<html")


def unpack(body: bytes, max_bytes: int) -> bytes:
    """Return the content of a gzip file (RFC 1952), or another file unchanged.

    Raise a 413 error for more than `max_bytes`, and a 422 error for a damaged file.
    """
    if not body.startswith(_GZIP):
        return body
    parts, size, position, members = [], 0, 0, 0
    while body.startswith(_GZIP, position):  # a file may have several members
        members += 1
        if members > MEMBERS_MAX:
            detail = f"The gzip file has more than {MEMBERS_MAX} members. Compress it again."
            raise HTTPException(422, detail)
        decompressor = zlib.decompressobj(16 + zlib.MAX_WBITS)
        while not decompressor.eof:
            piece = body[position : position + _PIECE]
            try:
                part = decompressor.decompress(piece, _CHUNK)
            except zlib.error:
                raise HTTPException(422, "The gzip file is damaged. Compress it again.") from None
            position += len(piece) - len(decompressor.unconsumed_tail) - len(decompressor.unused_data)
            size += len(part)
            if size > max_bytes:
                raise HTTPException(413, f"The unpacked file has more than {max_bytes} bytes. Split it.")
            parts.append(part)
            if not part and not piece and not decompressor.eof:
                raise HTTPException(422, "The gzip file is incomplete. Send the whole file.")
    return b"".join(parts)


def is_workbook(body: bytes) -> bool:
    """Return whether an unpacked file may be an Excel workbook, which is a ZIP archive."""
    return body.startswith(_ZIP)


def recognise(body: bytes, declared: ImportFormat | None) -> ImportFormat:
    """Return the format of an unpacked file. Its content decides if it is a workbook, or if none is declared.

    Raise a 415 error for a format that cannot be imported.
    """
    if is_workbook(body):
        if _WORKBOOK in body:
            return ImportFormat.XLSX
        raise HTTPException(415, "The file is a ZIP archive, not an Excel workbook. Use .xlsx, CSV or gzip.")
    for mark, description in _FOREIGN.items():
        if body.startswith(mark):
            raise HTTPException(415, f"The file is {description}.")
    start = body[:512].lstrip(b"\xef\xbb\xbf\xff\xfe\x00 \t\r\n").replace(b"\x00", b"")
    if start[:9].lower().startswith(_PAGES):
        raise HTTPException(415, "The file is an HTML page, perhaps a login page. Export the issues as CSV.")
    if declared is ImportFormat.XLSX:
        raise HTTPException(415, "The file is not an Excel workbook (.xlsx). Send it with its own content type.")
    return declared or _guess(start)


def _guess(start: bytes) -> ImportFormat:
    if start.startswith(b"["):
        return ImportFormat.JSON
    return ImportFormat.NDJSON if start.startswith(b"{") else ImportFormat.CSV
