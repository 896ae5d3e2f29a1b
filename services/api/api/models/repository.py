"""Projects' models in the database."""

from api.access.principal import current_principal
from api.database import Database
from api.models.schemas import ModelStatus, ProjectModel, Training
from contracts.ids import new_id
from contracts.names import Task
from contracts.states import ModelKind

_CONFIRMED = (
    "SELECT count(*) FROM issue WHERE project = $1 AND tags_confirmed_at IS NOT NULL AND deleted_at IS NULL"
)
_TRAINING = """
SELECT id AS job_id, state AS status, last_error AS error FROM job
WHERE task = $1 AND message->>'project' = $2 ORDER BY id DESC LIMIT 1
"""
_MODELS = """
SELECT model.id, model.kind, base_version, examples, metrics, created_at,
    model.id IS NOT DISTINCT FROM active.model_id AS is_active
FROM project_model model LEFT JOIN active_model active USING (project, kind)
WHERE project = $1 ORDER BY model.id DESC LIMIT 100
"""
_ROLL_BACK = """
WITH before AS (
    SELECT kind, model_id FROM active_model
    WHERE project = $1 AND kind = $2 AND model_id IS NOT NULL
    FOR UPDATE
), moved AS (
    UPDATE active_model SET updated_at = now(),
        model_id = (SELECT replaced FROM project_model WHERE id = before.model_id)
    FROM before WHERE active_model.project = $1 AND active_model.kind = before.kind
    RETURNING before.model_id AS from_id, active_model.model_id AS to_id
), audit AS (
    INSERT INTO audit_log (id, actor, actor_id, action, subject, detail)
    SELECT $3, $4, $5, 'project_model.rolled_back', $1,
        jsonb_build_object('kind', $2::text, 'from', from_id, 'to', to_id)
    FROM moved
)
SELECT from_id FROM moved
"""


async def get_status(database: Database, project: str) -> ModelStatus:
    """Return the project's models and newest training; an unknown project has none."""
    training = await database.fetchrow(_TRAINING, Task.RETRAIN, project)
    return ModelStatus(
        project=project,
        confirmed_issues=await database.fetchval(_CONFIRMED, project),
        training=None if training is None else Training(**training),
        models=[ProjectModel(**row) for row in await database.fetch(_MODELS, project)],
    )


async def roll_back(database: Database, project: str, kind: ModelKind) -> bool:
    """Activate the model before the active one, or the base model; return False if none is active."""
    actor = current_principal()
    rolled_back = await database.fetchval(_ROLL_BACK, project, kind, new_id(), actor.name, actor.token_id)
    return rolled_back is not None
