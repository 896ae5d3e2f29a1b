"""The active models of each project, as one worker process keeps them at hand."""

from collections.abc import Mapping
from hashlib import sha256
from typing import Any
from uuid import UUID

import structlog
from cachetools import LRUCache
from sqlalchemy import Connection, Engine

from app.enrichment.classification.artefact import ArtefactError
from app.enrichment.local import LearnedModels
from app.learning import registry
from app.learning.learners import LEARNERS
from contracts.states import ModelKind

PROJECTS_MAX = 100
"""Projects whose models a process keeps; a delta takes up to a few hundred KiB."""

logger = structlog.get_logger(__name__)


class ProjectModels:
    """Looks up which models are active for each issue, and reads their parameters only when that has changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cache = LRUCache[str, tuple[Mapping[ModelKind, UUID], LearnedModels]](PROJECTS_MAX)

    def of(self, project: str) -> LearnedModels:
        """Return what was learned of the project; nothing where the shipped base is to answer."""
        with self._engine.connect() as connection:
            active = registry.active_ids(connection, project)
            cached = self._cache.get(project)
            if cached is None or cached[0] != active:
                cached = self._cache[project] = active, self._read(connection, active)
        return cached[1]

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
        """Return the model's delta. If it cannot be used, log why and return None: the base answers."""
        learner = LEARNERS[kind]()
        if sha256(stored.parameters).digest() != stored.sha256:
            reason = "its checksum is wrong"
        elif stored.base_version != learner.base_version:
            reason = "it was trained on another base: train it again"
        else:
            try:
                return learner.read(stored.parameters)
            except ArtefactError as error:
                reason = str(error)
        logger.warning("project_model_skipped", model=str(stored.id), kind=kind.value, reason=reason)
        return None
