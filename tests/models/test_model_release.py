"""Models to and from a GitHub on loopback, which fails as the real one does."""

import hashlib
import io
import json
import logging
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
from models.github_host import GitHubFault, SimulatedGitHub

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.models.archive import pack, unpack
from bizcharts_pipeline.models.card import metrics, model_card
from bizcharts_pipeline.models.github import Busy, GitHub, NoToken, Refused, Uncertain
from bizcharts_pipeline.models.registry import as_row
from bizcharts_pipeline.models.release import (
    Release,
    ReleaseError,
    facts_of,
    fetch_release,
    register_fetched,
    release_model,
)
from bizcharts_pipeline.sentiment.artifact import (
    TRAINED_ON,
    Artifact,
    CorruptModel,
    model_path,
    new_model,
    publish,
    read_artifact,
)
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.model_evaluations import EvaluationRow, save_evaluations
from bizcharts_pipeline.warehouse.models import models, register_candidate

NOW = datetime(2026, 1, 2, 3)
TOKEN = "ghp_only-for-the-api-0123456789"
REPOSITORY = "someone/bizcharts-models"
FIVE = {"model-card.md", "metrics.json", "model.json", "SHA256SUMS"}


class Machine:
    """An installation with a home of its own."""

    def __init__(self, home: Path) -> None:
        home.mkdir(parents=True)
        self.home = home
        self.pauses: list[float] = []

    @property
    def database(self) -> DatabaseFile:
        return DatabaseFile(self.home / "test.duckdb")

    def train(self, size: int = 200_000) -> Artifact:
        with new_model(self.home) as folder:
            (folder / "weights.safetensors").write_bytes(os.urandom(size))
            (folder / "part").mkdir()
            (folder / "part" / "tokenizer.json").write_text("{}")
            rows = [
                {"thread_id": 7, "label": 2, "text_sha256": "ab"},
                {"thread_id": 8, "label": 0, "text_sha256": "cd"},
            ]
            (folder / TRAINED_ON).write_text(json.dumps(rows))
            artifact = publish(
                folder,
                self.home,
                kind="tfidf",
                base_model=None,
                base_revision=None,
                dataset_version="d" * 64,
                code_version="1",
                seed=5,
                settings={"c": 2.0},
            )
        row = as_row(artifact, NOW, seconds=12.0)
        figures = (0.6, 0.5, 0.7, 0.57, 0.47, 0.66, 0.5, 0.6, 0.7, 0.05, 0.9)
        judged = [(artifact.model_version, 60), ("class shares", 60)]
        with self.database.write() as connection:
            register_candidate(connection, row)
            save_evaluations(
                connection,
                [
                    EvaluationRow(name, "g" * 64, n, *figures, ((9, 1, 0), (2, 30, 3), (1, 4, 10)), NOW)
                    for name, n in judged
                ],
            )
        return artifact

    def release(self, github: SimulatedGitHub, version: str) -> Release:
        facts = facts_of(self.database, self.home, version)
        return release_model(GitHub(github.url, sleep=self.pauses.append), REPOSITORY, facts, self.home)


@pytest.fixture
def github(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedGitHub]:
    monkeypatch.setenv("GITHUB_TOKEN", TOKEN)
    with SimulatedGitHub(accepted_token=TOKEN) as running:
        yield running


@pytest.fixture
def here(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "here")


@pytest.fixture
def there(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "there")


def fetch(machine: Machine, github: SimulatedGitHub, tag: str) -> Path:
    return fetch_release(GitHub(github.url, sleep=machine.pauses.append), REPOSITORY, tag, machine.home).folder


def test_a_released_model_is_the_same_on_another_machine(
    github: SimulatedGitHub, here: Machine, there: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = here.train()
    done = here.release(github, artifact.model_version)
    (release,) = github.releases(REPOSITORY)
    assert (release["tag_name"], release["draft"]) == (artifact.model_version, False)
    assert {asset["name"] for asset in release["assets"]} == FIVE | {f"{artifact.model_version}.tar"} == set(done.sent)

    monkeypatch.delenv("GITHUB_TOKEN")  # the repository is public
    fetched = fetch_release(GitHub(github.url), REPOSITORY, artifact.model_version, there.home)
    register_fetched(there.database, fetched, NOW)

    assert fetched.new
    assert fetched.folder == model_path(there.home, artifact.model_version)
    assert read_artifact(fetched.folder, artifact.sha256) == artifact
    with there.database.read() as connection:
        assert [(each.sha256, each.status) for each in models(connection)] == [(artifact.sha256, "candidate")]
    assert not fetch_release(GitHub(github.url), REPOSITORY, artifact.model_version, there.home).new


def test_a_repeated_release_sends_nothing_again(github: SimulatedGitHub, here: Machine) -> None:
    version = here.train().model_version
    first = here.release(github, version)
    before = len(github.requests)
    again = here.release(github, version)
    assert (again.url, again.sent, set(again.there)) == (first.url, (), set(first.sent))
    assert {request.method for request in github.requests[before:]} == {"GET"}


@pytest.mark.parametrize("on", ["POST /repos", "POST /uploads", "PATCH"])
@pytest.mark.parametrize("fault", [GitHubFault.LANDED, GitHubFault.SERVER_ERROR, GitHubFault.RESET])
@pytest.mark.fault("dropped network", stage="model release", expected="one release, whatever fails once")
def test_one_release_comes_of_it_whatever_fails_once(
    github: SimulatedGitHub, here: Machine, there: Machine, on: str, fault: GitHubFault
) -> None:
    version = here.train().model_version
    github.fail_next(fault, on=on)
    here.release(github, version)
    (release,) = github.releases(REPOSITORY)
    assert not release["draft"]
    assert len(release["assets"]) == 5
    assert fetch(there, github, version)


def test_a_stump_of_an_upload_is_replaced(github: SimulatedGitHub, here: Machine, there: Machine) -> None:
    version = here.train().model_version
    github.fail_next(GitHubFault.STUMP, GitHubFault.STUMP, on="POST /uploads")
    here.release(github, version)
    assert fetch(there, github, version)
    assert sum(request.method == "DELETE" for request in github.requests) == 2


@pytest.mark.fault("SIGKILL", stage="model release", expected="the next run completes the release")
def test_a_run_that_was_killed_in_mid_upload_is_gone_on_with(
    github: SimulatedGitHub, here: Machine, there: Machine
) -> None:
    artifact = here.train(4_000_000)
    script = (
        "import sys; from pathlib import Path; from bizcharts_pipeline.models.github import GitHub;"
        "from bizcharts_pipeline.models.release import *;"
        "from bizcharts_pipeline.warehouse.database_file import DatabaseFile;"
        "home = Path(sys.argv[1]); facts = facts_of(DatabaseFile(home / 'test.duckdb'), home, sys.argv[2]);"
        "release_model(GitHub(sys.argv[3]), sys.argv[4], facts, home)"
    )
    github.upload_pace = 0.1  # the tar takes some six seconds
    command = [sys.executable, "-c", script, str(here.home), artifact.model_version, github.url, REPOSITORY]
    with subprocess.Popen(command) as process:
        assert github.receiving.wait(30)
        process.send_signal(signal.SIGKILL)
    github.upload_pace = 0.0
    (release,) = github.releases(REPOSITORY)
    assert release["draft"]

    done = here.release(github, artifact.model_version)

    assert len(github.releases(REPOSITORY)) == 1
    assert len(done.sent) == 5
    assert fetch(there, github, artifact.model_version)
    assert not list((here.home / "releases").iterdir())


def test_what_arrived_before_a_failure_is_not_sent_again(github: SimulatedGitHub, here: Machine) -> None:
    version = here.train().model_version
    github.fail_next(*[GitHubFault.SERVER_ERROR] * 4, on="name=metrics.json")
    with pytest.raises(Uncertain, match="continues where it stopped"):
        here.release(github, version)
    assert github.releases(REPOSITORY)[0]["draft"]
    done = here.release(github, version)
    assert (done.sent, set(done.there)) == (
        ("metrics.json", "SHA256SUMS"),
        {f"{version}.tar", "model.json", "model-card.md"},
    )


@pytest.mark.parametrize("fault", [GitHubFault.SECONDARY_LIMIT, GitHubFault.PRIMARY_LIMIT])
@pytest.mark.fault(
    "slow network", stage="model release", expected="a short pause is waited for, a long one left to a later run"
)
def test_a_limit_is_waited_for_and_a_long_one_is_left_to_a_later_run(
    github: SimulatedGitHub, here: Machine, fault: GitHubFault
) -> None:
    version = here.train().model_version
    github.retry_after = "30"
    github.fail_next(fault, on="POST /uploads")
    here.release(github, version)
    assert 28 <= max(here.pauses) <= 31
    github.retry_after = "3000"
    github.fail_next(fault, on="GET")
    with pytest.raises(Busy, match="run it again in"):
        here.release(github, version)


def test_the_token_goes_to_the_api_alone_and_into_no_file_and_no_message(
    github: SimulatedGitHub,
    here: Machine,
    there: Machine,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    github.private = True
    version = here.train().model_version
    done = here.release(github, version)
    fetch(there, github, version)
    assert set(github.tokens) == {("api", f"Bearer {TOKEN}")}
    said = [str(done), caplog.text]
    for bad in (f"{TOKEN}x", f"{TOKEN}\nX-Other: 1"):
        monkeypatch.setenv("GITHUB_TOKEN", bad)
        with pytest.raises((Refused, NoToken)) as refused:
            here.release(github, version)
        said.append(f"{refused.value!r}")
    for home in (here.home, there.home):
        assert not [path for path in home.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert not [text for text in said if TOKEN in text]
    monkeypatch.delenv("GITHUB_TOKEN")
    with pytest.raises(NoToken):
        here.release(github, version)


def test_an_upload_address_elsewhere_gets_neither_token_nor_model(github: SimulatedGitHub, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"model")
    with pytest.raises(Refused, match="is not an upload address of"):
        GitHub(github.url).upload(f"{github.storage.url}/uploads?name=file", file, "text/plain")
    assert not github.tokens
    assert not github.storage.requests


_NO_RELEASE = [None, [], {}, "x", 1, {"id": "../..", "tag_name": "x", "draft": False, "html_url": "", "upload_url": ""}]
_NO_FILES = [None, {}, "x", [None], [{}], [{"id": 1, "name": "SHA256SUMS", "state": "uploaded", "size": "9"}]]


@pytest.mark.parametrize(
    ("request_part", "answer"),
    [("/releases/tags/", answer) for answer in _NO_RELEASE] + [("/assets?", answer) for answer in _NO_FILES],
)
def test_an_answer_that_describes_no_release_is_refused_in_one_line_at_fetching(
    github: SimulatedGitHub, here: Machine, there: Machine, request_part: str, answer: object
) -> None:
    version = here.train(1000).model_version
    here.release(github, version)
    github.instead = {request_part: answer}
    with pytest.raises(Uncertain, match=r"^GitHub's answer is not .*is a proxy in between\?[^\n]*$"):
        fetch(there, github, version)
    github.instead = {}
    assert fetch(there, github, version).name == version


@pytest.mark.parametrize(
    ("method", "answer"), [("GET", {}), ("GET", [None]), ("POST", []), ("POST", {"id": 1}), ("PATCH", None)]
)
def test_an_answer_that_describes_no_release_stops_a_release_which_is_gone_on_with(
    github: SimulatedGitHub, here: Machine, method: str, answer: object
) -> None:
    version = here.train(1000).model_version
    github.instead = {f"{method} /repos/{REPOSITORY}/releases": answer}
    with pytest.raises(Uncertain, match=r"^GitHub's answer is not "):
        here.release(github, version)
    github.instead = {}
    here.release(github, version)
    assert [(each["tag_name"], each["draft"]) for each in github.releases(REPOSITORY)] == [(version, False)]


def test_what_was_exchanged_or_broken_on_its_way_is_refused(
    github: SimulatedGitHub, here: Machine, there: Machine
) -> None:
    version = here.train().model_version
    here.release(github, version)
    tar = next(asset["id"] for asset in github.releases(REPOSITORY)[0]["assets"] if asset["name"].endswith(".tar"))
    github.fail_next(GitHubFault.TAMPERED, on=f"storage/{tar}")
    with pytest.raises(CorruptModel, match="does not match SHA256SUMS"):
        fetch(there, github, version)
    github.fail_next(GitHubFault.TRUNCATED, on=f"storage/{tar}")
    fetch(there, github, version)  # asked once more
    assert [path.name for path in (there.home / "models").iterdir()] == [version]


def test_another_model_under_the_name_of_one_is_refused(
    github: SimulatedGitHub, here: Machine, there: Machine, tmp_path: Path
) -> None:
    mine, other = here.train(), Machine(tmp_path / "other").train()
    here.release(github, mine.model_version)
    forged = tmp_path / "forged.tar"
    folder = model_path(tmp_path / "other", other.model_version)
    with tarfile.open(forged, "x:") as tar:
        tar.add(folder, mine.model_version)
    digest = hashlib.sha256(forged.read_bytes()).hexdigest()
    github.exchange(REPOSITORY, f"{mine.model_version}.tar", forged.read_bytes())
    sums = f"{digest}  {mine.model_version}.tar\n{other.sha256}  model.json\n"
    github.exchange(REPOSITORY, "SHA256SUMS", sums.encode())
    with pytest.raises(CorruptModel):
        fetch(there, github, mine.model_version)
    assert not list((there.home / "models").iterdir())


@pytest.mark.parametrize("content", [b"[]", b"{", b'{"kind": 1}', b"files"])
def test_a_description_of_no_model_is_refused(
    github: SimulatedGitHub, here: Machine, there: Machine, tmp_path: Path, content: bytes
) -> None:
    artifact = here.train(10)
    here.release(github, artifact.model_version)
    described = json.loads(artifact.content) | {"files": []}
    content = json.dumps(described).encode() if content == b"files" else content
    forged = tmp_path / "forged.tar"
    with tarfile.open(forged, "x:") as tar:
        tar.addfile(entry(f"{artifact.model_version}/model.json", content)[0], io.BytesIO(content))
    names = {f"{artifact.model_version}.tar": forged.read_bytes(), "model.json": content}
    sums = "".join(f"{hashlib.sha256(each).hexdigest()}  {name}\n" for name, each in names.items())
    github.exchange(REPOSITORY, f"{artifact.model_version}.tar", forged.read_bytes())
    github.exchange(REPOSITORY, "SHA256SUMS", sums.encode())
    with pytest.raises(CorruptModel, match="does not describe a model"):
        fetch(there, github, artifact.model_version)


def entry(name: str, content: bytes = b"{}", **fields: object) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


@pytest.mark.parametrize(
    "hostile",
    [
        [entry("m/../../evil.json")],
        [entry("/etc/evil.json")],
        [entry("other/evil.json")],
        [entry("m/a.json", b"", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        [entry("m/a.json", b"", type=tarfile.LNKTYPE, linkname="m/b.json")],
        [entry("m/a.json", b"", type=tarfile.FIFOTYPE)],
        [entry("m/a.pkl")],
        [entry("m/.hidden/a.json")],
        [entry("m/a\\..\\b.json")],
        [entry("m/a.json"), entry("m/a.json")],
        [entry("m/a.json"), entry("m/a.json/b.json")],
        [entry(f"m/{number}.json") for number in range(501)],
    ],
    ids=lambda entries: entries[0][0].name.replace("/", "_") + f" x{len(entries)}",
)
def test_a_tar_with_more_than_plain_files_is_refused(
    tmp_path: Path, hostile: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    archive, into = tmp_path / "in" / "m.tar", tmp_path / "in" / "folder" / "model"
    into.mkdir(parents=True)
    with tarfile.open(archive, "x:") as tar:
        for info, content in hostile:
            tar.addfile(info, io.BytesIO(content))
    with pytest.raises(CorruptModel):
        unpack(archive, "m", into)
    assert {path.name for path in (tmp_path / "in").rglob("*")} <= {"m.tar", "folder", "model", "a.json"} | {
        f"{number}.json" for number in range(500)
    }


def test_a_tar_that_is_cut_off_or_none_is_refused(here: Machine, tmp_path: Path) -> None:
    artifact = here.train(50_000)
    whole, cut = tmp_path / "whole.tar", tmp_path / "cut.tar"
    pack(model_path(here.home, artifact.model_version), artifact, whole)
    cut.write_bytes(whole.read_bytes()[:30_000])
    for archive in (cut, Path(__file__)):
        into = tmp_path / f"into-{archive.name}"
        into.mkdir()
        with pytest.raises(CorruptModel):
            unpack(archive, artifact.model_version, into)


def test_the_same_model_is_the_same_tar(here: Machine, tmp_path: Path) -> None:
    artifact = here.train()
    folder = model_path(here.home, artifact.model_version)
    pack(folder, artifact, tmp_path / "a.tar")
    os.utime(folder / "weights.safetensors", (1, 1))
    pack(folder, artifact, tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_release_that_somebody_made_by_hand_is_left_alone(github: SimulatedGitHub, here: Machine) -> None:
    version = here.train().model_version
    GitHub(github.url).call("POST", f"/repos/{REPOSITORY}/releases", {"tag_name": version, "draft": False})
    with pytest.raises(ReleaseError, match="already"):
        here.release(github, version)
    assert not github.releases(REPOSITORY)[0]["assets"]


def test_a_changed_model_is_not_released(github: SimulatedGitHub, here: Machine) -> None:
    artifact = here.train()
    (model_path(here.home, artifact.model_version) / "weights.safetensors").write_bytes(b"others")
    with pytest.raises(CorruptModel):
        here.release(github, artifact.model_version)
    assert not github.requests


@pytest.mark.parametrize(
    ("repository", "tag"), [("someone", "tfidf-0123456789ab"), ("a/..", "tfidf-0123456789ab"), (REPOSITORY, "../x")]
)
def test_names_that_are_none_are_refused_before_anybody_is_asked(
    github: SimulatedGitHub, there: Machine, repository: str, tag: str
) -> None:
    with pytest.raises(BizchartsError):
        fetch_release(GitHub(github.url), repository, tag, there.home)
    assert not github.requests


def test_the_card_says_how_good_it_is_and_what_it_learned_from(here: Machine) -> None:
    artifact = here.train()
    facts = facts_of(here.database, here.home, artifact.model_version)
    card = model_card(facts, REPOSITORY)
    for said in (artifact.sha256, "0.600 (0.50 to 0.70)", "class shares", "1 bearish, 0 neutral, 1 bullish", "seed"):
        assert said in card
    assert str(here.home) not in card
    assert "another source" not in card
    learned = {"file": "others.csv", "sha256": "e" * 64, "bearish": 1_200, "bullish": 800}
    transferred = replace(facts, artifact=replace(artifact, settings={"transfer": learned}))
    assert f"2,000 labelled texts of another source, the file `others.csv` (SHA-256 `{'e' * 64}`)" in model_card(
        transferred, REPOSITORY
    )
    assert json.loads(metrics(facts))["gold"][0]["macro_f1"] == 0.57
