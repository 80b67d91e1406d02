"""The guarded decoder: a real process, its limits, and what it costs when it dies."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hostile import FORMATS, bomb_in_idat, bomb_in_text, chunk, drawn, encoded, frames, png, sound
from PIL import Image

from bizcharts_pipeline.images import decode as decode_module
from bizcharts_pipeline.images.decode import Decoded, Decoder
from bizcharts_pipeline.images.first_frame import first_frame
from bizcharts_pipeline.images.structure import Outline, PictureRejected, examine

MAX_PIXELS = 4_000_000
LINUX = pytest.mark.skipif(not Path("/proc/self/limits").exists(), reason="reads /proc")


@pytest.fixture(scope="module")
def decoder() -> Iterator[Decoder]:
    with Decoder(MAX_PIXELS) as decoder:
        yield decoder


def outline(content: bytes) -> Outline:
    return examine(content, max_bytes=8_388_608, max_pixels=MAX_PIXELS)


def decode(decoder: Decoder, content: bytes) -> Decoded:
    return decoder.decode(content, outline(content))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_harmless_picture_is_measured_hashed_and_rated_low(decoder: Decoder, kind: str) -> None:
    decoded = decode(decoder, sound(kind))
    assert (decoded.width, decoded.height) == (120, 90)
    assert len(decoded.perceptual_hash or "") == 16
    assert decoder.nsfw_problem is None
    assert decoded.nsfw is not None
    assert decoded.nsfw < 0.2


def test_transparency_grey_palettes_and_cmyk_are_decoded(decoder: Decoder) -> None:
    for mode in ("RGBA", "LA", "L", "P", "1"):
        assert decode(decoder, encoded(drawn().convert(mode), "PNG")).nsfw is not None
    assert decode(decoder, encoded(drawn().convert("CMYK"), "JPEG")).nsfw is not None
    sixteen_bits = Image.new("I;16", (50, 40), 40_000)
    sixteen_bits.paste(100, (0, 0, 25, 40))
    assert decode(decoder, encoded(sixteen_bits, "PNG")).perceptual_hash is not None


def test_what_a_picture_hides_behind_transparency_is_not_what_it_is_known_by(decoder: Decoder) -> None:
    hidden = drawn().convert("RGBA")
    hidden.putalpha(0)
    assert decode(decoder, encoded(hidden, "PNG")).perceptual_hash is None  # all white


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP"])
def test_of_an_animation_of_thousands_of_frames_the_first_is_decoded(decoder: Decoder, kind: str) -> None:
    first = decode(decoder, encoded(drawn(0, (40, 30)), "PNG")).perceptual_hash
    animation = frames(kind, 3000 if kind == "GIF" else 300)
    with pytest.raises(PictureRejected, match="more than one frame"):
        decode(decoder, animation)
    decoded = decode(decoder, first_frame(animation, outline(animation).media_type))
    assert decoded.perceptual_hash
    assert first
    assert (int(decoded.perceptual_hash, 16) ^ int(first, 16)).bit_count() <= 8


@LINUX
@pytest.mark.parametrize(
    ("content", "fate"),
    [
        pytest.param(bomb_in_idat(), "decoded", id="256 MB behind the pixels"),
        pytest.param(bomb_in_text(), "cannot be decoded", id="256 MB of text"),
        pytest.param(png(8, 8, chunk(b"iCCP", b"p\0\0" + bomb_in_text()[60:-60])), "either", id="256 MB of profile"),
    ],
)
def test_a_bomb_does_not_blow_up_in_the_decoder(content: bytes, fate: str) -> None:
    with Decoder(MAX_PIXELS, rate=False) as decoder:
        decode(decoder, sound("PNG"))
        before, pid = _peak_bytes(decoder), decoder.pid
        try:
            decode(decoder, content)
            found = "decoded"
        except PictureRejected as rejected:
            found = "cannot be decoded" if "cannot be decoded" in str(rejected) else str(rejected)
        assert fate in (found, "either")
        assert decoder.pid == pid
        assert _peak_bytes(decoder) - before < 40 * 2**20


@LINUX
def test_the_process_is_limited_by_the_kernel_and_has_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "very-secret")
    with Decoder(MAX_PIXELS, seconds=3, rate=False) as decoder:
        decode(decoder, sound("PNG"))
        limits = {line[:26].strip(): line[26:].split() for line in _proc(decoder, "limits").splitlines()[1:]}
        memory = int(limits["Max address space"][0])
        assert limits["Max core file size"][:2] == ["0", "0"]
        assert limits["Max file size"][:2] == ["0", "0"]
        assert int(limits["Max open files"][1]) <= 32
        assert int(limits["Max cpu time"][0]) <= 5
        assert memory < 700 * 2**20
        assert "very-secret" not in _proc(decoder, "environ")


@LINUX
def test_the_memory_limit_suffices_for_the_largest_picture_of_any_format_and_not_for_many(decoder: Decoder) -> None:
    big = Image.new("RGBA", (2000, 2000), (10, 200, 30, 128))
    for kind, options in (
        ("PNG", {}),
        ("GIF", {}),
        ("WEBP", {"lossless": True, "method": 0}),
        ("WEBP", {"save_all": True, "append_images": [Image.new("RGBA", big.size, "red")], "method": 0}),
    ):
        content = encoded(big, kind, **options)
        assert decode(decoder, first_frame(content, outline(content).media_type)).nsfw is not None
    assert decode(decoder, encoded(big.convert("RGB"), "JPEG")).nsfw is not None
    assert _peak_bytes(decoder) < 700 * 2**20


def test_a_decoder_that_was_given_more_pixels_than_allowed_refuses_them(decoder: Decoder) -> None:
    content = encoded(Image.new("L", (4000, 4000)), "PNG")
    with pytest.raises(PictureRejected, match=r"cannot be decoded: Image size .* exceeds limit"):
        decoder.decode(content, Outline("image/png", 4000, 4000))


def test_whatever_the_checks_say_the_decoder_trusts_no_name(decoder: Decoder) -> None:
    with pytest.raises(PictureRejected, match="something else"):
        decoder.decode(sound("PNG"), Outline("image/jpeg", 120, 90))
    with pytest.raises(PictureRejected, match="disagree"):
        decoder.decode(sound("PNG"), Outline("image/png", 121, 90))
    with pytest.raises(PictureRejected, match="cannot be decoded"):
        decoder.decode(encoded(drawn(), "TIFF"), Outline("image/png", 120, 90))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
def test_a_picture_whose_pixels_end_early_is_refused(decoder: Decoder, kind: str) -> None:
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(PictureRejected):
            decoder.decode(sound(kind)[: int(len(sound(kind)) * share)], outline(sound(kind)))


DEADLY = b"deadly"


@pytest.fixture
def starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let the process note its start in a file, and die of one picture; otherwise it is the true one."""
    notes, script = tmp_path / "starts", tmp_path / "fragile.py"
    script.write_text(
        f"""
import os, signal, sys
open({str(notes)!r}, "a").write("started\\n")
sys.path.insert(0, {str(Path(decode_module.__file__).parent)!r})
import worker
answer = worker._answer
def fragile(content, rater):
    if content == {DEADLY!r}:
        os.kill(os.getpid(), signal.SIGKILL)
    return answer(content, rater)
worker._answer = fragile
worker.main(int(sys.argv[1]), int(sys.argv[2]), False)
"""
    )
    monkeypatch.setattr(decode_module, "_WORKER", script)
    return notes


def started(notes: Path) -> int:
    return len(notes.read_text().splitlines())


def test_a_picture_that_kills_the_decoder_costs_itself_whatever_came_before(starts: Path) -> None:
    with Decoder(MAX_PIXELS, rate=False) as decoder:
        for tries in (1, 3):  # a process that had decoded nothing else died of it; of another one nobody knows
            with pytest.raises(PictureRejected, match=r"crashed \(SIGKILL\)"):
                decoder.decode(DEADLY, outline(sound("PNG")))
            assert started(starts) == tries
            assert decode(decoder, sound("PNG")).width == 120
    assert started(starts) == 4


def test_a_decoder_that_died_between_two_pictures_or_at_work_costs_none() -> None:
    slow = encoded(Image.effect_noise((1900, 1900), 80), "PNG")
    with Decoder(MAX_PIXELS, rate=False) as decoder:
        decode(decoder, sound("PNG"))
        idle = decoder.pid
        assert idle
        os.kill(idle, signal.SIGKILL)
        assert decode(decoder, sound("PNG")).width == 120
        busy = decoder.pid
        assert busy
        assert busy != idle
        decode(decoder, sound("PNG"))
        os.kill(busy, signal.SIGSTOP)  # so that it is surely at work when it dies
        threading.Timer(0.2, os.kill, (busy, signal.SIGKILL)).start()
        assert decode(decoder, slow).width == 1900
        assert decoder.pid not in (idle, busy)


def test_a_decoder_that_hangs_is_ended_and_costs_one_picture() -> None:
    with Decoder(MAX_PIXELS, seconds=1, rate=False) as decoder:
        decode(decoder, sound("PNG"))
        hung = decoder.pid
        assert hung
        os.kill(hung, signal.SIGSTOP)
        with pytest.raises(PictureRejected, match="more than 1 s"):
            decode(decoder, sound("PNG"))
        assert decode(decoder, sound("PNG")).nsfw is None
        with pytest.raises(ProcessLookupError):
            os.kill(hung, 0)


def test_the_process_ends_with_its_owner() -> None:
    with Decoder(MAX_PIXELS, rate=False) as decoder:
        decode(decoder, sound("PNG"))
        pid = decoder.pid
        assert pid
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def _proc(decoder: Decoder, name: str) -> str:
    return Path(f"/proc/{decoder.pid}/{name}").read_text(encoding="utf-8", errors="replace")


def _peak_bytes(decoder: Decoder) -> int:
    line = next(line for line in _proc(decoder, "status").splitlines() if line.startswith("VmPeak"))
    return int(line.split()[1]) * 1024
