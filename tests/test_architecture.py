"""docs/architecture.md says what the imports say, and names every room."""

import re
from pathlib import Path

from tools.architecture import DOCUMENT, NO_ROOM, PACKAGE, with_diagram

ROOT = Path(__file__).resolve().parent.parent


def rooms() -> set[str]:
    folder = ROOT / PACKAGE
    found = {path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()}
    return found - {"__init__"} - NO_ROOM


def test_the_diagram_of_the_rooms_is_what_the_imports_are() -> None:
    document = DOCUMENT.read_text(encoding="utf-8")
    assert document == with_diagram(document), "run: python -m tools.architecture"


def test_every_room_is_described() -> None:
    described = set(re.findall(r"^\| `(\w+?)(?:/|\.py)` \|", DOCUMENT.read_text(encoding="utf-8"), re.M))
    assert described == rooms()


def test_every_layer_of_the_contract_is_a_room_and_every_room_has_one() -> None:
    contract = (ROOT / "pyproject.toml").read_text(encoding="utf-8").split('name = "Rooms depend one way"')[1]
    layers = re.findall(rf"{PACKAGE}\.(\w+)", contract.split("]\n")[0])
    assert sorted(layers) == sorted(rooms())
