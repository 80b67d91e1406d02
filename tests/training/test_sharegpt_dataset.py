"""The data set as it lies on the disk: what is in it, what never is, and that it is whole or not there."""

import json
import subprocess
import sys
import time
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import dagster as dg
import pytest
from generals import CHANGES, general
from labelled_world import NOW, grams, jaccard, made_up, real_labels, whole_text
from training.training_world import TrainingWorld, an_image

from assets.dataset_checks import classes_are_balanced, gold_is_absent, rows_are_readable
from assets.sharegpt_dataset import sharegpt_dataset
from bizcharts_pipeline.core.sqlite_seal import forget
from bizcharts_pipeline.images.withdrawal import block
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LedgerError
from bizcharts_pipeline.labels.pictures import posts_without_picture
from bizcharts_pipeline.labels.recovery import LedgerLost, restore_ledger
from bizcharts_pipeline.maintenance import maintain
from bizcharts_pipeline.settings import LabellingSettings, RetentionSettings
from bizcharts_pipeline.text.duplicates import SIMILAR
from bizcharts_pipeline.text.question import readable
from bizcharts_pipeline.training import examples
from bizcharts_pipeline.training.dataset import DatasetReport, remove_withdrawn
from bizcharts_pipeline.training.leaks import gold_leaks
from bizcharts_pipeline.training.sharegpt import MANIFEST, ROWS, format_problems, read_rows
from resources.labelling import Labelling
from resources.warehouse import Warehouse


def folder_of(world: TrainingWorld, report: DatasetReport) -> Path:
    assert report.version
    return world.home / report.version.path


def problems(world: TrainingWorld, report: DatasetReport) -> list[str]:
    folder = folder_of(world, report)
    return format_problems(folder) + gold_leaks(world.database, world.home, folder)


def abouts(world: TrainingWorld, report: DatasetReport) -> list[dict[str, str | int]]:
    return list(json.loads((folder_of(world, report) / ROWS).read_bytes()))


@pytest.mark.slow
def test_of_672_real_labels_nothing_alike_to_gold_is_in_any_file(world: TrainingWorld, shared_data: Path) -> None:
    labels = {label.thread_id: label for label in real_labels(shared_data)}
    world.illustrated(labels.values())
    world.draw()
    report = world.build()
    assert report.version
    train, validation = report.version.train_rows, report.version.validation_rows
    assert (train + validation, report.left_out) == (522, {"gold": 150})
    assert problems(world, report) == []

    gold = world.gold()
    texts = {thread: grams(whole_text(label)) for thread, label in labels.items()}
    seen = {thread: grams(readable(None, whole_text(label))) for thread, label in labels.items()}
    written = [grams(line["messages"][0]["content"].partition("\n\n")[2]) for line in world.rows(report)]
    threads = [int(about["thread_id"]) for about in abouts(world, report)]
    assert [seen[thread] for thread in threads] == written
    for known in (texts, seen):
        assert max(jaccard(known[thread], known[other]) for thread in threads for other in gold) < SIMILAR
    split = dict(zip(threads, (about["split"] for about in abouts(world, report)), strict=True))
    across = [(a, b) for a in threads for b in threads if (split[a], split[b]) == ("train", "validation")]
    assert max(jaccard(texts[a], texts[b]) for a, b in across) < SIMILAR
    shares = {name: classes / report.version.classes["train"][name] for name, classes in validation_classes(report)}
    assert all(0.09 < share < 0.13 for share in shares.values())


def validation_classes(report: DatasetReport) -> list[tuple[str, int]]:
    assert report.version
    return list(report.version.classes["validation"].items())


def test_people_win_over_models_and_whoever_is_not_agreed_on_is_left_out(world: TrainingWorld) -> None:
    labels = made_up(range(1, 21), sentiment_rating=3)
    world.illustrated(labels[:8])
    world.pictures({number: an_image(number) for number in range(9, 21)})
    world.post({number: chr(97 + number) * 9 for number in range(9, 21)})  # posts that no person has labelled
    bob = [replace(label, labeler_id="bob", sentiment_rating=1) for label in labels[:3]]
    eve = [replace(label, labeler_id="eve", sentiment_rating=1) for label in labels[:1]]
    skipped = replace(labels[3], sentiment_rating=None, skipped=True, labeled_at=NOW + timedelta(hours=1))
    illegal = replace(labels[4], labeler_id="bob", flag="illegal")
    world.label([*bob, *eve, skipped, illegal])
    world.label_by_models({6: "bearish", 9: "bearish", 10: "neutral", 11: "bullish", 12: None}, "a")
    world.label_by_models({9: "bearish", 10: "bullish"}, "b")
    world.label_by_models({13: "bullish", 9: "bullish"}, "c", trusted=False)
    report = world.build()
    said = zip(abouts(world, report), world.rows(report), strict=True)
    assert {about["thread_id"]: (line["messages"][1]["content"], about["labelled_by"]) for about, line in said} == {
        1: ("bearish", "people"),
        6: ("bullish", "people"),
        7: ("bullish", "people"),
        8: ("bullish", "people"),
        9: ("bearish", "openai/a + openai/b"),
        11: ("bullish", "openai/a"),
    }
    assert report.left_out == {
        "flagged as illegal": 1,
        "labelled by untrusted models only": 1,
        "people disagree": 2,
        "skipped by people": 1,
        "trusted models disagree": 1,
    }
    assert all("\n\n" in line["messages"][0]["content"] for line in world.rows(report))
    assert "openai a (chat, v1) | 150 | 0.75 (0.67 to 0.81)" in report.datasheet
    assert "openai c" not in report.datasheet


def test_a_post_without_its_picture_comes_in_by_the_setting_alone(world: TrainingWorld) -> None:
    labels = made_up(range(1, 7), image_url_snapshot="u")
    labels = [replace(label, image_url_snapshot=f"u{label.thread_id}") for label in labels]
    labels.append(replace(labels[0], thread_id=7, text_snapshot="", image_url_snapshot=None))
    world.label(labels)
    world.picture(1)
    world.picture(2, status="blocked", path=None)
    world.picture(3)
    (world.home / "images").rename(world.home / "elsewhere")
    world.picture(1)
    sha256 = world.picture(4)
    (world.home / "images" / sha256[:2] / sha256[2:4] / f"{sha256}.jpg").write_bytes(b"torn")
    report = world.build()
    assert [about["thread_id"] for about in abouts(world, report)] == [1]
    assert report.left_out == {
        "picture blocked": 1,
        "picture damaged in the store": 1,
        "picture lost from the store": 1,
        "picture never fetched": 2,
        "without picture": 1,
    }
    whole = world.build(text_only=True)
    assert whole.left_out == {"neither text nor picture": 1}
    assert Counter(len(line["images"]) for line in world.rows(whole)) == {0: 5, 1: 1}
    assert problems(world, whole) == []
    nothing = TrainingWorld(world.home / "empty").build()
    assert (nothing.version, nothing.left_out) == (None, {})


def test_the_same_content_is_the_same_version_and_nothing_is_written_again(
    world: TrainingWorld, tmp_path: Path
) -> None:
    labels = made_up(range(60))
    world.illustrated(labels)
    first = world.build()
    folder = folder_of(world, first)
    times = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    again = world.build()
    assert (first.new, again.new, again.version) == (True, False, first.version)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == times

    other = TrainingWorld(tmp_path / "other")
    other.illustrated(Random(1).sample(labels, len(labels)))
    moved = other.build()
    assert moved.version == first.version
    assert (folder_of(other, moved) / MANIFEST).read_bytes() == (folder / MANIFEST).read_bytes()

    world.illustrated(made_up(range(60, 61)))
    changed = world.build()
    assert changed.version != first.version
    assert sorted(path.name for path in (world.home / "datasets").glob("share*")) == sorted(
        [folder.name, folder_of(world, changed).name]
    )


def test_a_version_with_a_picture_that_is_blocked_or_purged_later_goes_as_a_whole(world: TrainingWorld) -> None:
    world.illustrated(made_up(range(30)))
    first = folder_of(world, world.build())
    sha256 = json.loads((first / "train.json").read_bytes())[0]["images"][0][7:71]
    assert remove_withdrawn(world.database, world.home) == ()
    block(world.database, world.home, sha256, "test", NOW)
    assert remove_withdrawn(world.database, world.home) == (first.name,)
    assert not first.exists()
    second = world.build()
    assert second.left_out == {"picture blocked": 1}
    assert not list((world.home / "datasets").rglob(f"{sha256}*"))
    with world.database.write() as connection:
        connection.execute("UPDATE thumbnails SET status = 'purged', path = NULL WHERE thread_id IN (1, 2)")
    third = world.build()
    assert third.removed == (folder_of(world, second).name,)
    assert problems(world, third) == []


BUILD = """
import sys
from pathlib import Path
sys.path[:0] = [{tests!r}, {tests!r} + "/training"]
from training.training_world import TrainingWorld
world = TrainingWorld(Path({home!r}))
import bizcharts_pipeline.training.dataset
print("ready", flush=True)
world.build()
print("done", flush=True)
"""


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="data set", expected="no half data set; the next build is whole")
def test_a_killed_build_leaves_no_half_data_set(world: TrainingWorld) -> None:
    world.illustrated(made_up(range(600)))
    program = BUILD.format(tests=str(Path(__file__).parent.parent), home=str(world.home))
    finished_in = 0.0
    folder = world.home / "datasets"
    for share in (None, 0.3, 0.5, 0.7, 0.8, 0.9, 0.97):
        world.illustrated(made_up(range(2000 + int(100 * (share or 0)), 2001 + int(100 * (share or 0)))))
        process = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        started = time.monotonic()
        if share is None:
            assert process.stdout.readline() == "done\n"
            finished_in = time.monotonic() - started
        else:
            time.sleep(share * finished_in)
            process.kill()
        process.wait()
        process.stdout.close()
        for version in folder.glob("sharegpt-*"):
            assert format_problems(version) == []
    report = world.build()
    assert problems(world, report) == []
    assert not list(folder.glob(".tmp-*"))


def resources(world: TrainingWorld) -> dict[str, object]:
    return {
        "warehouse": Warehouse(database=str(world.database.path)),
        "labelling": Labelling(home=str(world.home), values=LabellingSettings().model_dump()),
    }


def materialise(world: TrainingWorld) -> dg.ExecuteInProcessResult:
    return dg.materialize(
        [sharegpt_dataset, gold_is_absent, rows_are_readable, classes_are_balanced],
        resources=resources(world),
        raise_on_error=False,
    )


def check_results(world: TrainingWorld) -> dict[str, bool]:
    """Run the checks alone, as they are run in the UI."""
    checked = dg.Definitions(
        assets=[sharegpt_dataset],
        asset_checks=[gold_is_absent, rows_are_readable, classes_are_balanced],
        resources=resources(world),
    )
    job = checked.resolve_implicit_global_asset_job_def()
    selection = {check.check_key for check in (gold_is_absent, rows_are_readable, classes_are_balanced)}
    result = job.get_subset(asset_selection=set(), asset_check_selection=selection)
    evaluations = result.execute_in_process(raise_on_error=False, resources=None).get_asset_check_evaluations()
    return {evaluation.check_name: evaluation.passed for evaluation in evaluations}


def test_the_asset_says_what_it_made_and_its_checks_pass(world: TrainingWorld) -> None:
    empty = materialise(world)
    assert empty.success
    world.illustrated(made_up(range(80)))
    world.draw()
    result = materialise(world)
    assert result.success
    assert all(evaluation.passed for evaluation in result.get_asset_check_evaluations())
    shown = result.asset_materializations_for_node("sharegpt_dataset")[0].metadata
    assert (shown["rows"].value, shown["left_out"].value) == (60, {"gold": 20})
    assert "| both |" in str(shown["balance"].value)
    assert Path(str(shown["path"].value)).is_dir()


def test_a_data_set_that_lacks_pictures_says_so_and_names_the_settings(
    world: TrainingWorld, capfd: pytest.CaptureFixture[str]
) -> None:
    world.label(made_up(range(12), image_url_snapshot="u"))
    world.label(made_up(range(12, 15)))
    result = materialise(world)
    assert result.success
    shown = result.asset_materializations_for_node("sharegpt_dataset")[0].metadata
    said = str(shown["missing_pictures"].value)
    assert said.startswith("There is no data set: 15 labelled posts have no usable picture")
    assert said in capfd.readouterr().err
    for setting in ("images.archive = true", "labelling.text_only = true"):
        assert setting in said
        assert setting in str(sharegpt_dataset.descriptions_by_key)
    assert posts_without_picture(world.database, world.ledger) == 15
    world.illustrated(made_up(range(20, 24)))
    shown = materialise(world).asset_materializations_for_node("sharegpt_dataset")[0].metadata
    assert str(shown["missing_pictures"].value).startswith("The data set has 4 rows: 15 labelled posts")


def plant(folder: Path, line: dict[str, object]) -> None:
    rows = json.loads((folder / "train.json").read_bytes())
    (folder / "train.json").write_text(json.dumps([*rows, line]))


def test_gold_that_somehow_got_in_is_found_in_the_files(world: TrainingWorld) -> None:
    labels = {label.thread_id: label for label in made_up(range(80))}
    world.illustrated(labels.values())
    world.draw()
    report = world.build()
    folder, gold = folder_of(world, report), sorted(world.gold())
    clean = {path.name: path.read_bytes() for path in folder.glob("*.json")}
    line = json.loads(clean["train.json"])[0]

    def leaks() -> list[str]:
        found = gold_leaks(world.database, world.home, folder)
        for name, content in clean.items():
            (folder / name).write_bytes(content)
        return found

    def asked(text: str | None) -> list[dict[str, str]]:
        question, answer = line["messages"]
        return [{**question, "content": question["content"].partition("\n\n")[0] + f"\n\n{text}"}, answer]

    number = len(json.loads(clean["train.json"]))
    assert leaks() == []
    plant(folder, {**line, "messages": asked(labels[gold[0]].text_snapshot)})
    assert leaks() == [f"train.json, row {number}: text of gold"]
    plant(folder, {**line, "messages": asked(f"{labels[gold[1]].text_snapshot} 12345!")})
    assert leaks() == [f"train.json, row {number}: text of gold"]
    abouts = json.loads(clean[ROWS])
    (folder / ROWS).write_text(json.dumps([*abouts, {"thread_id": gold[2]}]))
    found = leaks()
    assert found[0] == f"thread {gold[2]}: gold"
    (folder / line["images"][0]).unlink()
    (folder / line["images"][0]).write_bytes(an_image(gold[3]))
    assert leaks() == [f"{line['images'][0]}: picture of gold"]


def test_near_duplicates_of_gold_are_kept_out_and_found_by_every_name_of_a_picture(world: TrainingWorld) -> None:
    labels = [replace(label, image_url_snapshot=f"u{label.thread_id}") for label in made_up(range(80))]
    world.illustrated(labels)
    world.draw()
    text, by_url, by_content, by_bits = sorted(world.gold())[:4]
    with world.database.write() as connection:
        connection.execute(f"UPDATE thumbnails SET perceptual_hash = 'ffffffff00000000' WHERE thread_id = {by_bits}")
    copies = made_up(range(1000, 1004))
    copies[0] = replace(copies[0], text_snapshot=f"{labels[text].text_snapshot} 7")
    copies[1] = replace(copies[1], image_url_snapshot=f"u{by_url}")
    world.illustrated(copies)
    world.picture(1002, an_image(by_content))
    world.picture(1003, perceptual_hash="ffffffff0000000f")
    report = world.build()
    assert report.left_out == {"gold": 20, "near-duplicate of a gold post": 4}
    assert problems(world, report) == []
    # A post that becomes gold later makes the older data set unfit.
    thread_id = int(abouts(world, report)[0]["thread_id"])
    world.ledger.freeze_gold([GoldPost(thread_id, "2025-01", NOW)])
    assert f"thread {thread_id}: gold" in problems(world, report)


def test_the_check_finds_near_copies_of_gold_that_a_blind_selection_lets_in(
    world: TrainingWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = Random(5)
    gold = general(rng)
    copies = {1000 + n: change(rng, CHANGES["another edition"](rng, gold)) for n, change in enumerate(CHANGES.values())}
    of_general = {1: gold, **copies}
    world.illustrated(
        Label(number, 3, "ann", NOW, text_snapshot=of.text, subject_snapshot=of.subject, posted_at=NOW)
        for number, of in of_general.items()
    )
    world.illustrated(made_up(range(100, 130)))
    world.ledger.freeze_gold([GoldPost(1, "2026-01", NOW)])
    report = world.build()
    assert report.left_out == {"gold": 1, "near-duplicate of a gold post": len(copies)}
    assert problems(world, report) == []

    monkeypatch.setattr(examples, "contaminated", lambda posts, gold_posts: set())
    blind = world.build()
    found = gold_leaks(world.database, world.home, folder_of(world, blind))
    assert {f"thread {number}: text of gold" for number in copies} <= set(found)
    assert any(line.startswith("train.json, row") for line in found)  # where the cut leaves enough of a text


@pytest.mark.slow
def test_each_check_fails_on_what_it_is_for(world: TrainingWorld) -> None:
    rare = [Label(5000 + n, 3, "ann", NOW, text_snapshot=f"{chr(97 + n) * 9}", posted_at=NOW) for n in range(2)]
    world.illustrated([*made_up(range(0, 120, 3)), *made_up(range(1, 120, 3)), *rare])
    assert materialise(world).success
    assert check_results(world) == {"gold_is_absent": True, "rows_are_readable": True, "classes_are_balanced": False}
    folder = next((world.home / "datasets").glob("sharegpt-*"))
    rows = json.loads((folder / "train.json").read_bytes())
    rows[0]["messages"][0]["content"] += "<image>"
    (folder / "train.json").write_text(json.dumps(rows))
    assert check_results(world)["rows_are_readable"] is False
    (folder / "train.json").unlink()
    assert check_results(world)["gold_is_absent"] is False


def test_groups_of_duplicates_are_never_torn_between_the_splits(world: TrainingWorld) -> None:
    labels = made_up(range(300))
    copied = [replace(label, text_snapshot=labels[label.thread_id // 4].text_snapshot) for label in labels]
    world.illustrated(copied)
    report = world.build()
    splits = defaultdict(set)
    for about in abouts(world, report):
        splits[int(about["thread_id"]) // 4].add(about["split"])
    assert all(len(split) == 1 for split in splits.values())
    assert {split for (split,) in splits.values()} == {"train", "validation"}


def test_a_lost_ledger_makes_no_data_set_and_is_written_anew_from_the_database(world: TrainingWorld) -> None:
    labels = made_up(range(80))
    world.illustrated(labels)
    world.draw()
    gold, count = world.ledger.gold(), world.ledger.count()
    with world.database.write() as connection:
        connection.execute(
            "INSERT INTO gold_split VALUES "
            + ", ".join(f"({p.thread_id}, '{p.period}', '{p.frozen_at}')" for p in gold)
        )
    report = world.build()
    for path in (world.home / "ledgers").glob("labels.sqlite*"):
        path.unlink()
    with pytest.raises(LedgerError, match="missing or empty"):
        problems(world, report)
    forget(world.ledger.path)  # as in a home that has no record of it
    assert f"thread {abouts(world, report)[0]['thread_id']}: gold" not in problems(world, report)
    (folder_of(world, report) / ROWS).write_text(json.dumps([{"thread_id": gold[0].thread_id}]))
    assert f"thread {gold[0].thread_id}: gold" in problems(world, report)  # the database still knows it
    with pytest.raises(LedgerLost, match="20 gold posts"):
        world.build()
    with world.database.write() as connection:
        connection.execute("DELETE FROM gold_split WHERE thread_id <> " + str(gold[0].thread_id))
    world.ledger.freeze_gold(gold[:1])
    with pytest.raises(LedgerLost, match="all labels"):
        world.build()
    assert restore_ledger(world.database, world.ledger).labels == count == len(world.ledger.newest())
    assert world.build().left_out == {"gold": 1}


def test_gold_is_known_by_what_its_labeller_saw_and_if_by_nothing_the_check_fails(world: TrainingWorld) -> None:
    labels = made_up(range(80))
    world.illustrated(labels)
    world.draw()
    (gold, *_) = sorted(world.gold())
    with world.database.write() as connection:
        connection.execute(f"DELETE FROM training_labels WHERE thread_id = {gold}")
    world.illustrated([replace(labels[gold], thread_id=5000)])
    report = world.build()
    assert report.left_out == {"gold": 19, "near-duplicate of a gold post": 1, "post unknown here": 1}
    assert problems(world, report) == []
    world.ledger.freeze_gold([GoldPost(6000, "2025-01", NOW)])
    assert problems(world, world.build()) == []  # it has no label, so it judges no model
    world.ledger.append([Label(6000, 1, "ann", NOW)])
    (problem,) = problems(world, world.build())
    assert problem.startswith("1 gold post unknown here, so that copies cannot be detected: import the days of 6000")


def test_gold_outlives_its_label_and_every_period(world: TrainingWorld) -> None:
    world.post({number: f"a text of {chr(97 + number) * 9}" for number in (1, 2, 3)})
    world.ledger.freeze_gold([GoldPost(1, "2025-01", NOW)])
    with world.database.write() as connection:  # the board was read until lately
        connection.execute("UPDATE thread_ops SET last_seen_at = last_seen_at + INTERVAL 3000 DAY WHERE thread_id = 3")
    maintain(world.database, world.home, RetentionSettings(), NOW + timedelta(days=3000))
    with world.database.read() as connection:
        assert connection.execute("SELECT thread_id FROM thread_ops ORDER BY 1").fetchall() == [(1,), (3,)]


def test_without_a_validation_row_there_is_no_validation_file(world: TrainingWorld) -> None:
    world.illustrated(made_up(range(6)))
    report = world.build()
    folder = folder_of(world, report)
    assert not (folder / "validation.json").exists()
    assert list(json.loads((folder / "dataset_info.json").read_bytes())) == ["bizcharts_train"]
    assert (len(read_rows(folder, "train")), read_rows(folder, "validation")) == (6, [])
    assert problems(world, report) == []


def test_where_nothing_is_left_to_learn_from_no_older_version_is_checked(world: TrainingWorld) -> None:
    world.illustrated(made_up(range(30)))
    assert materialise(world).success
    with world.database.write() as connection:
        connection.execute("UPDATE thumbnails SET status = 'purged', path = NULL")
    assert materialise(world).success
    assert all(check_results(world).values())


def test_posts_that_are_the_same_as_far_as_they_are_read_are_in_one_split(world: TrainingWorld) -> None:
    rng = Random(1)
    letters = "abcdefghijklmnopqrstuvwxyz "
    heads = ["".join(rng.choices(letters, k=1600)) for _ in range(40)]
    tails = ["".join(rng.choices(letters, k=450)) for _ in range(80)]
    world.illustrated(
        [
            replace(label, text_snapshot=heads[n // 2] + tails[n], sentiment_rating=n // 2 % 3 + 1)
            for n, label in enumerate(made_up(range(80)))
        ]
    )
    folder = folder_of(world, world.build())
    train, validation = (
        {row["messages"][0]["content"] for row in read_rows(folder, split)} for split in ("train", "validation")
    )
    assert validation
    assert not train & validation


@pytest.mark.fault("ENOSPC", stage="data set", expected="a named error; nothing is left")
def test_a_disk_that_is_full_is_a_named_error_and_leaves_nothing(world: TrainingWorld) -> None:
    world.illustrated(made_up(range(30)))
    folder = world.home / "datasets"
    folder.mkdir()
    program = (
        "import resource, signal, sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]\n"
        "from training_world import TrainingWorld; from bizcharts_pipeline.training import dataset\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "real = dataset._fill\n"
        "def fill(*given):\n"
        "    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"  # every write beyond fails with EFBIG
        "    real(*given)\n"
        "dataset._fill = fill\n"
        "try: TrainingWorld(Path(sys.argv[1])).build()\n"
        "except dataset.DatasetError as error: print(error)\n"
    )
    tests = Path(__file__).parent.parent
    command = [sys.executable, "-c", program, str(world.home), str(tests), str(tests / "training")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "cannot be written: File too large" in said
    assert [path.name for path in folder.iterdir()] == [".lock"]
