"""`issuetracker schedules list|set`."""

from typing import Annotated, Any

import typer

from contracts.names import ScheduleName
from issuetracker_cli.client import BAD_INPUT, call, fail
from issuetracker_cli.output import AsJson, format_time, print_json, print_line, print_table

app = typer.Typer(help="Show and set the times of periodic jobs. Requires the admin scope.", no_args_is_help=True)


@app.command("list")
def list_schedules(as_json: AsJson = False) -> None:
    """List the schedules with their last and next run, in UTC."""
    schedules = call("GET", "/schedules")["items"]
    if as_json:
        print_json(schedules)
        return
    print_table(
        ("NAME", "CRON", "TIME ZONE", "NEXT RUN", "LAST RUN", "LAST JOB"),
        [
            (
                *(schedule["name"], schedule["cron"], schedule["time_zone"], _next_run(schedule)),
                *(format_time(schedule["last_run_at"]), schedule["last_job_state"] or "-"),
            )
            for schedule in schedules
        ],
    )


@app.command("set")
def set_schedule(
    name: Annotated[str, typer.Argument(help="Name of the schedule.")],
    cron: Annotated[str | None, typer.Option(help="Cron expression with five fields.")] = None,
    time_zone: Annotated[str | None, typer.Option(help="IANA time zone of the expression.")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="Whether it runs.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change when a schedule runs. A missing option keeps its value."""
    given = {"cron": cron, "time_zone": time_zone, "enabled": enabled}
    changes = {option: value for option, value in given.items() if value is not None}
    if not changes:
        fail("Use at least one of --cron, --time-zone, --enable and --disable.", BAD_INPUT)
    schedules = {schedule["name"]: schedule for schedule in call("GET", "/schedules")["items"]}
    if name not in {*ScheduleName, *schedules}:
        fail(f'name: "{name}" is not valid. Use {" or ".join(sorted({*ScheduleName, *schedules}))}.', BAD_INPUT)
    current = schedules.get(name, {})  # a schedule without a row is created
    settings = {option: current[option] for option in given if option in current} | changes
    schedule = call("PUT", f"/schedules/{name}", json=settings)
    if as_json:
        print_json(schedule)
        return
    print_line(f"{name}: {schedule['cron']} in {schedule['time_zone']}, next run {_next_run(schedule)}")


def _next_run(schedule: dict[str, Any]) -> str:
    return format_time(schedule["next_run_at"]) if schedule["enabled"] else "disabled"
