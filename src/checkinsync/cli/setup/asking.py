"""Questions on a terminal, each with its usual answer; unattended, that is the answer."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import click

T = TypeVar("T")

WIDTH = 79


@dataclass(frozen=True, slots=True)
class Asking:
    """Asks on the terminal, if there is somebody to ask."""

    attended: bool

    def tell(self, text: str) -> None:
        """Say something to the person who is there."""
        if self.attended:
            click.echo(f"\n{textwrap.fill(text, WIDTH, break_on_hyphens=False)}", err=True)

    def choose(
        self, question: str, answers: Mapping[str, str], *, given: str | None, usual: str
    ) -> str:
        """Return one of the answers, each of which is explained; `given`: by an option."""
        if given is not None or not self.attended:
            return given or usual
        click.echo(f"\n{question}", err=True)
        for word, meaning in answers.items():
            click.echo(f"  {word:<12} {meaning}", err=True)
        choice = click.Choice([*answers])
        return str(click.prompt("Answer", type=choice, default=usual, show_choices=False, err=True))

    def secret(self, what: str, parse: Callable[[str], T]) -> T:
        """Return what is typed or pasted, unseen; asks again until it can be used."""
        while True:
            try:
                return parse(str(click.prompt(f"{what} (not shown)", hide_input=True, err=True)))
            except ValueError as problem:
                click.echo(f"That can't be used: {problem}", err=True)

    def confirm(self, question: str, *, given: bool | None, usual: bool) -> bool:
        """Return yes or no; unattended, no unless an option says yes."""
        if given is not None or not self.attended:
            return bool(given)
        click.echo("", err=True)
        return click.confirm(question, default=usual, err=True)
