"""Caches the active models of each project in a worker process."""

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
"""Maximum number of projects in the cache. A delta takes up to a few hundred KiB."""

logger = structlog.get_logger(__name__)


class ProjectModels:
    """Checks which models are active for each issue, and loads their parameters only after a change."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._cache = LRUCache[str, tuple[Mapping[ModelKind, UUID], LearnedModels]](PROJECTS_MAX)

    def of(self, project: str) -> LearnedModels:
        """Return the project's active deltas. It has none if the base model is active."""
        with self._engine.connect() as connection:
            active = registry.find_active_ids(connection, project)
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
        """Return the model's delta. If it is not usable, log that and return None: then the base model applies."""
        learner = LEARNERS[kind]()
        if sha256(stored.parameters).digest() != stored.sha256:
            reason = "the checksum does not match"
        elif stored.base_version != learner.base_version:
            reason = "the model was trained on another base version and must be retrained"
        else:
            try:
                return learner.read(stored.parameters)
            except ArtefactError as error:
                reason = str(error)
        logger.warning("project_model_skipped", model=str(stored.id), kind=kind.value, reason=reason)
        return None
