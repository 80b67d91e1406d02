"""Pictures made in memory: sound ones of every format, and the hostile ones that the checks must stop."""

import struct
import zlib
from functools import cache
from io import BytesIO
from random import Random

from PIL import Image, ImageDraw

FORMATS = ("JPEG", "PNG", "GIF", "WEBP")


def drawn(seed: int = 0, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """A few coloured boxes: different for every seed, and nothing that anybody could mind."""
    rng = Random(seed)
    image = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        left, top = rng.randrange(size[0]), rng.randrange(size[1])
        box = (left, top, left + rng.randrange(5, 60), top + rng.randrange(5, 60))
        draw.rectangle(box, fill=tuple(rng.randrange(256) for _ in range(3)))
    return image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@cache
def sound(kind: str) -> bytes:
    return encoded(drawn(), kind)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *chunks: bytes, pixels: bytes | None = None) -> bytes:
    """A greyscale PNG, whose pixels need not fit to its size."""
    data = zlib.compress(bytes((width + 1) * height), 9) if pixels is None else pixels
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def jpeg_claiming(width: int, height: int) -> bytes:
    content = bytearray(sound("JPEG"))
    frame = content.index(b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(content)


def gif_claiming(width: int, height: int) -> bytes:
    content = bytearray(sound("GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def gif_with_a_frame_of(width: int, height: int) -> bytes:
    """Its screen is small and its frame is not."""
    content = bytearray(sound("GIF"))
    frame = 13 + (3 << ((content[10] & 7) + 1))
    while content[frame] != 0x2C:
        frame += 8  # the graphic control extension
    content[frame + 5 : frame + 9] = struct.pack("<HH", width, height)
    return bytes(content)


def webp_claiming(width: int, height: int) -> bytes:
    content = bytearray(encoded(drawn(), "WEBP", xmp=b"<x/>"))  # with metadata, so it has a canvas
    content[24:30] = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes(content)


def frames(kind: str, count: int) -> bytes:
    pictures = [drawn(seed, (40, 30)) for seed in range(min(count, 20))] * (count // 20 + 1)
    return encoded(pictures[0], kind, save_all=True, append_images=pictures[1:count], duration=10)


@cache
def bomb_in_idat() -> bytes:
    """8 x 8 pixels, and behind them 256 MB of zeros."""
    compressor = zlib.compressobj(9)
    zeros = bytes(2**20)
    body = b"".join(compressor.compress(zeros) for _ in range(256)) + compressor.flush()
    return png(8, 8, pixels=body)


@cache
def bomb_in_text() -> bytes:
    """A compressed text of 256 MB."""
    compressor = zlib.compressobj(9)
    zeros = bytes(2**20)
    body = b"".join(compressor.compress(zeros) for _ in range(256)) + compressor.flush()
    return png(8, 8, chunk(b"zTXt", b"Comment\0\0" + body))


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!DOCTYPE html><html><script>alert(1)</script></html>"
WEBM = b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01" + bytes(500)
MP4 = b"\0\0\0\x20ftypisom" + bytes(500)
ZIP = b"PK\x03\x04" + bytes(60) + b"PK\x05\x06" + bytes(18)


@cache
def refused_unread() -> dict[str, tuple[bytes, str]]:
    """What must be stopped before any decoder sees it, by name: the content, and a word of the reason."""
    return {
        "nothing at all": (b"", "empty"),
        "random bytes": (Random(7).randbytes(5000), "unknown signature"),
        "a PNG of 60,000 x 60,000": (png(60_000, 60_000, pixels=b""), "too many pixels"),
        "a JPEG of 60,000 x 60,000": (jpeg_claiming(60_000, 60_000), "too many pixels"),
        "a GIF of 60,000 x 60,000": (gif_claiming(60_000, 60_000), "too many pixels"),
        "a GIF whose frame is 60,000 x 60,000": (gif_with_a_frame_of(60_000, 60_000), "too many pixels"),
        "a WebP of 16,000 x 16,000": (webp_claiming(16_000, 16_000), "too many pixels"),
        "a PNG without height": (png(10, 0), "no pixels"),
        "a JPEG with HTML behind": (sound("JPEG") + HTML, "after its end"),
        "a JPEG with a ZIP behind": (sound("JPEG") + ZIP, "after its end"),
        "a PNG with a ZIP behind": (sound("PNG") + ZIP, "after its end"),
        "a GIF with HTML behind": (sound("GIF") + HTML, "after its end"),
        "a WebP with a ZIP behind": (sound("WEBP") + ZIP, "after its end"),
        "a ZIP": (ZIP, "ZIP"),
        "an SVG": (SVG, "SVG"),
        "a page": (HTML, "HTML"),
        "a WebM video": (WEBM, "WebM"),
        "an MP4 video": (MP4, "MP4"),
        "a PDF": (b"%PDF-1.7\n" + bytes(50), "PDF"),
        "a TIFF": (encoded(drawn(), "TIFF"), "TIFF"),
        "a BMP": (encoded(drawn(), "BMP"), "BMP"),
        "a PNG with a flipped bit": (sound("PNG").replace(b"IDAT", b"IDAU"), "checksum"),
        "a PNG with two headers": (png(8, 8, chunk(b"IHDR", bytes(13))), "repeated header"),
        "a JPEG of 1,000 scans": (jpeg_of_many_scans(), "scans"),
        "a JPEG of 1,001 segments": (jpeg_of_segments(1_001), "segments"),
    }


def jpeg_of_segments(count: int) -> bytes:
    """So many metadata segments beside its own, each of which Pillow puts behind all before it."""
    exif = b"\xff\xe1" + struct.pack(">H", 9) + b"Exif\0\0a"
    return sound("JPEG")[:2] + exif * count + sound("JPEG")[2:]


def jpeg_of_many_scans() -> bytes:
    content = encoded(drawn(), "JPEG", progressive=True)
    scan = content.rindex(b"\xff\xda")
    return content[:scan] + content[scan:-2] * 1000 + content[-2:]
