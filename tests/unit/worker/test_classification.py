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

CLEAR_ISSUES = [
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

# A project that calls feature requests tasks and bugs incidents.
PROJECT_EXAMPLES = [
    *(LabelledIssue(f"Incident {n}: {what} out of order", "", TypeTag.BUG) for n, what in enumerate("ABCDEFGHIJ")),
    *(LabelledIssue(f"Task {n}: {what} for the team", "", TypeTag.FEATURE) for n, what in enumerate("KLMNOPQRST")),
]


@pytest.mark.parametrize(("title", "description", "label"), CLEAR_ISSUES)
def test_base_model_for_clear_issue_predicts_expected_type(title, description, label):
    base = load_base()
    prediction = base.predict(title, description)

    assert max(CLASSES, key=prediction.probabilities.__getitem__) is label
    assert prediction.label is (label if prediction.confidence >= base.threshold else None)
    assert prediction.confidence == max(prediction.probabilities.values()) == prediction.probabilities[label]
    assert sum(prediction.probabilities.values()) == pytest.approx(1)


def test_base_model_is_small_current_and_accurate():
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


def test_base_model_with_high_confidence_returns_label():
    prediction = load_base().predict("How do I reset my password?", "Is there a setting for it?")

    assert prediction.label is TypeTag.QUESTION


def test_base_model_for_empty_text_returns_no_label():
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


def test_delta_from_project_examples_changes_predictions_and_round_trips():
    base = load_base()
    delta = train_delta(base, PROJECT_EXAMPLES)

    assert train_delta(base, PROJECT_EXAMPLES).to_bytes() == delta.to_bytes()
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
def test_delta_from_one_type_keeps_other_predictions_plausible(examples):
    base = load_base()
    delta = train_delta(base, [LabelledIssue(f"Screen {n} is blank", "", TypeTag.BUG) for n in range(examples)])

    usual = base.predict("How do I reset my password?", "", delta).probabilities
    assert usual[TypeTag.BUG] > base.predict("How do I reset my password?", "").probabilities[TypeTag.BUG]
    assert all(0 < share < 1 for share in usual.values())
    if examples == 5:
        assert max(CLASSES, key=usual.__getitem__) is TypeTag.QUESTION


def test_delta_without_examples_or_with_other_base_raises_value_error():
    base = load_base()
    with pytest.raises(ValueError, match="without examples"):
        train_delta(base, [])

    other = TypeModel("another", base.encoder, np.zeros((4, base.encoder.width)))
    with pytest.raises(ValueError, match="belongs to base another"):
        base.predict("A title", "", train_delta(other, PROJECT_EXAMPLES))


def test_read_template_extracts_expected_feature_blocks():
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


def test_read_long_text_ignores_the_rest():
    beginning = "a b " * (READ_CHARACTERS // 4)

    assert read("Title", beginning + "zebra " * 100_000).blocks == read("Title", beginning).blocks


@pytest.mark.parametrize("piece", ["[", "<!--", " ", "*", "`", "#", "- a", "a: ", "'", "at ", "\n", "é", "\u2028"])
def test_prediction_for_repetitive_text_terminates(piece):
    prediction = load_base().predict(piece * 20_000, piece * 300_000)

    assert 0 < prediction.confidence <= 1


@settings(max_examples=60)
@given(st.text(max_size=200), st.text(max_size=2_000))
def test_prediction_for_any_text_is_deterministic_and_normalised(title, description):
    first, second = (load_base().predict(title, description) for _ in range(2))

    assert first == second
    assert sum(first.probabilities.values()) == pytest.approx(1)


def test_training_twice_produces_identical_bytes(tmp_path):
    for folder in ("types", "types_more"):
        (tmp_path / folder).mkdir()
        lines = [
            json.dumps({"repo": f"{folder}/{number % 3}", "title": title, "body": body, "label": label})
            for number in range(12)
            for title, body, label in CLEAR_ISSUES
        ]
        (tmp_path / folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")

    models = [train_types(tmp_path, tmp_path / f"{number}.safetensors") for number in range(2)]

    assert (tmp_path / "0.safetensors").read_bytes() == (tmp_path / "1.safetensors").read_bytes()
    assert models[0].version == models[1].version
    assert models[0].predict("How do I open the camera?", "").confidence == (
        load_base(tmp_path / "1.safetensors").predict("How do I open the camera?", "").confidence
    )
