"""The `rewardsmith` command.

Exit codes: 0 done, 1 the job (or a check) failed, 2 the request was refused or this machine is not
set up for it, 3 no server answers, 130 interrupted; an interrupted job goes on, and the command says
how to look again.
"""

from __future__ import annotations

import os
from typing import Annotated

import typer
from typer.core import TyperGroup

from client import console
from client.commands import (
    best,
    cancel,
    catalogue,
    compare,
    db,
    demo,
    design,
    doctor,
    env,
    export,
    jobs,
    keys,
    people,
    serve,
    tidy,
    ui,
    worker,
)
from client.transport import KEY_VARIABLE, ApiProblem, Unreachable
from core.errors import RewardsmithError


class Guarded(TyperGroup):
    """Turns what can go wrong into a sentence and an exit code, in one place."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]  # typer's own context
        """Run the chosen command."""
        try:
            return super().invoke(ctx)
        except ApiProblem as error:
            console.refuse(_json(ctx), str(error), error.problem)
            raise typer.Exit(_code(error)) from error
        except Unreachable as error:
            console.refuse(_json(ctx), str(error))
            raise typer.Exit(console.UNREACHABLE) from error
        except RewardsmithError as error:
            console.refuse(_json(ctx), error.sentence())
            raise typer.Exit(console.USAGE) from error
        except KeyboardInterrupt as error:
            raise typer.Exit(console.INTERRUPTED) from error


def _json(context: typer.Context) -> bool:
    return bool(context.meta.get("json"))


def _code(error: ApiProblem) -> int:
    if error.status == 503:
        return console.UNREACHABLE
    return console.USAGE if 400 <= error.status < 500 else console.FAILED


EXIT_CODES = (
    "Exit codes: 0 done, 1 the job or a check failed, 2 the request was refused, 3 no server answers, "
    "130 interrupted (the job goes on)."
)

app = typer.Typer(
    name="rewardsmith",
    cls=Guarded,
    help="Design reward functions for reinforcement learning, and measure that they are better.",
    no_args_is_help=True,
    epilog=EXIT_CODES,
    pretty_exceptions_enable=False,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rewardsmith {version('rewardsmith')}")
        raise typer.Exit


@app.callback()
def rewardsmith(
    version: Annotated[
        bool,
        typer.Option("--version", help="Tell the version.", callback=_show_version, is_eager=True),
    ] = False,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            envvar=KEY_VARIABLE,
            show_envvar=True,
            help="Who asks, where a server wants it.",
        ),
    ] = None,
) -> None:
    """Design reward functions for reinforcement learning, and measure that they are better."""
    if key is not None:
        os.environ[KEY_VARIABLE] = key  # where every client of this process looks for it


app.command("demo")(demo.demo)
app.command("serve")(serve.serve)
app.command("ui")(ui.ui)
app.command("worker")(worker.worker)
app.command("design")(design.design)
app.add_typer(jobs.app, name="jobs")
app.command("cancel")(cancel.cancel)
app.command("best")(best.best)
for command in (
    people.feedback,
    people.give,
    people.extend,
    people.retry,
    people.fork,
    people.library,
):
    app.command(command.__name__)(command)
app.command("tasks")(catalogue.tasks)
app.command("methods")(catalogue.methods)
app.add_typer(env.app, name="env")
app.command("candidates")(compare.candidates)
app.command("compare")(compare.compare)
app.command("export")(export.export)
app.command("import")(export.take_in)
app.command("doctor")(doctor.doctor)
app.add_typer(db.app, name="db")
app.command("tidy")(tidy.tidy)
app.add_typer(keys.app, name="keys")
app.command("audit")(keys.audit)


def main() -> None:
    """Run the command; the entry point of the distribution."""
    console.write_what_can_be_shown()
    app()


if __name__ == "__main__":
    main()
