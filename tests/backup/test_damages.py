"""Seeded random damages of everything that a home and its backup consist of: each is named, none is called good, the
rest stays readable.

What cannot be known, and is not tried here: a log that was cut exactly between two commits, a log exchanged for another
while its database has no seal, a change in a ledger that was killed and so has no seal, and words of eight bytes that
changed places within one block of the database file.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest
from backup_world import NOW, World, leave_ledger_log, leave_log, make_world, tree

from bizcharts_pipeline.backup import repair
from bizcharts_pipeline.backup.create import create
from bizcharts_pipeline.backup.restore import restore
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.sqlite_log import find_fault

PAGE = 4096
FAST = 28
MANY = 400


@dataclass(frozen=True)
class Originals:
    """Sound homes of two seeds, in the states in which their files are damaged, and a backup of each."""

    clean: tuple[World, World]
    logged: tuple[World, World]  # with logs beside database and ledgers
    backups: tuple[Path, Path]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Originals:
    folder = tmp_path_factory.mktemp("originals")
    clean = tuple(make_world(folder / f"clean{seed}", seed) for seed in (1, 2))
    logged = tuple(world.copy(folder / f"logged{seed}") for seed, world in enumerate(clean))
    backups = tuple(folder / f"backup{seed}" for seed in (1, 2))
    for seed, (world, file) in enumerate(zip(clean, backups, strict=True)):
        create(world.database, world.home, file, NOW)
        leave_log(logged[seed], seed=seed)
        for ledger in ("labels", "pods", "requests"):
            leave_ledger_log(logged[seed].home / "ledgers" / f"{ledger}.sqlite")
    return Originals(clean, logged, backups)  # type: ignore[arg-type]


def flip(content: bytearray, random: Random, _: bytes) -> None:
    content[random.randrange(len(content))] ^= 1 << random.randrange(8)


def flip_some(content: bytearray, random: Random, other: bytes) -> None:
    for _ in range(random.randrange(2, 9)):
        flip(content, random, other)


def cut(content: bytearray, random: Random, _: bytes) -> None:
    del content[random.randrange(len(content)) :]


def zero_page(content: bytearray, random: Random, _: bytes) -> None:
    start = random.randrange(len(content)) // PAGE * PAGE
    content[start : start + PAGE] = bytes(len(content[start : start + PAGE]))


def overwrite(content: bytearray, random: Random, _: bytes) -> None:
    start = random.randrange(len(content))
    end = min(len(content), start + random.randrange(1, 2 * PAGE))
    content[start:end] = random.randbytes(end - start)


def append(content: bytearray, random: Random, _: bytes) -> None:
    content += random.randbytes(random.randrange(1, 2 * PAGE))


def exchange(content: bytearray, _: Random, other: bytes) -> None:
    content[:] = other


DAMAGES: list[Callable[[bytearray, Random, bytes], None]] = [flip, flip, flip_some, cut, zero_page, overwrite, append]
WHAT = ("backup", "database", "database log", "ledger", "ledger log", "model", "data set")


def damage_file(path: Path, other: Path, random: Random, *, exchanged: bool) -> str:
    """Damage ``path`` and return how; ``exchanged``: it may also be replaced by ``other``, a sound file of its kind."""
    before = path.read_bytes()
    while True:
        damage = random.choice([*DAMAGES, exchange] if exchanged else DAMAGES)
        content = bytearray(before)
        damage(content, random, other.read_bytes())
        if content != before:
            path.write_bytes(content)
            return damage.__name__


def choose(what: str, world: World, random: Random) -> Path:
    """Return a file of ``world`` of the kind ``what``."""
    home = world.home
    match what:
        case "database":
            return world.database.path
        case "database log":
            return Path(f"{world.database.path}.wal")
        case "ledger":
            return random.choice(sorted(home.glob("ledgers/*.sqlite")))
        case "ledger log":
            return random.choice(sorted(home.glob("ledgers/*.sqlite-wal")))
        case "model":
            return random.choice(sorted(path for path in home.glob("models/*/*") if path.is_file()))
        case _:
            return random.choice(sorted(path for path in home.glob("datasets/**/*.json") if path.is_file()))


def try_damage(originals: Originals, seed: int, folder: Path, caplog: pytest.LogCaptureFixture) -> str:
    """Do one damage, and assert that it is named; return what it was.

    A log that looks as a kill leaves it is named by a warning, and refuses no backup.
    """
    random = Random(seed)
    what = WHAT[seed % len(WHAT)]
    if what == "backup":
        file = folder / "file"
        shutil.copy(originals.backups[0], file)
        how = damage_file(file, originals.backups[1], random, exchanged=False)
        target = World(folder / "target")
        with pytest.raises(BizchartsError, match=re.escape(str(file))):
            restore(target.database, target.home, file, NOW)
        assert not target.database.path.exists()
        assert not (target.home / "ledgers").exists()
        return f"{what} {how}"
    pair = originals.logged if "log" in what else originals.clean
    world = pair[0].copy(folder / "home")
    path = choose(what, world, random)
    relative = path.relative_to(world.home)
    others = sorted(pair[1].home.glob(f"{relative.parts[0]}/**/{path.name}")) or [pair[1].home / relative]
    other = others[0] if others[0].exists() else originals.backups[1]
    # Which of two sound logs is its database's own cannot be known without a seal.
    how = damage_file(path, other, random, exchanged="log" not in what)
    name = path.name.removesuffix("-wal")
    fault = find_fault(path.with_name(name)) if what == "ledger log" else None
    says = f"{fault.text}, as a kill or a power cut leaves it" if fault and fault.cut else ""
    if what == "database log" and how in ("cut", "append"):  # no transaction that a kill would have kept is lost
        says = "are an incomplete transaction of a killed process; they are ignored"
    if says:
        caplog.clear()
        create(world.database, world.home, folder / "file", NOW)
        assert says in caplog.text
        assert repair.find_damage(world.database, world.home) == []
        check_rest(world, originals.clean[0], what, path)
        return f"{what} {how}"
    if what in ("model", "data set"):
        name = relative.parts[1]
    with pytest.raises(BizchartsError, match=re.escape(name)):
        create(world.database, world.home, folder / "file", NOW)
    assert not (folder / "file").exists()
    found = repair.find_damage(world.database, world.home)
    assert [damage for damage in found if str(relative.parts[0]) in str(damage.path)], found
    check_rest(world, originals.clean[0], what, path)
    return f"{what} {how}"


def check_rest(world: World, sound: World, what: str, path: Path) -> None:
    """Assert that all that was not damaged can be read."""
    if "database" not in what:
        with world.database.read() as connection:
            assert connection.execute("SELECT count(*) FROM thread_ops").fetchall()[0][0] >= 24_000
    if "labels" not in path.name:
        assert len(world.labels.standing()) == len(sound.labels.standing())


def run(originals: Originals, tmp_path: Path, seeds: range, caplog: pytest.LogCaptureFixture) -> None:
    done: dict[str, int] = {}
    for seed in seeds:
        folder = tmp_path / f"{seed}"
        folder.mkdir()
        try:
            kind = try_damage(originals, seed, folder, caplog)
        except BaseException as error:
            error.add_note(f"seed {seed}: {WHAT[seed % len(WHAT)]}")
            raise
        done[kind] = done.get(kind, 0) + 1
        shutil.rmtree(folder)
    print(f"{len(seeds)} damages, each named:", *(f"{kind}: {count}" for kind, count in sorted(done.items())), sep="\n")
    assert {kind.rpartition(" ")[0] for kind in done} == set(WHAT)


@pytest.mark.slow
def test_random_damages_are_named_and_never_called_good(
    originals: Originals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(originals, tmp_path, range(FAST), caplog)


@pytest.mark.acceptance
def test_four_hundred_random_damages_are_named_and_never_called_good(
    originals: Originals, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run(originals, tmp_path, range(1000, 1000 + MANY), caplog)


@pytest.mark.slow
def test_sound_homes_and_backups_are_called_good(originals: Originals, tmp_path: Path) -> None:
    for number, world in enumerate((*originals.clean, *originals.logged)):
        copied = world.copy(tmp_path / f"home{number}")
        assert repair.find_damage(copied.database, copied.home) == []
        create(copied.database, copied.home, tmp_path / f"file{number}", NOW)
        second = World(tmp_path / f"second{number}")
        restore(second.database, second.home, tmp_path / f"file{number}", NOW)
        assert second.contents() == {name: value for name, value in copied.contents().items() if "/images/" not in name}


@pytest.mark.slow
def test_a_flipped_byte_anywhere_in_a_backup_is_found(originals: Originals, tmp_path: Path) -> None:
    """Every region of the format, byte by byte where it is small: headers, padding, manifest, checksum, end."""
    content = originals.backups[0].read_bytes()
    file, target = tmp_path / "file", World(tmp_path / "target")
    starts = [match.start() for match in re.finditer(rb"ustar", content)]
    places = {start - 257 + offset for start in starts for offset in range(0, 512, 73)}
    places |= set(range(len(content) - 3000, len(content), 131)) | {0, 512, len(content) - 1}
    for place in sorted(places):
        damaged = bytearray(content)
        damaged[place] ^= 0x10
        file.write_bytes(damaged)
        with pytest.raises(BizchartsError, match="file"):
            restore(target.database, target.home, file, NOW)
    assert [name for name in tree(target.home) if not name.endswith((".lock", ".turn"))] == []
