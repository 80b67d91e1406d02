"""Which posts and pictures a run sends, and what of them it keeps."""

from io import BytesIO

from autolabel_world import NOON, OK, FakeProvider, LabelWorld, jpeg, statuses, thread

from bizcharts_pipeline.autolabel.dispatcher import READY_AHEAD
from bizcharts_pipeline.autolabel.protocol import Answer, Question
from bizcharts_pipeline.autolabel.questions import POSTS_AT_ONCE
from bizcharts_pipeline.labels.ledger import LEDGER as HUMAN_LEDGER
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.warehouse.values import literal


def test_an_illegal_post_is_never_asked_once_flagged_whoever_labels_it_later(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 401)))
    people = LabelLedger(world.home / HUMAN_LEDGER)
    people.append([Label(400, None, "ann", NOON, skipped=True, flag="illegal"), Label(400, 3, "ann", NOON, origin="x")])

    def say(question: Question, times: int) -> Answer:
        if len(provider.asked) == 1:
            people.append([Label(n, None, "ann", NOON, skipped=True, flag="illegal") for n in range(1, 401)])
        return OK

    provider = FakeProvider(say, seconds=0.005)
    world.label(provider, labels={"most_at_once": 1})
    assert not any("post 400 " in question.text for question in provider.asked)
    assert len(provider.asked) <= READY_AHEAD + POSTS_AT_ONCE == 192  # what was made ready before the flags


def test_only_pictures_that_may_be_sent_are_sent_small_and_re_encoded(world: LabelWorld) -> None:
    world.put(*(thread(number) for number in range(1, 7)))
    original = jpeg()
    world.picture(1, original, "1" * 64)
    world.picture(2, original, "2" * 64, nsfw=0.9)
    world.picture(3, original, "3" * 64, nsfw=None)
    world.picture(4, b"no picture", "4" * 64)
    world.picture(5, original, "5" * 64)
    with world.database.write() as connection:
        connection.execute(f"INSERT INTO blocked_images VALUES ('{'5' * 64}', 'sha256', 'x', {literal(NOON)})")
    provider = FakeProvider()
    world.label(provider)
    (image,) = [question.image for question in provider.asked if question.image is not None]
    assert image != original
    from PIL import Image

    with Image.open(BytesIO(image)) as sent:
        assert (sent.format, sent.size) == ("JPEG", (512, 256))
    assert dict(world.rows("thread_id, image_used")) == {1: True, **dict.fromkeys(range(2, 7), False)}


def test_what_people_flagged_pinned_spam_and_empty_posts_are_never_asked(world: LabelWorld) -> None:
    world.put(
        thread(1),
        thread(2, spam=0.9),
        thread(3, sticky=True),
        thread(4, capcode="mod"),
        thread(5, " "),
        thread(6),
        thread(7, ">>123456"),
    )
    LabelLedger(world.home / HUMAN_LEDGER).append([Label(6, None, "ann", NOON, skipped=True, flag="illegal")])
    provider = FakeProvider()
    world.label(provider)
    assert [question.text for question in provider.asked] == ["<post>\npost 1 about coins\n</post>"]
    assert statuses(world) == {1: "labelled", 7: "failed"}  # 7 has nothing left to be asked about, and says so


def test_without_images_the_text_goes_alone(world: LabelWorld) -> None:
    world.put(thread(1), thread(2, " "))
    for number in (1, 2):
        world.picture(number, jpeg(), str(number) * 64)
    provider = FakeProvider()
    world.label(provider, labels={"images": False})
    assert [(question.text, question.image) for question in provider.asked] == [
        ("<post>\npost 1 about coins\n</post>", None)
    ]
    assert statuses(world) == {1: "labelled", 2: "failed"}  # of the second nothing may be sent


def test_the_ledger_holds_no_post_and_the_table_is_made_from_it_again(world: LabelWorld) -> None:
    world.put(thread(1, "a sentence that only this post has"), thread(2))
    world.picture(1, jpeg(), "1" * 64)
    sent: list[Question] = []

    def say(question: Question, times: int) -> Answer:
        sent.append(question)
        return OK

    provider = FakeProvider(say)
    world.label(provider)
    before = world.rows("*")
    with world.database.write() as connection:
        connection.execute("DELETE FROM auto_labels")
    assert world.label(provider).rows_changed == 2
    assert (world.rows("*"), len(sent)) == (before, 2)
    (image,) = [question.image for question in sent if question.image is not None]
    stored = b"".join(
        path.read_bytes() for path in (world.home / "ledgers").glob("auto_labels.sqlite*") if path.is_file()
    )
    assert sent[0].key.encode() in stored
    assert b"only this post" not in stored
    assert image[20:80] not in stored
