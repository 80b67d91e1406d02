"""A vision champion on a server: who scores which post with what, what is paid, and what waits."""

import hashlib
import logging
import math
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from labelling_world import some_threads
from vision_world import KIND, NOON, VisionWorld, calibrated, fetch, post, serving

from bizcharts_pipeline.autolabel.protocol import Price
from bizcharts_pipeline.autolabel.providers.logprobs import Token, begins_several, first_token_probabilities
from bizcharts_pipeline.demo.board.threads import WorldThread
from bizcharts_pipeline.demo.label_apis.wire import Asked, LabelFault
from bizcharts_pipeline.demo.pictures import picture
from bizcharts_pipeline.labels.ledger import LEDGER as LABELS
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.scoring import vision
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.endpoint import KEY, NoEndpoint, endpoint_access
from bizcharts_pipeline.scoring.new_posts import score_new_posts
from bizcharts_pipeline.sentiment.artifact import CorruptModel
from bizcharts_pipeline.settings import VisionSettings
from bizcharts_pipeline.text.question import question, readable
from bizcharts_pipeline.warehouse.pictures import add_blocks

WORDS = {n: f"{'sell it all' if n % 2 else 'we are so back'}, number {n}" for n in range(1, 9)}


@pytest.fixture
def world(tmp_path: Path) -> Iterator[VisionWorld]:
    with serving() as server:
        yield VisionWorld(tmp_path, server)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision, "PAUSE", timedelta(0))


@pytest.fixture(scope="module")
def jpegs() -> list[bytes]:
    threads: list[WorldThread] = some_threads(4)
    return [picture(thread, "thumbnail") for thread in threads]


def sent(world: VisionWorld) -> list[Asked]:
    return world.server.asked


def oracles(world: VisionWorld, text: str, image: bytes | None) -> tuple[float, ...]:
    """What the model says of a post, calibrated."""
    asked = question(readable("", text), picture=image is not None).removeprefix("<image>\n")
    return calibrated(world.server.openai.oracle.judge(world.version, asked, image).probabilities)


def test_text_and_picture_are_read_together_and_a_picture_that_may_not_be_sent_is_left_out(
    world: VisionWorld, jpegs: list[bytes]
) -> None:
    post(world.database, {1: WORDS[1]})
    post(world.database, {n: WORDS[n] for n in range(2, 7)}, with_picture=True)
    fetch(world.home, world.database, 2, "stored", jpegs[0])
    fetch(world.home, world.database, 3, "stored", jpegs[1], nsfw=0.7)
    fetch(world.home, world.database, 4, "blocked")
    fetch(world.home, world.database, 5, "deleted")
    world.score()
    text_only = f"{KIND} (text only)"
    assert world.methods == {1: KIND, 2: KIND, 3: text_only, 4: text_only, 5: text_only, 6: world.fallback}
    assert world.waiting == {6: "picture"}
    scores = world.scores()
    for thread_id, image in {1: None, 2: jpegs[0], 3: None, 4: None, 5: None}.items():
        assert scores[thread_id] == pytest.approx(oracles(world, WORDS[thread_id], image), abs=2e-3), thread_id
    assert len(sent(world)) == 5
    assert sum(b"data:image" in asked.text.encode() for asked in sent(world)) == 0
    assert all("number 6" not in asked.text for asked in sent(world))


def test_a_post_is_scored_again_when_its_picture_is_there_and_then_never_again(
    world: VisionWorld, jpegs: list[bytes]
) -> None:
    post(world.database, {n: WORDS[n] for n in (1, 2, 3)}, with_picture=True)
    world.score()
    assert set(world.methods.values()) == {world.fallback}
    assert sent(world) == []
    fetch(world.home, world.database, 1, "stored", jpegs[0])
    fetch(world.home, world.database, 2, "missing")
    assert world.score().methods == {KIND: 1, f"{KIND} (text only)": 1}
    assert world.waiting == {3: "picture"}
    assert world.score().scored == 0
    assert world.score(None).scored == 0
    assert len(sent(world)) == 2


@pytest.mark.slow
def test_a_server_that_is_down_leaves_no_post_without_a_score_and_each_is_asked_once_when_it_is_back(
    world: VisionWorld,
) -> None:
    post(world.database, WORDS)
    world.server.rates = {LabelFault.UNAVAILABLE: 1.0}
    assert world.score().methods == {world.fallback: len(WORDS)}
    assert set(world.waiting.values()) == {"endpoint"}
    for _ in range(4):  # however long it takes
        assert world.score().scored == 0
    world.server.rates = {}
    assert world.score().methods == {KIND: len(WORDS)}
    assert world.server.bill().paid_twice == 0
    assert world.score(None).scored == 0


def test_what_the_model_refuses_is_the_fallbacks_for_good(world: VisionWorld) -> None:
    post(world.database, WORDS)
    world.server.fault_of = lambda text: LabelFault.REFUSAL if "number 1" in text else None
    world.score()
    assert {n for n, method in world.methods.items() if method == world.fallback} == {1}
    assert world.waiting == {}
    before = len(world.server.requests)
    assert world.score(None).scored == 0
    assert len(world.server.requests) == before


@pytest.mark.slow
def test_an_unusable_answer_holds_up_no_other_post_and_is_asked_for_in_three_runs_at_most(world: VisionWorld) -> None:
    world.server.fault_of = lambda text: LabelFault.EMPTY if text.endswith("number 2") else None
    post(world.database, {1: WORDS[1]})
    world.score()  # the model has answered, so an unusable answer is no wrong setup
    for run in range(5):
        post(world.database, {n: f"post number {n}" for n in range(20 + 3 * run, 23 + 3 * run)})
        if run == 0:
            post(world.database, {2: WORDS[2]})
        world.score()
        assert {method for n, method in world.methods.items() if n != 2} == {KIND}
    assert world.methods[2] == world.fallback
    assert world.waiting == {}
    assert sum(asked.text.endswith("number 2") for asked in sent(world)) == 3


def test_a_wrong_setup_stops_at_the_first_answer_and_decides_nothing(
    world: VisionWorld, caplog: pytest.LogCaptureFixture
) -> None:
    post(world.database, {n: f"post number {n}" for n in range(1, 60)})
    world.server.openai.gives_logprobs = False
    with caplog.at_level(logging.WARNING):
        world.score()
    assert "no log-probabilities" in caplog.text
    assert world.counted() == {(world.fallback, "endpoint"): 59}
    assert len(sent(world)) == 1
    world.server.openai.gives_logprobs = True
    assert world.score().methods == {KIND: 59}


def test_an_answer_by_another_model_is_no_score(world: VisionWorld, caplog: pytest.LogCaptureFixture) -> None:
    post(world.database, WORDS)
    world.server.books.rerouted[world.version] = "Qwen/Qwen2.5-VL-7B-Instruct"
    with caplog.at_level(logging.WARNING):
        world.score()
    assert world.counted() == {(world.fallback, "endpoint"): len(WORDS)}
    assert "'Qwen/Qwen2.5-VL-7B-Instruct' answered" in caplog.text
    assert world.version in caplog.text


def test_a_model_that_the_server_does_not_have_is_told_in_terms_of_this_servers_settings(
    world: VisionWorld, caplog: pytest.LogCaptureFixture
) -> None:
    post(world.database, WORDS)
    world.server.openai.adapters.clear()
    with caplog.at_level(logging.WARNING):
        world.score()
    assert "the name under which the server has the adapter" in caplog.text
    assert "OPENAI" not in caplog.text
    assert "[openai]" not in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("fault", [LabelFault.SERVER_ERROR, LabelFault.UNAVAILABLE, LabelFault.REFUSAL])
def test_a_server_that_answers_nothing_gets_twelve_requests_in_ten_minutes_and_no_more(
    world: VisionWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, fault: LabelFault
) -> None:
    monkeypatch.setattr(vision, "PAUSE", timedelta(minutes=10))
    monkeypatch.setenv("BIZCHARTS_NOW", NOON.isoformat())
    post(world.database, {n: f"post number {n}" for n in range(1, 28)})
    world.server.rates = {fault: 1.0}
    world.seconds = None  # as long as it takes, as `history` does
    with caplog.at_level(logging.WARNING):
        world.score()
    assert len(world.server.requests) == vision.FAILURES
    assert "none of its last 12 requests had a usable answer; it is asked again within 10 minutes" in caplog.text
    world.server.rates = {}
    monkeypatch.setenv("BIZCHARTS_NOW", (NOON + timedelta(minutes=9)).isoformat())
    assert world.score().scored == 0
    assert len(world.server.requests) == vision.FAILURES
    monkeypatch.setenv("BIZCHARTS_NOW", (NOON + timedelta(minutes=10)).isoformat())
    assert world.score().methods == {KIND: 27 - vision.FAILURES if fault is LabelFault.REFUSAL else 27}


@pytest.mark.parametrize(("factor", "usd"), [(5, 1), (15, 1), (600, 5)])
def test_a_server_that_bills_more_than_expected_does_not_pass_the_cap(
    world: VisionWorld, factor: int, usd: int
) -> None:
    world.charge(Decimal(50))
    world.server.books.prices[world.version] = Price(Decimal(50), Decimal(50))
    world.server.books.cache_write_share = 0
    real = world.server.books.charge
    world.server.books.charge = lambda asked, tokens, fault: factor * real(asked, tokens, fault)  # type: ignore[method-assign]
    world.usd_per_day = Decimal(usd)
    post(world.database, {n: f"post number {n}" for n in range(1, 200)})
    for _ in range(6):
        world.score()
    bill = world.server.bill()
    billed = Decimal(50) * (factor * bill.input_tokens + bill.output_tokens) / 1_000_000
    assert world.books.usd <= world.usd_per_day
    assert billed <= world.usd_per_day


@pytest.mark.parametrize("shared_prefix", [True, False])
def test_classes_that_begin_with_the_same_token_are_not_decided_by_it(world: VisionWorld, shared_prefix: bool) -> None:
    post(world.database, {n: f"post number {n}" for n in range(1, 40)})
    world.server.openai.shared_prefix = shared_prefix
    world.score()
    found = world.counted()
    assert (KIND, None) in found if not shared_prefix else found[world.fallback, "endpoint"] >= 26
    with world.database.read() as connection:
        query = "SELECT bool_and(p_neutral > 0.5) FROM scored_posts WHERE method = ?"
        (only_neutral,) = connection.execute(query, [KIND]).fetchone() or (None,)
    assert only_neutral in ((None, True) if shared_prefix else (False,))  # its token begins no other class


def test_the_days_cap_is_never_passed_and_the_rest_waits_for_the_budget(world: VisionWorld) -> None:
    world.charge(Decimal(50))
    world.usd_per_day = Decimal("0.05")
    texts = {n: f"post number {n}" for n in range(1, 41)}
    post(world.database, texts)
    world.score()
    assert world.server.bill().usd <= world.usd_per_day
    asked = len(sent(world))
    assert 0 < asked < 40
    assert world.counted() == {(KIND, None): asked, (world.fallback, "budget"): 40 - asked}
    assert world.score().scored == 0
    assert world.server.bill().usd <= world.usd_per_day
    world.usd_per_day = Decimal(5)
    assert world.score().methods == {KIND: 40 - asked}
    assert (world.books.usd, world.server.bill().paid_twice) == (world.server.bill().usd, 0)


@pytest.mark.slow
def test_faults_of_every_kind_lose_no_post_and_the_books_say_what_the_server_bills(world: VisionWorld) -> None:
    world.charge(Decimal(5))
    world.timeout_seconds = 0.5
    texts = {n: f"post number {n} {'we are so back' if n % 3 else 'it is over'}" for n in range(1, 301)}
    post(world.database, texts)
    kinds = (LabelFault.RATE, LabelFault.SERVER_ERROR, LabelFault.UNAVAILABLE, LabelFault.RESET, LabelFault.HANG,
             LabelFault.LOST, LabelFault.BROKEN_BODY, LabelFault.REFUSAL, LabelFault.EMPTY)  # fmt: skip
    world.server.rates = dict.fromkeys(kinds, 0.02)
    world.server.retry_after = "0"
    for _ in range(12):
        world.score()
    assert set(world.methods) == set(texts)
    assert not world.waiting
    assert set(world.methods.values()) <= {KIND, world.fallback}
    bill, books = world.server.bill(), world.books
    assert books.known_usd <= bill.usd <= books.usd
    before = len(world.server.requests)
    assert world.score(None).scored == 0
    assert len(world.server.requests) == before


def test_a_picture_that_never_comes_is_waited_for_six_hours_and_then_the_text_is_read_alone(
    world: VisionWorld, jpegs: list[bytes]
) -> None:
    post(world.database, {1: WORDS[1]}, with_picture=True)
    assert world.score().methods == {world.fallback: 1}
    assert world.score(now=NOON + timedelta(hours=5)).scored == 0
    assert world.score(now=NOON + timedelta(hours=7)).methods == {f"{KIND} (text only)": 1}
    assert world.waiting == {1: "picture"}
    assert world.score(now=NOON + timedelta(hours=8)).scored == 0
    fetch(world.home, world.database, 1, "stored", jpegs[0])
    assert world.score(now=NOON + timedelta(hours=9)).methods == {KIND: 1}
    assert world.waiting == {}


def test_a_stored_picture_that_is_damaged_is_left_out(world: VisionWorld) -> None:
    post(world.database, {1: WORDS[1]}, with_picture=True)
    fetch(world.home, world.database, 1, "stored", b"no picture at all")
    assert world.score().methods == {f"{KIND} (text only)": 1}


def test_a_folder_of_ledgers_that_cannot_be_written_stops_payment_and_no_scores(world: VisionWorld) -> None:
    post(world.database, {1: WORDS[1]})
    (world.home / "ledgers").write_text("a file in its place")
    assert world.score().methods == {world.fallback: 1}
    assert world.server.requests == []


def test_a_post_that_a_labeller_flagged_and_a_picture_on_the_block_list_are_not_sent(
    world: VisionWorld, jpegs: list[bytes]
) -> None:
    post(world.database, {n: WORDS[n] for n in (1, 2, 3)}, with_picture=True)
    for n in (1, 2, 3):
        fetch(world.home, world.database, n, "stored", jpegs[n])
    LabelLedger(world.home / LABELS).append([Label(1, None, "ann", NOON, skipped=True, flag="illegal")])
    with world.database.write() as connection:
        add_blocks(connection, [(hashlib.sha256(jpegs[2]).hexdigest(), "sha256")], "reported", NOON)
    world.score()
    assert world.methods == {1: world.fallback, 2: f"{KIND} (text only)", 3: KIND}
    assert world.waiting == {}
    assert all("number 1" not in asked.text for asked in sent(world))


def test_a_ledger_that_cannot_be_used_stops_payment_and_no_scores(
    world: VisionWorld, caplog: pytest.LogCaptureFixture
) -> None:
    post(world.database, {1: WORDS[1]})
    (world.home / "ledgers").mkdir(exist_ok=True)
    (world.home / "ledgers" / "scores.sqlite").write_bytes(b"no ledger" * 1_000)
    with caplog.at_level(logging.WARNING):
        world.score()
    assert world.waiting == {1: "endpoint"}
    assert "scores.sqlite" in caplog.text
    assert world.server.requests == []


def test_without_a_server_the_champion_is_replaced_and_the_log_names_the_setting(
    world: VisionWorld, caplog: pytest.LogCaptureFixture
) -> None:

    from vision_world import NOON

    post(world.database, {1: WORDS[1]})
    place = replace(world.place, vision=VisionSettings())
    with caplog.at_level(logging.WARNING):
        score_new_posts(world.database, champion_scorer(world.database, place, NOON), limit=500, now=NOON)
    assert world.waiting == {1: "model"}
    assert "`endpoint` of [vision]" in caplog.text
    post(world.database, {2: WORDS[2]})
    assert world.score().methods == {KIND: 2}


def test_an_adapter_without_correction_of_classes_names_the_file_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "calibration.json").write_text('{"temperature": 1.5}')
    with pytest.raises(
        CorruptModel, match=r"report\.json cannot be used \(it is needed because calibration\.json has no"
    ):
        vision._calibration(tmp_path)
    (tmp_path / "report.json").write_text('{"shift": [0.1, 0, -0.1]}')
    assert vision._calibration(tmp_path).shift == (0.1, 0, -0.1)
    (tmp_path / "calibration.json").write_text("{")
    with pytest.raises(CorruptModel, match=r"calibration\.json cannot be used: "):
        vision._calibration(tmp_path)


def test_a_key_is_sent_only_encrypted_or_to_this_machine(
    world: VisionWorld, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(KEY, "vk-0123456789abcdef")
    with pytest.raises(NoEndpoint, match="not encrypted"):
        endpoint_access(VisionSettings(endpoint="http://gpu.lan:8000/v1"))
    assert endpoint_access(VisionSettings(endpoint="https://gpu.example/v1")).key == "vk-0123456789abcdef"
    post(world.database, {1: WORDS[1]})
    world.score()
    assert world.server.keys == {"vk-0123456789abcdef"}
    ledger = (world.home / "ledgers" / "scores.sqlite").read_bytes()
    assert b"vk-0123456789" not in ledger
    assert "vk-0123456789" not in caplog.text
    monkeypatch.delenv(KEY)
    assert endpoint_access(VisionSettings(endpoint="http://gpu.lan:8000/v1")).url == "http://gpu.lan:8000/v1"


def test_the_first_token_decides_by_what_each_alternative_can_become() -> None:
    token = Token("bull", -0.105, (("bull", -0.105), ("neut", -3.0), ("Bear", -4.0), ("the", -5.0)))
    bearish, neutral, bullish = first_token_probabilities(token) or (0, 0, 0)
    assert bullish > neutral > bearish > 0
    assert bearish + neutral + bullish == pytest.approx(1)
    assert first_token_probabilities(Token("the", -0.1, (("the", -0.1), ("bull", -3.0)))) is None
    assert begins_several(Token("b", 0.0, ()))
    assert not begins_several(Token("bear", 0.0, ()))


def test_shares_of_more_than_the_whole_are_no_probabilities() -> None:
    certain = tuple((text, 0.0) for text in ("bear", "neut", "bull"))
    assert first_token_probabilities(Token("bear", 0.0, certain)) is None


def test_a_class_that_an_answer_does_not_name_gets_no_more_than_what_is_left() -> None:
    alone = first_token_probabilities(Token("bear", 0.0, (("bear", 0.0),)))
    assert alone is not None
    assert alone[0] > 1 - 1e-6
    some = first_token_probabilities(
        Token("bull", math.log(0.9), (("bull", math.log(0.9)), ("neutral", math.log(0.08))))
    )
    assert some is not None
    assert some[0] == pytest.approx(0.02, rel=0.05)


def test_blank_and_shared_beginnings_do_not_spoil_an_answer_that_is_clear_without_them() -> None:
    clear = [("neutral", 0.6), ("bear", 0.2), ("bull", 0.1), (" ", 0.05), ("b", 0.04)]
    offered = tuple((text, math.log(share)) for text, share in clear)
    assert first_token_probabilities(Token("neutral", math.log(0.6), offered)) == pytest.approx((2 / 9, 6 / 9, 1 / 9))


@pytest.mark.parametrize("odd", [1.0, math.inf, math.nan])
def test_what_is_no_log_probability_makes_an_answer_unusable(odd: float) -> None:
    assert first_token_probabilities(Token("bear", odd, (("bear", odd), ("bull", -1.0)))) is None
