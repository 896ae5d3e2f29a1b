"""Process the next rows of an import: their issues, their jobs and the progress, in one commit."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum, auto
from uuid import UUID

import structlog
from structlog.contextvars import bound_contextvars

from api.access.principal import Principal, set_principal
from api.audit_trail import record as record_audit
from api.database import Database
from api.imports import repository
from api.imports.dates import DateOrder
from api.imports.reading import read_row
from api.imports.repository import Import, StagedRow, Tally
from api.imports.rows import InvalidRow, Record, RowProblem, RowRules
from api.imports.upsert import ImportOptions, Key, upsert, upsert_key
from api.operations.schemas import RowError
from contracts.states import ImportFormat

BATCH = 200
"""Rows in one batch, which locks their issues for some tens of milliseconds."""

logger = structlog.get_logger(__name__)


class BatchOutcome(Enum):
    """Outcome of an attempt to process a batch."""

    DONE = auto()
    IDLE = auto()
    """No import is unfinished."""
    BUSY = auto()
    """Another process is importing."""


@dataclass(slots=True)
class Batch:
    """The rows to process next: up to `limit` rows, or a single row that always fails."""

    limit: int = BATCH
    failing_row: tuple[UUID, int] | None = None
    """The import and number of a row to count as failed without another attempt."""
    first: tuple[UUID, int] | None = None
    """The import and number of the first row of the attempt."""


async def run_batch(database: Database, batch: Batch, rerun_after_s: float) -> BatchOutcome:
    """Process the next rows of the import that has waited longest. After an exception, nothing is stored."""
    async with database.transaction():
        if not await repository.lock_imports(database):
            return BatchOutcome.BUSY
        current = await repository.find_next_import(database)
        if current is None:
            return BatchOutcome.IDLE
        rows = await repository.fetch_next_rows(database, current, batch.limit)
        batch.first = (current.id, current.done + 1)
        set_principal(Principal(current.actor, frozenset(), current.actor_id))
        with bound_contextvars(request_id=current.request_id):
            reading = _fail_all(rows) if batch.first == batch.failing_row else await _read(database, current, rows)
            await _apply(
                database, current, reading, ImportOptions(current.is_dry_run, current.project, rerun_after_s)
            )
            if current.done + len(rows) >= current.total:
                logger.info("import_finished", operation_id=str(current.id), rows=current.total)
        return BatchOutcome.DONE


@dataclass(slots=True)
class _Reading:
    """Parsed rows: records by key, and the counts of the other rows."""

    rows: Sequence[StagedRow]
    records: dict[Key, Record] = field(default_factory=dict)
    numbers: dict[Key, StagedRow] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def fail(self, row: StagedRow, *faults: RowProblem) -> None:
        self.tally.failed += 1
        self.tally.errors += [RowError(row=row.number, line=row.line, **asdict(fault)) for fault in faults]


def _fail_all(rows: Sequence[StagedRow]) -> _Reading:
    reading = _Reading(rows)
    for row in rows:
        reading.fail(
            row, RowProblem("#", "unexpected_error", "An unexpected error occurred. It is in the API's log.")
        )
    return reading


async def _read(database: Database, current: Import, rows: Sequence[StagedRow]) -> _Reading:
    reading, rules = _Reading(rows), _rules(current)
    for row in rows:
        _read_row(rules, row, reading)
    for key, number in (await repository.find_earlier_rows(database, current.id, list(reading.records))).items():
        del reading.records[key]
        _fail_duplicate(reading, reading.numbers.pop(key), number)
    reading.tally.errors.sort(key=lambda error: error.row)
    return reading


def _rules(current: Import) -> RowRules:
    mapping = current.mapping or {}
    order = mapping.get("date_order")
    is_sheet = current.format in {ImportFormat.CSV, ImportFormat.XLSX}
    return RowRules(
        source=current.source,
        export=current.export,
        columns={} if is_sheet else mapping.get("columns", {}),
        values=mapping.get("values", {}),
        date_order=DateOrder(order) if order else None,
    )


def _read_row(rules: RowRules, row: StagedRow, reading: _Reading) -> None:
    if row.body is None:
        reading.fail(row, RowProblem("#", "unreadable", row.fault or ""))
        return
    try:
        record = read_row(row.body, rules)
    except InvalidRow as error:
        reading.fail(row, *error.faults)
        return
    if record is None:
        reading.tally.skipped += 1
    elif (earlier := reading.numbers.get(key := upsert_key(record))) is not None:
        _fail_duplicate(reading, row, earlier.number)
    else:
        reading.records[key], reading.numbers[key] = record, row


def _fail_duplicate(reading: _Reading, row: StagedRow, earlier: int) -> None:
    """Fail the second of two rows for one issue. Applying both would change the issue in every import."""
    detail = f"Row {earlier} has the same source and external id."
    reading.fail(row, RowProblem("#/external_id", "repeated", detail))


async def _apply(database: Database, current: Import, reading: _Reading, options: ImportOptions) -> None:
    tally = reading.tally
    if reading.records:
        counts = await upsert(database, list(reading.records.values()), options)
        tally.created, tally.updated, tally.unchanged = counts["created"], counts["updated"], counts["unchanged"]
        tally.skipped += counts["skipped"]
    has_effect = not current.is_dry_run and bool(tally.created or tally.updated)
    if has_effect and not current.has_effect:
        await record_audit(database, "issues.imported", current.id, format=current.format, rows=current.total)
    keys = {row.number: key for key, row in reading.numbers.items()}
    cleared = [(row.number, *keys.get(row.number, (None, None))) for row in reading.rows]
    await repository.clear_rows(database, current.id, cleared)
    await repository.advance(database, current, tally, len(reading.rows))
