"""Bound the shape of JSON before its validation, which builds an error for each unknown field.

A body of 1 MB can have 110,000 of them. Their validation and description stopped a process for 0.7 s.
"""

MEMBERS_MAX = 100
"""Members of one object, or items of one list. No endpoint accepts as many."""
VALUES_MAX = 1000
"""Values of one document."""


def explain_excess(document: object) -> str | None:
    """Return which limit the document exceeds, as a sentence, or None if it exceeds none.

    The document must have been parsed from JSON. Its parser limits the depth.
    """
    waiting, values = [document], 0
    while waiting:
        value = waiting.pop()
        if not isinstance(value, dict | list):
            continue
        if len(value) > MEMBERS_MAX:
            noun = "members in an object" if isinstance(value, dict) else "items in a list"
            return f"There are {len(value)} {noun}. Use at most {MEMBERS_MAX}."
        values += len(value)
        if values > VALUES_MAX:
            return f"There are more than {VALUES_MAX} values. Use fewer."
        waiting.extend(value.values() if isinstance(value, dict) else value)
    return None
