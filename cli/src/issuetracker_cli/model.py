"""`issuetracker model status|train|rollback`."""

from typing import Annotated, Any

import typer

from contracts.states import ModelKind
from issuetracker_cli.client import call
from issuetracker_cli.output import AsJson, print_json, print_line

app = typer.Typer(help="Train and roll back the models of a project.", no_args_is_help=True)

Project = Annotated[str, typer.Option(help="Project of the models.")]


@app.command()
def status(project: Project = "default", as_json: AsJson = False) -> None:
    """List a project's models, newest first, with their metrics on held-out issues."""
    _print(call("GET", "/models", params={"project": project}), as_json)


@app.command()
def train(project: Project = "default", as_json: AsJson = False) -> None:
    """Train models on the confirmed tags. A model becomes active if it beats the active one."""
    _print(call("POST", "/models/train", json={"project": project}), as_json)


@app.command()
def rollback(
    project: Project = "default",
    kind: Annotated[ModelKind, typer.Option(help="Kind of model.")] = ModelKind.TYPE,
    as_json: AsJson = False,
) -> None:
    """Activate the previous model, or the model that ships with the worker."""
    _print(call("POST", "/models/rollback", json={"project": project, "kind": kind.value}), as_json)


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    if "training" not in found:  # without the scope issues:read
        print_line(f"project: {found['project']}")
        return
    training = found["training"]
    print_line(
        f"project: {found['project']}; confirmed issues: {found['confirmed_issues']}; training: "
        + ("none yet" if training is None else " ".join(filter(None, (training["status"], training["error"]))))
    )
    for model in found["models"]:
        mark = "active" if model["is_active"] else "stored"
        candidate, before = (_figures(model["metrics"][which]) for which in ("candidate", "active"))
        print_line(
            f"{model['id']}  {model['created_at'][:19]}  {model['kind']:5}  {mark:6}  "
            f"{model['examples']} examples  {candidate}; previous: {before}"
        )
    for kind in ModelKind:
        if not any(model["is_active"] and model["kind"] == kind for model in found["models"]):
            print_line(f"{kind.value}: the shipped model is active")


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())
