"""Publishes a model as a GitHub release, and fetches one from a release.

A release is tagged with the model's version and has five files: the model as a tar, its ``model.json``, a model card,
the metrics as JSON, and ``SHA256SUMS`` of the others. It is a draft until every file has arrived. The next run
continues an interrupted one: a file that arrived completely stays, a partial one is deleted. A published release is
never changed.

The checksums detect a broken or exchanged file; a user with write access to the repository can exchange them too, but
not the model: the tag contains the beginning of the hash of ``model.json``, which has the hash of every file.
"""

import hashlib
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import read_regular, sync
from bizcharts_pipeline.models.archive import MAX_BYTES, pack, unpack
from bizcharts_pipeline.models.card import ModelFacts, labels_learned_from, metrics, model_card
from bizcharts_pipeline.models.github import ATTEMPTS, GitHub, Refused, Uncertain
from bizcharts_pipeline.models.registry import as_row
from bizcharts_pipeline.models.release_answers import read_asset, read_assets, read_release, read_releases
from bizcharts_pipeline.sentiment.artifact import (
    MANIFEST,
    TRAINED_ON,
    Artifact,
    CorruptModel,
    model_path,
    new_model,
    read_artifact,
)
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.model_releases import figures_on_gold
from bizcharts_pipeline.warehouse.models import ModelVersion, model, register_candidate

RELEASES = "releases"  # below the home: files to send
CARD, METRICS, SUMS = "model-card.md", "metrics.json", "SHA256SUMS"
MAX_SUMS_BYTES = 64 * 1024
MAX_PAGES = 20
_REPOSITORY = re.compile(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9_.-]{1,100}")
_TAG = re.compile(r"[a-z0-9_]{1,30}-[0-9a-f]{12}")
_SUM = re.compile(r"([0-9a-f]{64}) [ *]([A-Za-z0-9_.-]{1,200})")
_TYPES = {".tar": "application/x-tar", ".json": "application/json", ".md": "text/markdown", "": "text/plain"}


class ReleaseError(BizchartsError):
    """A model was not released, or a release holds no model."""


@dataclass(frozen=True)
class Release:
    """Result of a release."""

    model_version: str
    url: str  # of the web page
    sent: tuple[str, ...]  # files sent by this run
    there: tuple[str, ...]  # files sent by earlier runs

    def __str__(self) -> str:
        sent = f"sent {', '.join(self.sent)}" if self.sent else "all files were already there"
        return f"{self.model_version}: {self.url} ({sent})"


@dataclass(frozen=True)
class Fetched:
    """A verified model from a release."""

    folder: Path
    artifact: Artifact
    new: bool  # it was not on this machine before

    def __str__(self) -> str:
        return f"{self.artifact.model_version}: {self.folder}" + ("" if self.new else " (already on this machine)")


def facts_of(database: Database, home: Path, model_version: str) -> ModelFacts:
    """Return the facts of a registered model for its release, after verifying all its files.

    Raises:
        ReleaseError: it is not registered, or is part of the program.
        CorruptModel: its files differ from the registered ones.
    """
    with database.read() as connection:
        row = model(connection, model_version)
        figures = figures_on_gold(connection, row) if row else ()
    if row is None:
        raise ReleaseError(f"There is no model {model_version}; `bizcharts models list` names them.")
    if row.path is None or row.sha256 is None:
        raise ReleaseError(f"{model_version} is part of the program: there is nothing to release.")
    artifact = read_artifact(home / row.path, row.sha256)
    learned = labels_learned_from(read_regular(home / row.path / TRAINED_ON)) if TRAINED_ON in artifact.files else {}
    return ModelFacts(row, artifact, learned, figures)


def release_model(github: GitHub, repository: str, facts: ModelFacts, home: Path) -> Release:
    """Publish a model as a GitHub release, or continue what an earlier run began; idempotent.

    Raises:
        NoToken: ``GITHUB_TOKEN`` is not set.
        ReleaseError: the repository has another release of that name, or the model is too large.
        GitHubError: GitHub refuses, or cannot be reached; the next run continues.
    """
    github.require_token()
    at = _place(repository)
    folder = home / RELEASES / facts.artifact.model_version
    shutil.rmtree(folder, ignore_errors=True)
    try:
        folder.mkdir(parents=True)
        files = _write_files(folder, home / str(facts.model.path), facts, repository)
        release = _draft(github, at, facts, repository)
        tar = _tar(facts.artifact.model_version)
        if not release["draft"]:
            if not _same(_assets(github, at, release).get(tar, {}), files[tar]):
                raise ReleaseError(
                    f"{repository} already has a release {facts.artifact.model_version} without this model; "
                    "delete it there if it is a mistake."
                )
            return Release(facts.artifact.model_version, release["html_url"], (), tuple(files))
        sent = tuple(name for name, file in files.items() if _send(github, at, release, file))
        published = read_release(github.call("PATCH", f"{at}/releases/{release['id']}", {"draft": False}))
        there = tuple(name for name in files if name not in sent)
        return Release(facts.artifact.model_version, published["html_url"], sent, there)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def fetch_release(github: GitHub, repository: str, tag: str, home: Path) -> Fetched:
    """Fetch a model from its GitHub release; it gets its name below ``home`` once all its files are verified.

    A token is used if there is one: a private repository needs it.

    Raises:
        ReleaseError: there is no such release, or it holds no model.
        CorruptModel: its files are not those of the model that the tag names.
        GitHubError: GitHub refuses, or cannot be reached.
    """
    at = _place(repository)
    if not _TAG.fullmatch(tag):
        raise ReleaseError(f"{tag[:100]!r} is not a model version such as tfidf-0123456789ab.")
    try:
        release = read_release(github.call("GET", f"{at}/releases/tags/{tag}"))
    except Refused as error:
        if error.status == 404:
            raise ReleaseError(f"{repository} has no release {tag}, or needs GITHUB_TOKEN (private).") from None
        raise
    assets = _assets(github, at, release)
    with new_model(home) as folder:
        archive = folder.parent / f"{folder.name}.tar"
        try:
            sums = _sums(github, at, assets, _tar(tag), archive)
            tar = _asset(assets, _tar(tag))
            most = min(tar["size"], MAX_BYTES)
            if github.download(f"{at}/releases/assets/{tar['id']}", archive, most) != sums[_tar(tag)]:
                raise CorruptModel(f"{repository} {tag}: {_tar(tag)} does not match {SUMS}; it was replaced or damaged")
            unpack(archive, tag, folder)
        finally:
            archive.unlink(missing_ok=True)
        try:
            artifact = read_artifact(folder, sums[MANIFEST])
        except (ValueError, TypeError, AttributeError, RecursionError):
            raise CorruptModel(f"{repository} {tag}: its {MANIFEST} does not describe a model") from None
        if artifact.model_version != tag:
            raise CorruptModel(f"{repository} {tag}: it contains another model, {artifact.model_version}")
        return _named(folder, home, artifact)


def register_fetched(database: Database, fetched: Fetched, now: datetime) -> ModelVersion:
    """Register a model fetched from a GitHub release as the candidate of its kind; the next evaluation computes its
    metrics on the gold posts of this installation."""
    with database.write() as connection:
        return register_candidate(connection, as_row(fetched.artifact, now))


def _named(folder: Path, home: Path, artifact: Artifact) -> Fetched:
    target = model_path(home, artifact.model_version)
    if target.exists():
        read_artifact(target, artifact.sha256)  # the existing files may be damaged
        return Fetched(target, artifact, False)
    for path in folder.rglob("*"):
        sync(path)
    folder.rename(target)
    sync(target.parent)
    return Fetched(target, artifact, True)


@dataclass(frozen=True)
class _File:
    path: Path
    size: int
    sha256: str


def _write_files(folder: Path, source: Path, facts: ModelFacts, repository: str) -> dict[str, _File]:
    """Write the files to send, in the order of sending; the same model and metrics give the same bytes."""
    artifact = facts.artifact
    pack(source, artifact, folder / _tar(artifact.model_version))
    (folder / MANIFEST).write_bytes(artifact.content)
    (folder / CARD).write_text(model_card(facts, repository), encoding="utf-8")
    (folder / METRICS).write_bytes(metrics(facts))
    files = {name: _file(folder / name) for name in (_tar(artifact.model_version), MANIFEST, CARD, METRICS)}
    if files[_tar(artifact.model_version)].size > MAX_BYTES:
        raise ReleaseError(f"{artifact.model_version} is larger than GitHub's limit of 2 GiB per file.")
    (folder / SUMS).write_text("".join(f"{file.sha256}  {name}\n" for name, file in files.items()))
    return {**files, SUMS: _file(folder / SUMS)}


def _file(path: Path) -> _File:
    with path.open("rb") as file:
        return _File(path, path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


def _draft(github: GitHub, at: str, facts: ModelFacts, repository: str) -> Mapping[str, Any]:
    """Return the release with that tag, created as a draft if there is none. A creation reported as failed may have
    succeeded.
    """
    tag = facts.artifact.model_version
    fields = {"tag_name": tag, "name": tag, "body": model_card(facts, repository), "draft": True}
    for attempt in range(1, ATTEMPTS + 1):
        if found := _find(github, at, tag):
            return found
        try:
            return read_release(github.call("POST", f"{at}/releases", fields))
        except Uncertain:
            if attempt == ATTEMPTS:
                raise
            github.pause(attempt)
    raise AssertionError("unreachable")


def _find(github: GitHub, at: str, tag: str) -> Mapping[str, Any] | None:
    """Return the release of a tag; drafts cannot be requested by tag, and one tag may have several."""
    found = []
    for page in range(1, MAX_PAGES + 1):
        releases = read_releases(github.call("GET", f"{at}/releases?per_page=100&page={page}"))
        found += [release for release in releases if release["tag_name"] == tag]
        if len(releases) < 100:
            break
    return min(found, key=lambda release: (release["draft"], release["id"]), default=None)


def _send(github: GitHub, at: str, release: Mapping[str, Any], file: _File) -> bool:
    """Upload a file of a draft unless it is there; return whether it was sent.

    An upload reported as failed may have succeeded, or left a partial file, which blocks the name.
    """
    url = f"{release['upload_url'].partition('{')[0]}?name={quote(file.path.name)}"
    sent = False
    for attempt in range(1, ATTEMPTS + 1):
        there = _assets(github, at, release).get(file.path.name)
        if there and _same(there, file):
            return sent
        if there:
            _delete(github, f"{at}/releases/assets/{there['id']}")
        sent = True
        try:
            made = read_asset(github.upload(url, file.path, _TYPES[file.path.suffix]))
        except Uncertain:
            if attempt == ATTEMPTS:
                raise
            github.pause(attempt)
            continue
        except Refused as error:
            if "already_exists" in error.codes and attempt < ATTEMPTS:
                continue
            raise
        if _same(made, file):
            return True
    raise ReleaseError(f"{file.path.name} did not arrive intact; run it again, it continues where it stopped.")


def _delete(github: GitHub, path: str) -> None:
    try:
        github.call("DELETE", path)
    except Refused as error:
        if error.status != 404:  # already deleted
            raise


def _same(asset: Mapping[str, Any], file: _File) -> bool:
    """Whether an asset is complete and equal to the file; without digests (older Enterprise servers) only the size is
    compared.
    """
    digest = asset.get("digest") or f"sha256:{file.sha256}"
    return (asset.get("state"), asset.get("size"), digest) == ("uploaded", file.size, f"sha256:{file.sha256}")


def _assets(github: GitHub, at: str, release: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return a release's files by name, including partial ones, which the release itself does not list."""
    found: dict[str, Mapping[str, Any]] = {}
    for page in range(1, MAX_PAGES + 1):
        assets = read_assets(github.call("GET", f"{at}/releases/{release['id']}/assets?per_page=100&page={page}"))
        found |= {asset["name"]: asset for asset in assets}
        if len(assets) < 100:
            break
    return found


def _asset(assets: Mapping[str, Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    asset = assets.get(name)
    if asset is None or asset.get("state") != "uploaded":
        raise ReleaseError(f"The release has no {name}: it holds no model, or is incomplete.")
    return asset


def _sums(github: GitHub, at: str, assets: Mapping[str, Mapping[str, Any]], tar: str, scratch: Path) -> dict[str, str]:
    github.download(f"{at}/releases/assets/{_asset(assets, SUMS)['id']}", scratch, MAX_SUMS_BYTES)
    lines = scratch.read_bytes().decode(errors="replace").splitlines()
    found = [_SUM.fullmatch(line) for line in lines]
    sums = {match[2]: match[1] for match in found if match}
    if None in found or not {MANIFEST, tar} <= sums.keys():
        raise ReleaseError(f"{SUMS} of the release does not list a model's files.")
    return sums


def _place(repository: str) -> str:
    if not _REPOSITORY.fullmatch(repository) or repository.split("/")[1] in (".", ".."):
        raise ReleaseError(f"{repository[:100]!r} is not a repository such as owner/name.")
    return f"/repos/{repository}"


def _tar(model_version: str) -> str:
    return f"{model_version}.tar"
