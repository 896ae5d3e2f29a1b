"""Does the next rows of an import: their issues, their jobs and how far it is, all in one commit."""

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
from api.imports.repository import Import, StagedRow, Tally
from api.imports.rows import InvalidRow, Record, RowProblem, read
from api.imports.upsert import ImportOptions, Key, upsert, upsert_key
from api.operations.schemas import RowError

BATCH = 200
"""Rows that are done at a time: some tens of milliseconds in which their issues are locked."""

logger = structlog.get_logger(__name__)


class BatchOutcome(Enum):
    """What came of the attempt to do a batch."""

    DONE = auto()
    IDLE = auto()
    """There is no import to do."""
    BUSY = auto()
    """Another process does one."""


@dataclass(slots=True)
class Batch:
    """What is to be done next: so many rows, or the one that nothing can be made of."""

    limit: int = BATCH
    poison_row: tuple[UUID, int] | None = None
    """An import and the number of its row that is to be counted as failed, without another attempt."""
    first: tuple[UUID, int] | None = None
    """The import and the number of the row that the attempt began with."""


async def run_batch(database: Database, batch: Batch, rerun_after_s: float) -> BatchOutcome:
    """Do the next rows of the import that has waited longest; if this raises, nothing of it was done."""
    async with database.transaction():
        if not await repository.lock_imports(database):
            return BatchOutcome.BUSY
        current = await repository.next_import(database)
        if current is None:
            return BatchOutcome.IDLE
        rows = await repository.next_rows(database, current, batch.limit)
        batch.first = (current.id, current.done + 1)
        set_principal(Principal(current.actor, frozenset(), current.actor_id))
        with bound_contextvars(request_id=current.request_id):
            reading = _fail_all(rows) if batch.first == batch.poison_row else await _read(database, current, rows)
            await _apply(
                database, current, reading, ImportOptions(current.is_dry_run, current.project, rerun_after_s)
            )
            if current.done + len(rows) >= current.total:
                logger.info("import_finished", operation_id=str(current.id), rows=current.total)
        return BatchOutcome.DONE


@dataclass(slots=True)
class _Reading:
    """What rows say: the issues by whom they are about, and what became of the other rows."""

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
        reading.fail(row, RowProblem("#", "unexpected_error", "An unexpected error, which has been logged"))
    return reading


async def _read(database: Database, current: Import, rows: Sequence[StagedRow]) -> _Reading:
    reading = _Reading(rows)
    for row in rows:
        _read_row(current, row, reading)
    for key, number in (await repository.earlier_rows(database, current.id, list(reading.records))).items():
        del reading.records[key]
        _fail_second(reading, reading.numbers.pop(key), number)
    reading.tally.errors.sort(key=lambda error: error.row)
    return reading


def _read_row(current: Import, row: StagedRow, reading: _Reading) -> None:
    if row.body is None:
        reading.fail(row, RowProblem("#", "unreadable", row.fault or ""))
        return
    try:
        record = read(current.format, row.body, current.source)
    except InvalidRow as error:
        reading.fail(row, *error.faults)
        return
    if record is None:
        reading.tally.skipped += 1
    elif (earlier := reading.numbers.get(key := upsert_key(record))) is not None:
        _fail_second(reading, row, earlier.number)
    else:
        reading.records[key], reading.numbers[key] = record, row


def _fail_second(reading: _Reading, row: StagedRow, earlier: int) -> None:
    """Fail the second of two rows about one issue: applied in turn, they would change it in each import."""
    reading.fail(row, RowProblem("#/external_id", "repeated", f"Row {earlier} is about the same issue"))


async def _apply(database: Database, current: Import, reading: _Reading, options: ImportOptions) -> None:
    tally = reading.tally
    if reading.records:
        told = await upsert(database, list(reading.records.values()), options)
        tally.created, tally.updated, tally.unchanged = told["created"], told["updated"], told["unchanged"]
        tally.skipped += told["skipped"]
    has_effect = not current.is_dry_run and bool(tally.created or tally.updated)
    if has_effect and not current.has_effect:
        await record_audit(database, "issues.imported", current.id, format=current.format, rows=current.total)
    keys = {row.number: key for key, row in reading.numbers.items()}
    cleared = [(row.number, *keys.get(row.number, (None, None))) for row in reading.rows]
    await repository.clear_rows(database, current.id, cleared)
    await repository.advance(database, current, tally, len(reading.rows))
