"""Validates a picture's structure before it is decoded: format, dimensions, and completeness.

Four formats: JPEG (ITU-T T.81), PNG (W3C, third edition), GIF (89a) and WebP (RFC 9649). Their outer structure is
walked to the end; no pixel is decompressed here. Refused are other signatures (SVG, HTML, video, archives), truncated
files, files with trailing bytes (a second file may be hidden there), and files whose header claims more pixels than
allowed. Nothing is repaired: the stored file is the file as served, or the first frame of an animation
(:mod:`first_frame`).
"""

import zlib
from dataclasses import dataclass
from typing import Literal

MediaType = Literal["image/jpeg", "image/png", "image/gif", "image/webp"]

EXTENSIONS: dict[MediaType, str] = {"image/jpeg": "jpg", "image/png": "png", "image/gif": "gif", "image/webp": "webp"}
MAX_JPEG_SEGMENTS = 1_000  # 255 for a colour profile and a few more; Pillow takes time quadratic in their number
MAX_JPEG_SCANS = 100  # a progressive JPEG has about ten; each costs the decoder a pass over the whole image

_OTHERS = (
    (b"\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
    (b"%PDF", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"GIF", "an unknown version of GIF"),
    (b"BM", "a BMP"),
    (b"II*\x00", "a TIFF"),
    (b"MM\x00*", "a TIFF"),
    (b"CWS", "a Flash film"),
    (b"FWS", "a Flash film"),
)


class PictureRejected(Exception):
    """A picture is refused; the message is a short reason."""


@dataclass(frozen=True)
class Outline:
    """Metadata from the image header; width and height in pixels."""

    media_type: MediaType
    width: int
    height: int


def examine(content: bytes, *, max_bytes: int, max_pixels: int) -> Outline:
    """Return the outline (format, size) of a picture that may be decoded.

    Raises:
        PictureRejected: it may not; see the module's docstring.
    """
    if not content:
        raise PictureRejected("empty")
    if len(content) > max_bytes:
        raise PictureRejected(f"too large: {len(content):,} bytes, {max_bytes:,} allowed")
    try:
        outline, end = _walk(content)
    except IndexError:
        raise PictureRejected("truncated") from None
    if outline.width == 0 or outline.height == 0:
        raise PictureRejected("no pixels")
    if outline.width * outline.height > max_pixels:
        raise PictureRejected(f"too many pixels: {outline.width:,} x {outline.height:,}, {max_pixels:,} allowed")
    if end < len(content):
        raise PictureRejected(f"{len(content) - end:,} bytes after its end")
    return outline


def media_type_of(content: bytes) -> MediaType:
    """Return the format of a picture by its first bytes.

    Raises:
        PictureRejected: it is none of the four.
    """
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    raise PictureRejected(f"not an image: {_other(content)}")


def _walk(content: bytes) -> tuple[Outline, int]:
    """Return the outline and the position after the picture's end; ``IndexError`` if the file is truncated."""
    readers = {"image/jpeg": _jpeg, "image/png": _png, "image/gif": _gif, "image/webp": _webp}
    return readers[media_type_of(content)](content)


def _other(content: bytes) -> str:
    for signature, name in _OTHERS:
        if content.startswith(signature):
            return name
    if content[4:8] == b"ftyp":
        return "an MP4, AVIF or HEIC"
    start = content[:1024].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        return "SVG"
    if start.startswith(b"<"):
        return "HTML or XML"
    return "unknown signature"


def _slice(content: bytes, start: int, length: int) -> bytes:
    if start + length > len(content):
        raise IndexError
    return content[start : start + length]


def _number(content: bytes, start: int, length: int, order: Literal["big", "little"]) -> int:
    return int.from_bytes(_slice(content, start, length), order)


def _jpeg(content: bytes) -> tuple[Outline, int]:
    """Walk the marker segments; within a scan, skip to the next marker that is neither stuffing nor a restart."""
    size: tuple[int, int] | None = None
    segments = scans = 0
    at = 2
    while True:
        if content[at] != 0xFF:
            raise PictureRejected("damaged JPEG: a marker is missing")
        while content[at] == 0xFF:  # any marker may be preceded by fill bytes
            at += 1
        marker = content[at]
        at += 1
        if marker == 0xD9:
            if size is None or scans == 0:
                raise PictureRejected("damaged JPEG: no image data")
            return Outline("image/jpeg", *size), at
        if marker == 0x00 or marker == 0xD8 or 0xD0 <= marker <= 0xD7:
            raise PictureRejected("damaged JPEG: a misplaced marker")
        if marker == 0x01:
            continue
        length = _number(content, at, 2, "big")
        if length < 2:
            raise PictureRejected("damaged JPEG: a segment without length")
        segment = _slice(content, at, length)
        segments += 1
        if segments > MAX_JPEG_SEGMENTS:
            raise PictureRejected(f"more than {MAX_JPEG_SEGMENTS:,} segments")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            if size is not None:
                raise PictureRejected("damaged JPEG: two frames")
            size = _number(segment, 5, 2, "big"), _number(segment, 3, 2, "big")
        at += length
        if marker == 0xDA:
            scans += 1
            if scans > MAX_JPEG_SCANS:
                raise PictureRejected(f"more than {MAX_JPEG_SCANS} scans")
            at = _end_of_scan(content, at)


def _end_of_scan(content: bytes, at: int) -> int:
    while True:
        at = content.find(b"\xff", at)
        if at < 0:
            raise IndexError
        following = content[at + 1]
        if following != 0x00 and not 0xD0 <= following <= 0xD7 and following != 0xFF:
            return at
        at += 1 if following == 0xFF else 2


def _png(content: bytes) -> tuple[Outline, int]:
    """Walk the chunks and verify their checksums."""
    size: tuple[int, int] | None = None
    data = False
    at = 8
    while True:
        length = _number(content, at, 4, "big")
        body = _slice(content, at + 4, 4 + length)
        kind = body[:4]
        if _number(content, at + 8 + length, 4, "big") != zlib.crc32(body):
            raise PictureRejected("damaged PNG: wrong checksum")
        if (kind == b"IHDR") != (size is None) or (kind == b"IHDR" and length != 13):
            raise PictureRejected("damaged PNG: missing or repeated header")
        if kind == b"IHDR":
            size = _number(body, 4, 4, "big"), _number(body, 8, 4, "big")
        data = data or kind == b"IDAT"
        at += 12 + length
        if kind == b"IEND":
            if size is None or not data:
                raise PictureRejected("damaged PNG: no image data")
            return Outline("image/png", *size), at


def _gif(content: bytes) -> tuple[Outline, int]:
    """Walk the blocks; a first frame larger than the screen determines the size, as decoders enlarge the screen."""
    width, height = _number(content, 6, 2, "little"), _number(content, 8, 2, "little")
    at = 13 + colour_table_bytes(content[10])
    frames = 0
    while True:
        block = content[at]
        if block == 0x3B:
            if frames == 0:
                raise PictureRejected("damaged GIF: no image data")
            return Outline("image/gif", width, height), at + 1
        if block == 0x21:
            at = after_sub_blocks(content, at + 2)
        elif block == 0x2C:
            left, top, wide, high = (_number(content, at + 1 + 2 * field, 2, "little") for field in range(4))
            if frames == 0:
                width, height = max(width, left + wide), max(height, top + high)
            frames += 1
            at = after_sub_blocks(content, at + 10 + colour_table_bytes(content[at + 9]) + 1)
        else:
            raise PictureRejected("damaged GIF: unknown block")


def colour_table_bytes(flags: int) -> int:
    """Return the size in bytes of a GIF's colour table, from its ``flags``."""
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0


def after_sub_blocks(content: bytes, at: int) -> int:
    """Return the position after a GIF's sub-blocks that start at ``at``."""
    while length := content[at]:
        at += 1 + length
    return at + 1


def _webp(content: bytes) -> tuple[Outline, int]:
    """Walk the RIFF chunks; the first one has the size of the canvas or of the only image."""
    end = 8 + _number(content, 4, 4, "little")
    if end > len(content):
        raise IndexError
    size = _webp_size(content)
    data = False
    at = 12
    while at < end:
        kind = _slice(content, at, 4)
        length = _number(content, at + 4, 4, "little")
        at += 8 + length + length % 2
        data = data or kind in (b"VP8 ", b"VP8L", b"ANMF")
    if at != end or not data:
        raise PictureRejected("damaged WebP: its chunks do not match its size")
    return Outline("image/webp", *size), end


def _webp_size(content: bytes) -> tuple[int, int]:
    kind = _slice(content, 12, 4)
    if kind == b"VP8X":
        return 1 + _number(content, 24, 3, "little"), 1 + _number(content, 27, 3, "little")
    if kind == b"VP8L":
        bits = _number(content, 21, 4, "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return _number(content, 26, 2, "little") & 0x3FFF, _number(content, 28, 2, "little") & 0x3FFF
    raise PictureRejected("damaged WebP: no image data")
