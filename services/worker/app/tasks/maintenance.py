"""Maintenance tasks, on queue `default`."""

from datetime import timedelta
from hashlib import sha256
from time import monotonic

import structlog
from sqlalchemy import Connection
from sqlalchemy.orm import Session

from app import pruning
from app.celery_app import app
from app.database.config import SyncSessionLocal, engine
from app.erasure.run import erase
from app.learning import registry
from app.learning.examples import ConfirmedIssue, load_confirmed_issues
from app.learning.learners import LEARNERS, ProjectLearner
from app.learning.validation import compare
from app.ledger.errors import SkipJob
from app.ledger.store import Effect
from app.ledger.task import LedgerTask
from app.settings import settings
from contracts import names
from contracts.ids import new_id
from contracts.messages import Prune, Retrain
from contracts.tables import ProjectModel

EXAMPLES_MIN = 10
"""The minimum number of confirmed issues for a training. With fewer, the validation set would be too small."""
TRAIN_SOFT_LIMIT_S = 600
TRAIN_LIMIT_S = 660
PRUNE_SHARE = 0.5
"""The share of the soft time limit that a pruning may use. Another job prunes the rest, so that others can run."""

logger = structlog.get_logger(__name__)


@app.task(
    name=names.Task.RETRAIN.value,
    base=LedgerTask,
    bind=True,
    soft_time_limit=TRAIN_SOFT_LIMIT_S,
    time_limit=TRAIN_LIMIT_S,
)
def retrain(self: LedgerTask, message: Retrain) -> Effect:
    """Train a project's models on its confirmed tags; activate those that score better than the active ones."""
    with SyncSessionLocal() as session:
        examples = load_confirmed_issues(session, message.project)
        active = {
            kind: registry.load(session.connection(), model_id)
            for kind, model_id in registry.find_active_ids(session.connection(), message.project).items()
        }
    learned = [
        (model, is_better)
        for kind, learner in LEARNERS.items()
        for model, is_better in _learn(learner(), message.project, examples, active.get(kind))
    ]
    if not learned:
        raise SkipJob(f"fewer than {EXAMPLES_MIN} confirmed issues can be used for training")

    def write(connection: Connection) -> None:
        with Session(connection) as session, session.begin():
            for model, is_better in learned:
                registry.add(session, model, activate=is_better, actor=self.request.hostname or "worker")

    return write


@app.task(name=names.Task.PRUNE.value, base=LedgerTask)
def prune(message: Prune) -> Effect:
    """Erase issues, then delete old history; if time runs out, leave the rest to another job."""
    until = monotonic() + PRUNE_SHARE * settings.task_soft_time_limit
    kept, deleted = timedelta(days=settings.history_days), timedelta(days=settings.deleted_days)
    try:
        is_erased = erase(engine, deleted, until)
    finally:
        # Also if an erasure fails. Without time left, it deletes nothing.
        is_pruned = pruning.prune(engine, kept, until)

    def write(connection: Connection) -> None:
        if not (is_erased and is_pruned):
            pruning.enqueue_rest(connection, message)

    return write


def _learn(
    learner: ProjectLearner, project: str, examples: list[ConfirmedIssue], active: registry.StoredModel | None
) -> list[tuple[ProjectModel, bool]]:
    """Return the trained model and whether it is better; return an empty list if there are too few examples."""
    usable = learner.select_usable(examples)
    if len(usable) < EXAMPLES_MIN:
        return []
    known = None
    if active is not None and active.base_version == learner.base_version:
        known = [example for example in usable if example.confirmed_at <= active.created_at]
    comparison = compare(learner, usable, known)
    parameters: bytes = learner.train(usable).to_bytes()
    model = ProjectModel(
        id=new_id(),
        project=project,
        kind=learner.kind.value,
        base_version=learner.base_version,
        parameters=parameters,
        sha256=sha256(parameters).digest(),
        examples=len(usable),
        metrics={"candidate": comparison.candidate, "active": comparison.active},
    )
    logger.info("model_trained", kind=learner.kind.value, better=comparison.is_better, **model.metrics)
    return [(model, comparison.is_better)]
