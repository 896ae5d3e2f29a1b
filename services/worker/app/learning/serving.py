"""Caches the active models of each project in a worker process."""

from collections import OrderedDict
from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Connection, Engine

from app.enrichment.local import LearnedModels
from app.learning import registry
from app.learning.learners import LEARNERS
from contracts.states import ModelKind

PROJECTS_MAX = 100
"""Maximum number of projects in the cache. A delta takes up to a few hundred KiB."""

logger = structlog.get_logger(__name__)


class ProjectModels:
    """Checks which models are active for each issue, and loads their parameters only after a change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._kept: OrderedDict[str, tuple[Mapping[ModelKind, UUID], LearnedModels]] = OrderedDict()

    def of(self, project: str) -> LearnedModels:
        """Return the project's active deltas. It has none if the base model is active."""
        with self._engine.connect() as connection:
            active = registry.active_ids(connection, project)
            kept = self._kept.get(project)
            if kept is None or kept[0] != active:
                kept = active, self._read(connection, active)
                self._kept[project] = kept
        self._kept.move_to_end(project)
        if len(self._kept) > PROJECTS_MAX:
            self._kept.popitem(last=False)
        return kept[1]

    def _read(self, connection: Connection, active: Mapping[ModelKind, UUID]) -> LearnedModels:
        deltas: dict[ModelKind, Any] = {}
        for kind, model_id in active.items():
            delta = self._delta(kind, registry.load(connection, model_id))
            if delta is not None:
                deltas[kind] = delta
        return LearnedModels(
            type=deltas.get(ModelKind.TYPE),
            areas=deltas.get(ModelKind.AREAS),
            models=tuple(str(active[kind]) for kind in sorted(deltas)),
        )

    def _delta(self, kind: ModelKind, stored: registry.StoredModel) -> Any:
        """Return the model's delta. If it is not usable, log that and return None: then the base model applies."""
        learner = LEARNERS[kind]()
        reason = None
        if sha256(stored.parameters).digest() != stored.sha256:
            reason = "the checksum does not match"
        elif stored.base_version != learner.base_version:
            reason = "the model was trained on another base version and must be retrained"
        if reason is not None:
            logger.warning("project_model_skipped", model=str(stored.id), kind=kind.value, reason=reason)
            return None
        return learner.read(stored.parameters)
