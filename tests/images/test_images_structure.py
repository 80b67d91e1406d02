"""What a picture's bytes must be before anything decodes them."""

import pytest
from hostile import FORMATS, drawn, encoded, frames, jpeg_of_segments, refused_unread, sound
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bizcharts_pipeline.images.structure import Outline, PictureRejected, examine

MEDIA = {"JPEG": "image/jpeg", "PNG": "image/png", "GIF": "image/gif", "WEBP": "image/webp"}


def outline(content: bytes) -> Outline:
    return examine(content, max_bytes=8_388_608, max_pixels=40_000_000)


@pytest.mark.parametrize("name", refused_unread())
def test_what_is_no_sound_picture_of_bounded_size_is_refused_with_its_reason(name: str) -> None:
    content, reason = refused_unread()[name]
    with pytest.raises(PictureRejected, match=reason):
        outline(content)


FRAME = bytes.fromhex("000b080010001001011100")  # of 16 x 16 pixels, after its marker


@pytest.mark.parametrize(
    ("inserted", "reason"),
    [
        *((bytes((0xFF, marker)), "a misplaced marker") for marker in (0x00, *range(0xD0, 0xD9))),
        *(
            (bytes((0xFF, marker)) + FRAME, "two frames")
            for marker in (0xC0, 0xC1, 0xC3, 0xC5, 0xC7, 0xC9, 0xCB, 0xCD, 0xCF)
        ),
        *((bytes((0xFF, marker)) + FRAME, "") for marker in (0xBF, 0xC4, 0xC8, 0xCC)),  # they begin no frame
        (b"\xff\x01", ""),  # a marker without a segment
        (b"\xff\xff\xff\xfe\x00\x02", ""),  # fill bytes, and an empty comment
        (b"\xff\xfe\x00\x01", "a segment without length"),
    ],
)
def test_each_marker_of_a_jpeg_is_read_as_the_standard_says(inserted: bytes, reason: str) -> None:
    content = sound("JPEG")
    content = content[:2] + inserted + content[2:]
    if reason:
        with pytest.raises(PictureRejected, match=reason):
            outline(content)
    else:
        assert outline(content) == Outline("image/jpeg", 120, 90)


@pytest.mark.parametrize("count", [1, 2])
def test_fill_bytes_may_stand_before_the_end_of_a_jpeg(count: int) -> None:
    content = sound("JPEG")
    assert outline(content[:-2] + b"\xff" * count + content[-2:]) == Outline("image/jpeg", 120, 90)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_cut_anywhere_is_refused(kind: str) -> None:
    content = sound(kind)
    assert outline(content) == Outline(MEDIA[kind], 120, 90)
    for length in range(0, len(content), 10):
        with pytest.raises(PictureRejected):
            outline(content[:length])
    with pytest.raises(PictureRejected):
        outline(content[:-1])


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"progressive": True}),
        ("JPEG", {"exif": b"Exif\0\0" + bytes(100), "comment": b"\xff\xd9 no end"}),
        ("JPEG", {"restart_marker_blocks": 1}),
        ("PNG", {"bits": 1}),
        ("WEBP", {"lossless": True}),
        ("WEBP", {"xmp": b"<x/>"}),
    ],
)
def test_every_ordinary_flavour_is_let_pass(kind: str, options: dict[str, object]) -> None:
    assert outline(encoded(drawn(), kind, **options)) == Outline(MEDIA[kind], 120, 90)


def test_a_jpeg_of_many_segments_is_let_pass() -> None:
    assert outline(jpeg_of_segments(900)) == Outline("image/jpeg", 120, 90)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_an_animation_has_the_size_of_its_canvas(kind: str) -> None:
    assert outline(frames(kind, 5)) == Outline(MEDIA[kind], 40, 30)


def test_one_byte_or_one_pixel_over_the_limit_is_too_many() -> None:
    content = sound("PNG")
    assert examine(content, max_bytes=len(content), max_pixels=120 * 90)
    with pytest.raises(PictureRejected, match="too large"):
        examine(content, max_bytes=len(content) - 1, max_pixels=120 * 90)
    with pytest.raises(PictureRejected, match="too many pixels"):
        examine(content, max_bytes=len(content), max_pixels=120 * 90 - 1)


@settings(max_examples=400)
@given(
    kind=st.sampled_from(FORMATS),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=6),
)
def test_damage_anywhere_is_refused_or_bounded_and_never_an_error(kind: str, changes: list[tuple[float, int]]) -> None:
    content = bytearray(sound(kind))
    for place, value in changes:
        content[int(place * len(content))] = value
    try:
        passed = outline(bytes(content))
    except PictureRejected:
        return
    assert passed.width * passed.height <= 40_000_000


@settings(max_examples=200)
@given(start=st.sampled_from([sound(kind)[:20] for kind in FORMATS]), rest=st.binary(max_size=300))
def test_anything_after_a_true_signature_is_refused_or_bounded_and_never_an_error(start: bytes, rest: bytes) -> None:
    try:
        outline(start + rest)
    except PictureRejected:
        return


def test_the_size_is_the_one_that_the_decoder_finds() -> None:
    for kind in FORMATS:
        for size in ((1, 1), (1, 300), (257, 3), (1000, 999)):
            picture = encoded(Image.new("RGB", size, "red"), kind)
            assert (outline(picture).width, outline(picture).height) == size
