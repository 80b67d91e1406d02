"""Cuts animated pictures to their first frame, as later frames are not rated and so must not be stored.

Nothing is decoded: blocks and chunks are removed, and the rest shows the same first frame. Of a GIF everything up to
the end of its first frame is kept, of a PNG the default image without its animation, of a WebP the animation with one
frame. JPEG has one frame, and files with several JPEGs are refused (:mod:`structure`), as is AVIF.
"""

from bizcharts_pipeline.images.structure import MediaType, PictureRejected, after_sub_blocks, colour_table_bytes

_APNG = frozenset({b"acTL", b"fcTL", b"fdAT"})


def first_frame(content: bytes, media_type: MediaType) -> bytes:
    """Return the picture ``content``, which ``structure.examine`` has accepted, with its first frame only; a picture
    with one frame is unchanged.

    Raises:
        PictureRejected: it has both still and animated frames, of which programs show different ones.
    """
    if media_type == "image/gif":
        return _gif(content)
    if media_type == "image/png":
        return _png(content)
    return _webp(content) if media_type == "image/webp" else content


def _gif(content: bytes) -> bytes:
    at = 13 + colour_table_bytes(content[10])
    while content[at] != 0x2C:
        at = after_sub_blocks(content, at + 2)
    end = after_sub_blocks(content, at + 10 + colour_table_bytes(content[at + 9]) + 1)
    at = end
    while content[at] == 0x21:
        at = after_sub_blocks(content, at + 2)
    return content if content[at] == 0x3B else content[:end] + b"\x3b"


def _png(content: bytes) -> bytes:
    kept, at, animated = [content[:8]], 8, False
    while at < len(content):
        end = at + 12 + int.from_bytes(content[at : at + 4], "big")
        if content[at + 4 : at + 8] in _APNG:
            animated = True
        else:
            kept.append(content[at:end])
        at = end
    return b"".join(kept) if animated else content


def _webp(content: bytes) -> bytes:
    chunks, at = [], 12
    while at < len(content):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        end = at + 8 + length + length % 2
        chunks.append((content[at : at + 4], content[at:end]))
        at = end
    kinds = [kind for kind, _ in chunks]
    stills, frames = kinds.count(b"VP8 ") + kinds.count(b"VP8L"), kinds.count(b"ANMF")
    if stills > 1 or (stills and frames):
        raise PictureRejected("damaged WebP: several images that are not an animation")
    if frames <= 1:
        return content
    first = kinds.index(b"ANMF")
    body = b"".join(chunk for place, (kind, chunk) in enumerate(chunks) if kind != b"ANMF" or place == first)
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body
