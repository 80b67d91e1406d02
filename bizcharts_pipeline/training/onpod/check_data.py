"""Checks a job's data without a GPU and without ML packages.

    python check_data.py job DATA             # DATA/spec.json, dataset/ and gold/: what `train_qwen.py` would refuse
    python check_data.py dataset FOLDER       # one data set
    python check_data.py images < paths.json  # a list of files

The first two print a JSON list of problems. The third prints one JSON line per image as soon as it is checked: its
path, and its problem or null; if a decoder crashes the process, the next path in the list is the cause.
"""

import json
import resource
import sys
from pathlib import Path

MEMORY_BYTES = 2 * 2**30  # address space
CPU_SECONDS = 600
_LIMITS = (
    (resource.RLIMIT_CORE, 0),
    (resource.RLIMIT_FSIZE, 0),
    (resource.RLIMIT_CPU, CPU_SECONDS),
    (resource.RLIMIT_AS, MEMORY_BYTES),
)


def main(what: str, *where: str) -> None:
    """Check a training job's data, and print the problems."""
    for kind, most in _LIMITS:
        resource.setrlimit(kind, (most, most))
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(Path(__file__).parent))  # Python omits it in isolated mode (-I)
    if what == "images":
        from checks import image_problem

        for path in json.loads(sys.stdin.buffer.read()):
            print(json.dumps([path, image_problem(Path(path))]), flush=True)
        return
    from rows import examine

    folder = Path(where[0])
    problems = _spec_problems(folder / "spec.json") if what == "job" else []
    dataset, gold = (folder / "dataset", folder / "gold") if what == "job" else (folder, None)
    print(json.dumps([*problems, *examine(dataset, gold)[1]]))


def _spec_problems(path: Path) -> list[str]:
    from outcome import BadInput
    from spec import read_spec

    try:
        read_spec(path)
    except BadInput as error:
        return [str(error)]
    return []


if __name__ == "__main__":
    main(*sys.argv[1:])
