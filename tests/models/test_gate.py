"""Who becomes champion, and who never does."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training.gate_world import LATER, LEXICON, GateWorld, QuickRecipe, of, relabelled, talk
from vision_world import fetch

from bizcharts_pipeline.labels.gold import extend_gold
from bizcharts_pipeline.models import paired
from bizcharts_pipeline.models.evaluate import HONEST_LEXICON
from bizcharts_pipeline.models.gate import Contender, judge
from bizcharts_pipeline.models.metrics import measure
from bizcharts_pipeline.models.paired import compare, holm, mcnemar
from bizcharts_pipeline.models.promotion import ChampionError, override
from bizcharts_pipeline.sentiment.artifact import TRAINED_ON, CorruptModel
from bizcharts_pipeline.sentiment.calibrated import write_temperature
from bizcharts_pipeline.sentiment.evaluation import evaluate
from bizcharts_pipeline.sentiment.scorer import Post, Score
from bizcharts_pipeline.settings import FearGreedSettings, LabellingSettings
from bizcharts_pipeline.training.gold_set import GoldSet
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.lexicon import LexiconRecipe
from bizcharts_pipeline.training.recipes.tfidf import train
from bizcharts_pipeline.warehouse.model_evaluations import Decision, append_decisions
from bizcharts_pipeline.warehouse.models import register_candidate


@pytest.mark.slow
def test_a_better_model_is_promoted_once_as_its_refit_on_all_labels(gated: GateWorld) -> None:
    winner = gated.train().model.model_version
    decision = gated.decide()[winner]
    assert decision.promoted
    assert decision.champion == LEXICON
    assert decision.reason.startswith(f"significantly better than {HONEST_LEXICON}: log loss ")
    assert decision.bootstrap_p is not None
    assert decision.bootstrap_p < 0.05
    refit = gated.champion()
    assert (refit.kind, refit.refit_of) == ("tfidf", winner)
    assert refit.accuracy == gated.models()[winner].accuracy
    trained_on = json.loads((gated.home / (refit.path or "") / TRAINED_ON).read_text())
    assert {row["thread_id"] for row in trained_on} >= gated.gold()
    statuses = {name: row.status for name, row in gated.models().items()}
    assert statuses == {LEXICON: "retired", winner: "retired", refit.model_version: "champion"}

    gated.train()  # the same posts, the same files
    assert gated.decide() == {}
    assert gated.champion() == refit
    assert [made.promoted for made in gated.decisions()] == [True]


@pytest.mark.slow
def test_a_worse_model_is_not_promoted(gated: GateWorld) -> None:
    gated.train()
    gated.decide()
    before = gated.champion()
    known = gated.text_set()
    labels = [example.label for example in known.examples]
    random.Random(1).shuffle(labels)
    worse = gated.train(relabelled(known, labels)).model.model_version
    decision = gated.decide()[worse]
    assert not decision.promoted
    assert decision.reason.startswith(f"worse than {before.refit_of}: log loss ")
    assert gated.champion() == before


@pytest.mark.slow
def test_an_equally_good_model_is_not_promoted_and_saying_so_twice_is_one_row(gated: GateWorld) -> None:
    gated.train()
    gated.decide()
    gated.label(talk(range(2001, 2008)))  # a few more posts: another model, no better one
    same = gated.train().model.model_version
    for _ in range(2):
        assert not gated.decide()[same].promoted
    reasons = [made.reason for made in gated.decisions() if made.model_version == same]
    assert len(reasons) == 1
    assert reasons[0].startswith(("not significantly better than", "worse than"))


def test_a_model_that_learned_from_gold_is_not_promoted(gated: GateWorld) -> None:
    leaked = gated.train(gated.text_set(with_gold=True)).model.model_version
    decision = gated.decide()[leaked]
    gold = sorted(gated.gold())
    assert not decision.promoted
    assert decision.reason.startswith("trained on gold: threads " + ", ".join(map(str, gold[:5])))
    with pytest.raises(ChampionError, match="gold"):
        override(
            gated.database, gated.place, leaked, parameters=FearGreedSettings(), who="ann", reason="nice", now=LATER
        )
    assert gated.champion().model_version == LEXICON


def test_a_model_that_learned_from_the_picture_of_gold_alone_is_refused_and_told_so(gated: GateWorld) -> None:
    gold = gated.gold_set().examples[0]
    text = "entirely other words about a picture that everybody posts"
    gated.post({gold.thread_id: gold.post.text or "", 7777: text})
    for thread_id in (gold.thread_id, 7777):
        fetch(gated.home, gated.database, thread_id, "stored", b"a picture")
    other = replace(gold, thread_id=7777, post=replace(gold.post, text=text))
    leaked = gated.train(of([*gated.text_set().examples, other])).model.model_version
    assert gated.decide()[leaked].reason == f"trained on gold: the pictures of threads {gold.thread_id}"
    with pytest.raises(ChampionError, match=f"trained on gold: the pictures of threads {gold.thread_id}"):
        override(gated.database, gated.place, leaked, parameters=FearGreedSettings(), who="a", reason="b", now=LATER)


def test_a_model_that_learned_from_a_near_duplicate_of_gold_is_not_promoted(gated: GateWorld) -> None:
    gold = gated.gold_set().examples[0]
    text = gold.post.text + " !!"
    gated.post({7777: text})
    copy = replace(gold, thread_id=7777, post=replace(gold.post, text=text))
    leaked = gated.train(of([*gated.text_set().examples, copy])).model.model_version
    reason = gated.decide()[leaked].reason
    assert reason == f"trained on gold: near-duplicates of threads {gold.thread_id}"


def test_a_corrupt_model_is_not_promoted_by_the_gate_nor_by_a_person(gated: GateWorld) -> None:
    row = gated.train().model
    weights = next((gated.home / (row.path or "")).glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    reason = gated.decide()[row.model_version].reason
    assert reason.startswith("corrupt: ")
    assert weights.name in reason
    with pytest.raises(CorruptModel, match=weights.name):
        override(
            gated.database,
            gated.place,
            row.model_version,
            parameters=FearGreedSettings(),
            who="ann",
            reason="I like it",
            now=LATER,
        )
    assert gated.champion().model_version == LEXICON


def test_a_model_of_unknown_posts_is_not_promoted_by_the_gate_but_by_a_person(gated: GateWorld) -> None:
    strangers = [replace(example, thread_id=example.thread_id + 10**6) for example in gated.text_set().examples]
    foreign = gated.train(of(strangers)).model.model_version
    assert "of its training posts are unknown here" in gated.decide()[foreign].reason
    with pytest.raises(ChampionError, match="reason"):
        override(gated.database, gated.place, foreign, parameters=FearGreedSettings(), who="ann", reason=" ", now=LATER)
    override(
        gated.database,
        gated.place,
        foreign,
        parameters=FearGreedSettings(),
        who="ann",
        reason="from our other machine",
        now=LATER,
    )
    assert gated.champion().model_version == foreign
    newest = gated.decisions()[-1]
    assert (newest.promoted, newest.decided_by, newest.reason) == (True, "ann", "from our other machine")
    before = gated.decisions()
    again = override(
        gated.database, gated.place, foreign, parameters=FearGreedSettings(), who="bob", reason="again", now=LATER
    )
    assert again is None, "it is the champion already"
    assert gated.decisions() == before


def test_a_refit_that_does_worse_on_gold_than_the_winner_is_left_out(gated: GateWorld) -> None:
    class Forgetful(QuickRecipe):
        """All goes well but with gold."""

        def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
            with_gold = gated.gold() & {example.thread_id for example in examples}
            super().fit(
                [replace(e, label=(e.label + 1) % 3) for e in examples] if with_gold else examples, folder, seed
            )

    winner = gated.train(recipe=Forgetful()).model.model_version
    decision = gated.decide(recipes={"tfidf": Forgetful()})[winner]
    assert decision.promoted
    assert decision.reason.endswith("; promoted unchanged")
    assert (gated.champion().model_version, gated.champion().refit_of) == (winner, None)


def test_a_model_that_says_no_number_is_neither_registered_nor_weighed(gated: GateWorld) -> None:
    class Broken(QuickRecipe):
        def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
            model = train(examples)
            replace(model, intercepts=model.intercepts * np.nan).save(folder)
            write_temperature(folder, 1.0)

    before = gated.models()
    with pytest.raises(CorruptModel, match="are not probabilities"):
        gated.train(recipe=Broken())
    assert gated.models() == before
    fetched = gated.published(Broken())
    with gated.database.write() as connection:
        register_candidate(connection, fetched)  # as a release is
    (decision,) = gated.decide().values()
    assert decision.reason.startswith("corrupt: ")


@pytest.mark.slow
def test_gold_wears_out_with_each_model_that_it_has_judged(gated: GateWorld) -> None:
    version = gated.train().model.model_version
    (fresh,) = gated.evaluate().judgements
    assert fresh.wins
    before = Decision(version, LEXICON, gated.gold_set().gold_version, False, "gate", "worse", LATER, 0.5, 0.5)
    with gated.database.write() as connection:
        append_decisions(connection, [before])  # it counts once itself
        connection.execute(
            "INSERT INTO model_decisions SELECT d.* REPLACE ('other-' || k AS model_version) "
            "FROM model_decisions AS d, range(500) AS r(k)"
        )
    (worn,) = gated.evaluate().judgements
    assert not worn.wins
    assert "501 models compared on this gold" in worn.reason
    with gated.database.write() as connection:
        connection.execute("UPDATE model_decisions SET gold_version = 'gold-other'")
    assert gated.evaluate().judgements == (fresh,)


def test_without_enough_gold_nobody_is_comparable(tmp_path: Path) -> None:
    world = GateWorld.prepared(tmp_path / "home", posts=120)
    version = world.train().model.model_version
    assert world.decide()[version].reason == (
        f"not comparable: 30 gold posts count for it and {HONEST_LEXICON}; 50 are needed"
    )


def test_gold_that_was_frozen_after_a_training_is_no_leak_and_does_not_judge_that_model(gated: GateWorld) -> None:
    text_set = gated.text_set()
    row = gated.train(text_set).model
    gated.label(talk(range(1001, 1241)))
    extend_gold(gated.database, gated.ledger, LabellingSettings(), LATER + timedelta(days=1))
    late = gated.gold() & {example.thread_id for example in text_set.examples}
    assert late
    report = gated.evaluate()
    line = next(line for line in report.lines if line.name == row.model_version)
    assert line.figures
    assert line.figures.n == len(gated.gold()) - len(late)
    assert line.note == f"{len(late)} gold posts it was trained on do not count"
    (judgement,) = report.judgements
    assert "trained on gold" not in judgement.reason
    assert judgement.comparisons[HONEST_LEXICON].n == line.figures.n


@pytest.mark.slow
def test_a_model_that_wins_by_the_newest_gold_and_forgets_the_old_is_not_promoted(gated: GateWorld) -> None:
    gated.train()
    gated.decide()
    champion, old = gated.champion(), gated.gold()
    # Another month, in other words: the champion knows none of them.
    gated.label(
        replace(label, text_snapshot=backwards(label.text_snapshot)) for label in talk(range(1001, 1481), month=2)
    )
    extend_gold(gated.database, gated.ledger, LabellingSettings(), LATER + timedelta(days=1))
    text_set = gated.text_set()
    forgetful = gated.train(of(each for each in text_set.examples if each.thread_id > 1000)).model.model_version
    reason = gated.decide()[forgetful].reason
    assert reason.startswith("loses on old gold: accuracy ")
    assert f"on the {len(old)} gold posts that {champion.refit_of} was judged on" in reason
    assert gated.champion().model_version == champion.model_version
    both = gated.train(text_set).model.model_version
    assert gated.decide()[both].promoted


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), old=st.integers(0, 60), skill=st.floats(0, 3), old_skill=st.floats(0, 3))
def test_no_winner_loses_more_than_two_points_on_old_gold(seed: int, old: int, skill: float, old_skill: float) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=120)
    examples = tuple(TextExample(n, None, Post("", ""), int(label), n) for n, label in enumerate(truth))
    gold = GoldSet("gold", examples, (), {}, 0)

    def scored(name: str, skills: np.ndarray) -> Contender:
        logits = rng.normal(size=(120, 3))
        logits[np.arange(120), truth] += skills
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        return Contender(name, {n: (row[0], row[1], row[2]) for n, row in enumerate(p.tolist())})

    candidate = scored("candidate", np.where(np.arange(120) < old, old_skill, skill + 1))
    champion = scored("champion", np.ones(120))
    (judgement,) = judge([candidate], champion, [], gold, level=0.05, seed=1, old=range(old))
    if judgement.wins and old:
        mine, its = (
            evaluate([Score(*each.scores[n]) for n in range(old)], truth[:old].tolist())
            for each in (candidate, champion)
        )
        assert its.accuracy - mine.accuracy <= 0.02 + 1e-9
        assert its.macro_f1 - mine.macro_f1 <= 0.02 + 1e-9


def test_a_model_that_is_as_often_right_and_surer_where_it_is_wins() -> None:
    truth = np.random.default_rng(5).integers(3, size=120)
    examples = tuple(TextExample(n, None, Post("", ""), int(label), n) for n, label in enumerate(truth))

    def right_in(share: int, probability: float) -> dict[int, tuple[float, float, float]]:
        told = np.where(np.arange(120) % 10 < share, truth, (truth + 1) % 3)
        rest = (1 - probability) / 2
        p = np.where(np.arange(3) == told[:, None], probability, rest)
        return {n: (row[0], row[1], row[2]) for n, row in enumerate(p.tolist())}

    champion, surer = Contender("champion", right_in(7, 0.4)), Contender("surer", right_in(7, 0.6))
    (judgement,) = judge([surer], champion, [], GoldSet("gold", examples, (), {}, 0), level=0.05, seed=1)
    assert judgement.wins, judgement.reason


def backwards(text: str | None) -> str:
    """The text with its words read backwards."""
    return " ".join(word[::-1] for word in (text or "").split())


def test_of_two_winners_the_better_one_is_promoted(gated: GateWorld) -> None:
    good = gated.train().model.model_version
    known = gated.text_set()
    decent = gated.train(of(known.examples[: len(known.examples) // 2]), LexiconRecipe()).model.model_version
    decided = gated.decide()
    assert decided[good].promoted
    assert not decided[decent].promoted
    assert gated.champion().refit_of == good


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="promotion", expected="the old champion, or the new one with its decision")
def test_a_kill_before_the_promotion_leaves_the_old_champion_and_the_next_run_goes_on(gated: GateWorld) -> None:
    winner = gated.train().model.model_version
    script = (
        "import os, signal, sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]\n"
        "from training.gate_world import GateWorld\n"
        "import bizcharts_pipeline.models.promotion as champion\n"
        "def die(*_): os.kill(os.getpid(), signal.SIGKILL)\n"
        "champion.append_decisions = die  # within the transaction that promotes\n"
        "GateWorld(Path(sys.argv[1])).decide()\n"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]
    killed = subprocess.run(
        [sys.executable, "-c", script, str(gated.home), *paths], timeout=60, env=os.environ, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    assert gated.champion().model_version == LEXICON
    assert gated.models()[winner].status == "candidate"
    assert gated.decisions() == []
    assert gated.decide()[winner].promoted
    assert gated.champion().refit_of == winner


def test_what_was_decided_before_another_champion_was_made_is_void(gated: GateWorld) -> None:
    gated.train()
    report = gated.evaluate()
    with gated.database.write() as connection:
        connection.execute("UPDATE model_versions SET status = 'retired' WHERE status = 'champion'")
    with pytest.raises(ChampionError, match="evaluate again"):
        gated.decide(report)


def test_the_table_has_champion_candidates_baselines_and_people(gated: GateWorld) -> None:
    version = gated.train().model.model_version
    table = gated.evaluate().table
    for name in (version, HONEST_LEXICON, "class shares", "uniform", "unknown: no post was labelled by two people"):
        assert name in table
    assert [path.name for path in (gated.home / "models").iterdir()] == [version]  # the lexicon's stand-in is not kept
    with gated.database.read() as connection:
        rows = connection.execute("SELECT model_version, n FROM model_evaluations ORDER BY ALL").fetchall()
    assert rows == [(name, 51) for name in sorted([version, HONEST_LEXICON, "class shares", "uniform"])]


Rights = st.lists(st.tuples(st.booleans(), st.booleans()), max_size=60)


@given(Rights)
def test_mcnemar_is_symmetric_and_counts_nothing_but_where_the_two_differ(rights: list[tuple[bool, bool]]) -> None:
    first, second = [a for a, _ in rights], [b for _, b in rights]
    gained, lost = (sum(a and not b for a, b in pairs) for pairs in (rights, [(b, a) for a, b in rights]))
    exactly = mcnemar(first, second) + mcnemar(second, first) - 1  # both count the outcome itself
    assert 0 < exactly <= 1
    assert (mcnemar(first, second) <= mcnemar(second, first)) == (gained >= lost)
    assert mcnemar([*first, True, False], [*second, True, False]) == mcnemar(first, second)


@settings(max_examples=25)
@given(st.integers(0, 10_000), st.integers(20, 80))
def test_the_comparison_is_antisymmetric_and_blind_to_the_order_of_posts(seed: int, n: int) -> None:
    first, second, truth, groups = _two_models(seed, n, edge=0.5)
    one, other = compare(first, second, truth, groups, 3), compare(second, first, truth, groups, 3)
    assert one.difference == pytest.approx(-other.difference)
    assert one.difference_lo == pytest.approx(-other.difference_hi)
    assert one.bootstrap_p + other.bootstrap_p == pytest.approx(1, abs=0.01)
    order = random.Random(seed).sample(range(n), n)
    mixed = compare(*([column[i] for i in order] for column in (first, second, truth, groups)), 3)
    assert mixed.bootstrap_p == one.bootstrap_p
    assert mixed.mcnemar_p == one.mcnemar_p


def test_equal_models_differ_significantly_about_as_often_as_the_level_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "REPLICATES", 2_000)
    p = np.array([compare(*_two_models(seed, 80, edge=0.0), 1).bootstrap_p for seed in range(200)])
    assert 0.02 < (p < 0.05).mean() < 0.09
    assert 0.40 < (p < 0.5).mean() < 0.60


def test_a_model_that_is_better_is_found_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paired, "REPLICATES", 2_000)
    p = [compare(*_two_models(seed, 150, edge=0.5), 1).bootstrap_p for seed in range(40)]
    assert np.mean(np.array(p) < 0.05) > 0.7


def test_a_text_that_was_posted_often_is_one_observation() -> None:
    first, second, truth, _ = _two_models(4, 40, edge=0.5)
    alone = compare(first, second, truth, list(range(40)), 1)
    tenfold = compare(first * 10, second * 10, truth * 10, list(range(40)) * 10, 1)
    assert tenfold.bootstrap_p == pytest.approx(alone.bootstrap_p, abs=0.02)
    assert measure(first * 10, truth * 10, list(range(40)) * 10, 1).accuracy.lo == pytest.approx(
        measure(first, truth, list(range(40)), 1).accuracy.lo, abs=0.01
    )


@given(st.lists(st.floats(1e-6, 1), min_size=1, max_size=8), st.integers(0, 9))
def test_holm_never_lowers_a_p_nor_changes_their_order(p: list[float], others: int) -> None:
    adjusted = holm(p, others)
    assert all(a >= b for a, b in zip(adjusted, p, strict=True))
    assert min(adjusted) == min(1.0, (len(p) + others) * min(p))
    assert [a for _, a in sorted(zip(p, adjusted, strict=True))] == sorted(adjusted)


def _two_models(seed: int, n: int, edge: float) -> tuple[list[Score], list[Score], list[int], list[int]]:
    """Two models that see the truth through noise of their own, the first by ``edge`` better; groups of up to three."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, 3, n)

    def model(signal: float) -> list[Score]:
        logits = draw.normal(0, 1, (n, 3))
        logits[np.arange(n), truth] += signal
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return [Score(*row) for row in (odds / odds.sum(axis=1, keepdims=True)).tolist()]

    groups: Sequence[int] = np.sort(draw.integers(0, max(1, n // 2), n)).tolist()
    return model(1.0 + edge), model(1.0), truth.tolist(), list(groups)
