"""`python -m devstack run|servers|shell|psql|redis-cli|backup|restore|reset`."""

import argparse
import os
import sys

from contracts.settings import load
from devstack import postgres, redis_cli, stack
from devstack.process import ProcessFailed
from devstack.settings import DevSettings
from devstack.shell import open_shell


def main() -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m devstack", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("run", help="start the servers and the services; stop them with Ctrl-C")
    commands.add_parser("servers", help="start PostgreSQL and Valkey, and migrate; stop them with Ctrl-C")
    commands.add_parser("shell", help="open a shell in which celery, uvicorn, psql and redis-cli work")
    psql = commands.add_parser("psql", help="open psql on the database")
    psql.add_argument("--command", dest="sql", help="run this SQL and exit")
    broker = commands.add_parser(
        "redis-cli", help="run a command on the broker, or the commands of standard input"
    )
    broker.add_argument("-n", dest="database", type=int, help="number of the database")
    broker.add_argument("words", nargs=argparse.REMAINDER, metavar="COMMAND")
    save = commands.add_parser("backup", help="dump the database to a file")
    restore = commands.add_parser("restore", help="restore a dump into the database, which must be empty")
    restore.add_argument("--replace", action="store_true", help="delete the database's current data first")
    for command in (save, restore):
        command.add_argument("file")
    commands.add_parser("reset", help="delete the local data")
    arguments = parser.parse_args()
    try:
        return run(load(DevSettings), arguments)
    except (ProcessFailed, OSError) as error:
        print(f"issuetracker: {error}", file=sys.stderr)
        return 2


def run(settings: DevSettings, arguments: argparse.Namespace) -> int:
    """Run the subcommand; return the exit code."""
    match arguments.command:
        case "shell":
            open_shell(settings)
        case "redis-cli":
            return redis_cli.run(settings.celery_broker_url, arguments.database, arguments.words)
        case "psql":
            extra = ["--command", arguments.sql] if arguments.sql else []
            os.execv(postgres.find_program("psql"), ["psql", settings.database_url, *extra])
        case "backup":
            postgres.run_backup(settings.database_url, "save", arguments.file)
        case "restore":
            options = ["--replace"] if arguments.replace else []
            postgres.run_backup(settings.database_url, "restore", arguments.file, *options)
        case "reset":
            stack.reset()
        case command:
            return stack.Stack(settings, with_services=command == "run").run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
