"""Generates short plain issues for training from patterns, because public trackers have few of them.

They are used for training only. `fixtures/short_issues.jsonl`, which is used for evaluation, was written before
and independently.
"""

from evaluation.issues import Row

REPOSITORY = "plain"

_THINGS = (
    "the calendar", "the upload form", "the settings page", "the price list", "the map view", "the backup job",
    "the mail template",
    "the profile picture", "the comment box", "the filter", "the CSV import", "the shopping cart",
)  # fmt: skip
_ACTS = (
    "save a draft", "delete a folder", "sort the table", "invite a colleague", "rename a project", "print a label",
    "switch the language", "attach a file", "restore a backup", "merge two contacts",
    "change my address", "undo a step",
)  # fmt: skip
_DOCUMENTS = ("the README", "the user guide", "the API reference", "the documentation", "the tutorial", "the FAQ")

_PATTERNS: dict[str, tuple[str, ...]] = {
    "bug": (
        "{Thing} does not work", "{Thing} is broken since the last update", "The app crashes when I {act}",
        "Crash on startup", "Error 500 when I try to {act}", "{Thing} shows the wrong date", "Cannot {act}",
        "Nothing happens when I {act}", "{Thing} freezes", "{Thing} is not working in Firefox",
        "{Thing} loses my changes", "Unable to {act} any more", "{Thing} fails with an error",
    ),
    "feature": (
        "Allow users to {act}", "Add an option to hide {thing}", "It would be nice to be able to {act}",
        "Make {thing} configurable", "Please add a way to {act}", "Support keyboard shortcuts in {thing}",
        "Feature request: {act} from the command line", "Let administrators {act}", "Add a preview to {thing}",
        "Remember the last choice in {thing}", "Improve {thing} on small screens",
    ),
    "question": (
        "How can I {act}?", "Is it possible to {act} from a script?", "Where do I find {thing}?",
        "What is {thing} for?", "Why is there a limit in {thing}?", "Do I need a licence to {act}?",
        "Can somebody tell me how to {act}?", "Which role may {act}?", "Question about {thing}",
        "Who can {act}?",
    ),
    "documentation": (
        "{Document} is out of date", "Explain {thing} in {document}", "Wrong command in {document}",
        "{Document} does not say how to {act}", "Spelling mistake in {document}", "Missing example in {document}",
        "Docs: describe how to {act}", "Dead link in {document}", "{Document} still names the old setting",
    ),
}  # fmt: skip


def synthetic_issues() -> list[Row]:
    """Return the issues: about the same number for each type, and always the same issues."""
    rows = []
    for label, patterns in _PATTERNS.items():
        for index, (thing, act) in enumerate(zip(_THINGS, _ACTS, strict=True)):
            document = _DOCUMENTS[index % len(_DOCUMENTS)]
            rows += [
                {
                    "repo": REPOSITORY,
                    "title": pattern.format(
                        thing=thing, Thing=_upper(thing), act=act, document=document, Document=_upper(document)
                    ),
                    "body": "",
                    "label": label,
                }
                for pattern in patterns
            ]
    return rows


def _upper(text: str) -> str:
    return text[0].upper() + text[1:]
