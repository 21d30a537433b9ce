"""``paysession new-provider NAME``: a complete package for a new provider, from a copier template."""

from __future__ import annotations

import re
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click

from paysession import ConfigurationError, InvalidData
from paysession_cli.app import App, common, pass_app
from paysession_cli.terminal import visible

__all__ = ["new_provider"]

TEMPLATE: Final = Path(__file__).with_name("template")
_NAME: Final = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_MOST: Final = 20


@click.command("new-provider")
@click.argument("name")
@click.option("--title", help="The gateway's name as people write it. [default: from NAME]")
@click.option("--author", default="The authors", show_default=True, help="Who holds the copyright.")
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="FOLDER", help="[default: paysession-NAME, beside you]"
)
@common
@pass_app
def new_provider(app: App, name: str, title: str | None, author: str, to: Path | None) -> None:
    """Make the package of a new provider: hooks, gateway, typed data, tests with the contract kit.

    NAME is what sessions are initiated under, such as acme: small letters, digits and hyphens.
    """
    if not _NAME.fullmatch(name) or len(name) > _MOST:
        raise InvalidData(
            f"a provider's name is 1 to {_MOST} small letters, digits and hyphens, such as acme or acme-pay; "
            f"not {name!r:.60}"
        )
    if title is not None and not 0 < len(title) <= _MOST:
        raise InvalidData(f"a title is a text of 1 to {_MOST} characters, not {title!r:.60}")
    if find_spec("copier") is None:
        raise ConfigurationError("the template is made by copier: pip install 'paysession-cli[new]'")
    folder = to or Path(f"paysession-{name}")
    if folder.exists() and any(folder.iterdir()):
        raise ConfigurationError(f"{folder} is there already, and not empty; say another with --to")
    made = sorted(str(path.relative_to(folder)) for path in _copy(folder, name, title, author))
    app.answer(
        {"folder": str(folder), "files": made},
        lambda: click.echo(
            f"{visible(str(folder))}: {len(made)} files\n\n"
            f"  cd {visible(str(folder))}\n"
            "  python -m venv .venv && .venv/bin/pip install -e '.[testing]'\n"
            "  .venv/bin/pytest\n\n"
            f"The tests say what to write next, beginning with the fake in src/{_module(name)}/contract.py."
        ),
    )


def _copy(folder: Path, name: str, title: str | None, author: str) -> list[Path]:
    import copier  # noqa: PLC0415 - a third of a second, and only this command needs it

    major, minor = version("paysession").split(".")[:2]
    answers = {
        "name": name,
        "module": _module(name),
        "author": author,
        "api_version": f"{major}.{minor}",
        "next_api_version": f"{major}.{int(minor) + 1}",
        **({"title": title} if title else {}),
    }
    copier.run_copy(str(TEMPLATE), folder, data=answers, defaults=True, quiet=True)
    return [path for path in folder.rglob("*") if path.is_file()]


def _module(name: str) -> str:
    return f"paysession_{name.replace('-', '_')}"
