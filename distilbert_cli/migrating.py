"""The command `migrate`."""

from __future__ import annotations

import click

from distilbert_cli.options import PATH, command
from distilbert_core.libraries import require_library


@command("migrate", "distilbert migrate ./project", "distilbert migrate ./project --write")
@click.argument("path", type=PATH)
@click.option("--write", is_flag=True, help="Change the files, after the differences are shown.")
def migrate(path, write):
    """Rewrite programs for Transformers 4.

    Rewrites imports and calls of Transformers' DistilBERT in the Python files and notebooks at PATH, a file or a
    folder, to this package, and prints the differences. On standard error it lists with file and line what it left,
    and why. Nothing is changed without --write. See docs/migrating.md.
    """
    require_library("libcst", "LibCST", "migrate", "migrate")
    from distilbert_cli.migration import migrate as migrations_of

    changed, left = 0, 0
    for migration in migrations_of(path):
        click.echo(migration.diff, nl=False)
        for place in migration.left:
            click.echo(f"{place.path}:{place.line}: {place.name} {place.reason}".replace("  ", " "), err=True)
        left += len(migration.left)
        if migration.diff:
            changed += 1
            if write:
                migration.write()
    done = "changed" if write else "to change; give --write to change them"
    click.echo(f"{left} place(s) left, {changed} file(s) {done}.", err=True)
