"""Sentences about settings that are not valid."""

from pydantic_core import ErrorDetails

_RULES = {
    "int_parsing": "It must be a whole number.",
    "int_from_float": "It must be a whole number.",
    "float_parsing": "It must be a number.",
    "bool_parsing": "It must be true or false.",
    "literal_error": "Use {expected}.",
    "greater_than": "It must be greater than {gt:g}.",
    "greater_than_equal": "It must be at least {ge:g}.",
    "less_than": "It must be less than {lt:g}.",
    "less_than_equal": "It must be at most {le:g}.",
}
"""The rule of each Pydantic error type whose value cannot be a secret. Messages quote only these values."""


def describe_fault(fault: ErrorDetails) -> str:
    """Return a sentence that names the setting, the rule, and the value unless it may be a secret."""
    name = ".".join(str(part) for part in fault["loc"]).upper()
    if fault["type"] in _RULES:
        rule = _RULES[fault["type"]].format_map(fault.get("ctx", {})).replace("'", "")
        return f'{name}: "{fault["input"]}" is not valid. {rule}'
    reason = fault["msg"].removeprefix("Value error, ").removesuffix(".")
    return f"{name}: {reason}." if name else f"{reason}."
