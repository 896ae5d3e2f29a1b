"""`issuetracker model status|train|rollback`."""

from typing import Annotated, Any

import typer

from contracts.states import ModelKind
from issuetracker_cli.client import call
from issuetracker_cli.output import AsJson, print_json

app = typer.Typer(help="What is learned from the tags that people confirm.", no_args_is_help=True)

Project = Annotated[str, typer.Option(help="The issues' project.")]


@app.command()
def status(project: Project = "default", as_json: AsJson = False) -> None:
    """Print a project's models, the newest first, and how they did on issues that they had not seen."""
    _print(call("GET", "/models", params={"project": project}), as_json)


@app.command()
def train(project: Project = "default", as_json: AsJson = False) -> None:
    """Start learning from the confirmed tags; what does better than before becomes active."""
    _print(call("POST", "/models/train", json={"project": project}), as_json)


@app.command()
def rollback(
    project: Project = "default",
    kind: Annotated[ModelKind, typer.Option(help="Which of its models.")] = ModelKind.TYPE,
    as_json: AsJson = False,
) -> None:
    """Return to the model that was active before, or to the one that the worker ships."""
    _print(call("POST", "/models/rollback", json={"project": project, "kind": kind.value}), as_json)


def _print(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    training = found["training"]
    typer.echo(
        f"project {found['project']}: {found['confirmed_issues']} confirmed issues; training: "
        + ("none yet" if training is None else " ".join(filter(None, (training["status"], training["error"]))))
    )
    for model in found["models"]:
        mark = "active" if model["is_active"] else "kept"
        candidate, before = (_figures(model["metrics"][which]) for which in ("candidate", "active"))
        typer.echo(
            f"{model['id']}  {model['created_at'][:19]}  {model['kind']:5}  {mark:6}  "
            f"{model['examples']} examples  {candidate}; before it {before}"
        )
    for kind in ModelKind:
        if not any(model["is_active"] and model["kind"] == kind for model in found["models"]):
            typer.echo(f"{kind.value}: the shipped model answers")


def _figures(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())
