import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.enrichment.classification import artefact
from app.enrichment.classification.features import READ_CHARACTERS, read, take_first_sentence
from app.enrichment.classification.hand_features import HAND_FEATURE_NAMES
from app.enrichment.classification.types import (
    BASE_FILE,
    CLASSES,
    LabelledIssue,
    TypeDelta,
    TypeModel,
    checksum_file,
    load_base,
    train_delta,
)
from contracts.vocabulary import TypeTag
from evaluation.train_types import train_types

SHORT_ISSUES = Path(__file__).parents[3] / "evaluation/fixtures/short_issues.jsonl"

PLAIN = [
    ("App crashes when I open the camera", "Happens every time since yesterday's update.", TypeTag.BUG),
    ("Please add an option to export reports as PDF", "", TypeTag.FEATURE),
    ("How do I reset my password?", "", TypeTag.QUESTION),
    ("Typo in the documentation", "The docs say `instal`.", TypeTag.DOCUMENTATION),
]
TEMPLATE = """<!-- Please search first -->
### Issue type

Support

## What happens

The page stays white. Then nothing.

```sh
make world
```

- Version: 2.4
"""

# A project that files its wishes as tasks and its defects as incidents.
HABITS = [
    *(LabelledIssue(f"Incident {n}: {what} out of order", "", TypeTag.BUG) for n, what in enumerate("ABCDEFGHIJ")),
    *(LabelledIssue(f"Task {n}: {what} for the team", "", TypeTag.FEATURE) for n, what in enumerate("KLMNOPQRST")),
]


@pytest.mark.parametrize(("title", "description", "label"), PLAIN)
def test_the_shipped_base_tells_plain_issues(title, description, label):
    base = load_base()
    prediction = base.predict(title, description)

    assert max(CLASSES, key=prediction.probabilities.__getitem__) is label
    assert prediction.label is (label if prediction.confidence >= base.threshold else None)
    assert prediction.confidence == max(prediction.probabilities.values()) == prediction.probabilities[label]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_the_shipped_base_is_small_and_of_this_code():
    base = load_base()

    assert BASE_FILE.stat().st_size < 2_000_000
    assert base.version == artefact.version(BASE_FILE.read_bytes())
    assert base.encoder.width == len(base.encoder.terms) + len(HAND_FEATURE_NAMES) + 1
    rows = [json.loads(line) for line in SHORT_ISSUES.read_text(encoding="utf-8").splitlines()]
    right = 0
    for row in rows:
        found = base.predict(row["title"], row["description"]).probabilities
        right += max(CLASSES, key=found.__getitem__) == row["label"]
    assert right / len(rows) >= 0.8


def test_what_it_is_sure_of_it_says():
    prediction = load_base().predict("How do I reset my password?", "Is there a setting for it?")

    assert prediction.label is TypeTag.QUESTION


def test_nothing_is_said_of_what_says_nothing():
    prediction = load_base().predict("", "")

    assert prediction.label is None
    assert set(prediction.probabilities) == set(TypeTag)


def test_load_base_of_damaged_file_raises_error_with_its_name(tmp_path):
    damaged = tmp_path / "damaged.safetensors"
    data = bytearray(BASE_FILE.read_bytes())
    data[-20] ^= 1
    damaged.write_bytes(data)
    checksum_file(damaged).write_bytes(checksum_file(BASE_FILE).read_bytes())

    with pytest.raises(artefact.ArtefactError, match=r"damaged\.safetensors: .*checksum is wrong.*make train"):
        load_base(damaged)
    with pytest.raises(artefact.ArtefactError, match=r"absent\.safetensors"):
        load_base(tmp_path / "absent.safetensors")
    with pytest.raises(artefact.ArtefactError, match="safetensors format"):
        TypeModel.from_bytes(b"PK\x03\x04")


def test_a_delta_learns_a_projects_habits_and_survives_storage():
    base = load_base()
    delta = train_delta(base, HABITS)

    assert train_delta(base, HABITS).to_bytes() == delta.to_bytes()
    stored = TypeDelta.from_bytes(delta.to_bytes())
    assert (stored.base_version, stored.examples) == (base.version, 20)
    for title, label in [("Incident 77: lift", TypeTag.BUG), ("Task 78: lift", TypeTag.FEATURE)]:
        alone = base.predict(title, "").probabilities[label]
        learned = base.predict(title, "", delta)
        assert learned.probabilities[label] > alone
        assert max(CLASSES, key=learned.probabilities.__getitem__) is label
        assert base.predict(title, "", stored) == learned


def test_delta_of_many_examples_stays_below_600_kb():
    words = [f"word{number}" for number in range(400)]
    random = np.random.default_rng(0)
    examples = [
        LabelledIssue(" ".join(random.choice(words, 6)), " ".join(random.choice(words, 300)), CLASSES[number % 4])
        for number in range(300)
    ]

    assert len(train_delta(load_base(), examples).to_bytes()) < 600_000


@pytest.mark.parametrize("examples", [5, 60])
def test_one_type_alone_does_not_drown_the_words(examples):
    base = load_base()
    delta = train_delta(base, [LabelledIssue(f"Screen {n} is blank", "", TypeTag.BUG) for n in range(examples)])

    usual = base.predict("How do I reset my password?", "", delta).probabilities
    assert usual[TypeTag.BUG] > base.predict("How do I reset my password?", "").probabilities[TypeTag.BUG]
    assert all(0 < share < 1 for share in usual.values())
    if examples == 5:
        assert max(CLASSES, key=usual.__getitem__) is TypeTag.QUESTION


def test_a_delta_needs_examples_and_its_own_base():
    base = load_base()
    with pytest.raises(ValueError, match="without examples"):
        train_delta(base, [])

    other = TypeModel("another", base.encoder, np.zeros((4, base.encoder.width)))
    with pytest.raises(ValueError, match="belongs to base another"):
        base.predict("A title", "", train_delta(other, HABITS))


def test_what_is_seen_of_a_template():
    document = read("Page: stays white?", TEMPLATE)

    assert {"title:page", "title:stays white", "title:?"} <= document.blocks["title"].keys()
    assert document.blocks["first"].keys() == {"first:page", "first:page stays"}
    assert document.blocks["heading"].keys() == {"heading:issue type", "heading:what happens"}
    assert document.blocks["answer"].keys() >= {"answer:issue type=support", "answer:version=2.4"}
    assert document.blocks["code"].keys() == {"code:make", "code:world"}
    assert "text:search" not in document.blocks["text"]
    hand_features = dict(zip(HAND_FEATURE_NAMES, document.hand_features.tolist(), strict=True))
    assert (
        hand_features["code"]
        == hand_features["comment"]
        == hand_features["title: question mark"]
        == hand_features["version"]
        == 1
    )
    assert hand_features["trace"] == hand_features["link"] == 0
    assert take_first_sentence("# Steps\n\nThe page of the shop stays white. Then nothing.") == (
        "The page of the shop stays white."
    )


def test_only_the_beginning_is_read():
    beginning = "a b " * (READ_CHARACTERS // 4)

    assert read("Title", beginning + "zebra " * 100_000).blocks == read("Title", beginning).blocks


@pytest.mark.parametrize("piece", ["[", "<!--", " ", "*", "`", "#", "- a", "a: ", "'", "at ", "\n", "é", "\u2028"])
def test_hostile_repetition_is_a_text_like_any_other(piece):
    prediction = load_base().predict(piece * 20_000, piece * 300_000)

    assert 0 < prediction.confidence <= 1


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=200), st.text(max_size=2_000))
def test_any_text_gets_probabilities_always_the_same(title, description):
    first, second = (load_base().predict(title, description) for _ in range(2))

    assert first == second
    assert sum(first.probabilities.values()) == pytest.approx(1)


def test_training_again_gives_the_same_bytes(tmp_path):
    for folder in ("types", "types_more"):
        (tmp_path / folder).mkdir()
        lines = [
            json.dumps({"repo": f"{folder}/{number % 3}", "title": title, "body": body, "label": label})
            for number in range(12)
            for title, body, label in PLAIN
        ]
        (tmp_path / folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")

    models = [train_types(tmp_path, tmp_path / f"{number}.safetensors") for number in range(2)]

    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()
    assert models[0].version == models[1].version
    assert models[0].predict("How do I open the camera?", "").confidence == (
        load_base(tmp_path / "1.safetensors").predict("How do I open the camera?", "").confidence
    )
