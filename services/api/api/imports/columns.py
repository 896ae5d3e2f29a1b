"""Assign the columns of a sheet to the fields of an issue: as requested, by a known export, or by common names."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from api.imports.exports import ALIASES, FIELDS, Export, find_export, fold
from api.problems import ProblemError
from contracts.validation import format_value

REQUIRED = ("title", "external_id")
COLUMNS_MAX = 1000
_SAMPLES = 3
_SAMPLE_CHARACTERS = 80


@dataclass(frozen=True, slots=True)
class Columns:
    """The fields of the columns, in the order of the file; None for a column that is not imported."""

    names: Sequence[str]
    fields: Sequence[str | None]
    export: str | None


def count_known(header: Sequence[str]) -> int:
    """Return how many names of a header are known."""
    return sum(_field(name) is not None for name in map(fold, header)) + 10 * (_find_export(header) is not None)


def assign_columns(
    header: Sequence[str],
    mapping: Mapping[str, str],
    fault: str | None = None,
    samples: Sequence[Sequence[str]] = (),
) -> Columns:
    """Return the fields of the columns. `mapping` has fields by column; an empty field ignores the column.

    Raise a 422 error that lists all columns that are unknown, repeated or missing. Its member `columns` has each
    column with its field and some values of `samples`, which are rows of the file. `fault` is the header's.
    """
    if fault is not None:
        raise ProblemError(422, f"header: {fault}", {})
    if len(header) > COLUMNS_MAX:
        detail = f"header: The header has {len(header)} columns. Use at most {COLUMNS_MAX}."
        raise ProblemError(422, detail, {})
    names = [name.strip() for name in header]
    assignment = _Assignment(names, {fold(name): value for name, value in mapping.items()})
    problems = assignment.run()
    folded = set(map(fold, names))
    problems += [
        f"map: {format_value(name)} is not a column of the file." for name in mapping if fold(name) not in folded
    ]
    if problems:
        columns = [
            {"name": name, "field": found, "samples": _samples(number, samples)}
            for number, (name, found) in enumerate(zip(names, assignment.fields, strict=True))
            if name
        ]
        raise ProblemError(422, f"header: {' '.join(problems)}", {"columns": columns})
    return Columns(names, assignment.fields, assignment.export.name if assignment.export else None)


@dataclass(slots=True)
class _Assignment:
    names: Sequence[str]
    mapping: Mapping[str, str]
    export: Export | None = None
    fields: list[str | None] = field(default_factory=list)

    def run(self) -> list[str]:
        folded = [fold(name) for name in self.names]
        self.export = find_export(frozenset(folded))
        exact = {name for name in folded if name not in self.mapping and _own(name)}
        taken = {_own(name) for name in exact} | {value for value in self.mapping.values() if value}
        unknown: list[str] = []
        for name, shown in zip(folded, self.names, strict=True):
            found, is_known = self._assign(name, taken)
            self.fields.append(found)
            if not is_known and name:
                unknown.append(format_value(shown))
        problems = []
        if unknown := list(dict.fromkeys(unknown)):
            listed = ", ".join(unknown)
            problems.append(
                f"{'The column' if len(unknown) == 1 else 'The columns'} {listed} "
                f"{'is not a column' if len(unknown) == 1 else 'are not columns'} of an issue. "
                f"Map each one with map=COLUMN=FIELD, or ignore it with map=COLUMN=. Fields: {', '.join(FIELDS)}."
            )
        problems += self._find_repeated()
        missing = [name for name in REQUIRED if name not in self.fields]
        problems += [
            f"There is no column for {name}. Add it, or map one with map=COLUMN={name}." for name in missing
        ]
        return problems

    def _assign(self, name: str, taken: set[str | None]) -> tuple[str | None, bool]:
        """Return the field of a column, and whether the column is known."""
        if name in self.mapping:
            return self.mapping[name] or None, True
        if self.export is not None:
            return self.export.fields.get(name), True
        if (own := _own(name)) is not None:
            return own, True
        alias = ALIASES.get(name)
        if alias is None or alias in taken:
            return None, False
        taken.add(alias)
        return alias, True

    def _find_repeated(self) -> list[str]:
        if self.export is not None:
            return []
        used = [found for found in self.fields if found]
        repeated = [name for name in dict.fromkeys(used) if used.count(name) > 1]
        return [f"Several columns are {name}. Use each field once." for name in repeated]


def _own(name: str) -> str | None:
    """Return the field that a column is named like."""
    own = name.replace(" ", "_")
    return own if own in FIELDS else None


def _field(name: str) -> str | None:
    return _own(name) or ALIASES.get(name)


def _find_export(header: Sequence[str]) -> Export | None:
    return find_export(frozenset(map(fold, header)))


def _samples(number: int, rows: Sequence[Sequence[str]]) -> list[str]:
    values = (row[number] for row in rows if number < len(row))
    return [value[:_SAMPLE_CHARACTERS] for value in values if value.strip()][:_SAMPLES]
