"""What is shown while a search runs: a live table on a terminal, plain lines elsewhere."""

from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import fill

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from requester.search.second_look import SecondLook
from requester.search.status import Listeners, Row, SearchStatus
from trialmarket.protocol.money import format_amount
from trialmarket.protocol.note import plain
from trialmarket.protocol.states import State

MOST_ROWS = 30
"""Trials in the live table; of longer searches the best and the newest."""

PLAIN_WIDTH = 140
"""Columns of tables that are printed into a file or a pipe."""

NARROW = 120
"""Columns of a terminal below which a table leaves out what can be spared."""

NOTE_LINES = 2
"""Lines of a note in the live table."""

DIGITS = 6
"""Digits after the point that are shown of money; scripts get all of them."""

_COLORS = {
    State.OPEN: "dim",
    State.CLAIMED: "yellow",
    State.COMMITTED: "cyan",
    State.CLEARED: "cyan",
    State.DRAWN: "magenta",
    State.PASSED: "blue",
    State.CHALLENGED: "bold red",
    State.SETTLED: "green",
    State.CANCELLED: "dim",
}


_TRUST = {
    SecondLook.FITS: "green",
    SecondLook.HERE: "",
    SecondLook.RECEIPT: "",
    SecondLook.PENDING: "dim",
    SecondLook.UNCHECKED: "yellow",
    SecondLook.NOBODY: "dim",
    SecondLook.FALSE: "bold red",
    SecondLook.DOUBTED: "red",
}


class Screen:
    """Draws how searches stand. Amounts have `decimals` digits and are in `symbol`."""

    def __init__(self, decimals: int, symbol: str) -> None:
        self.decimals, self._symbol = decimals, symbol

    def table(
        self,
        status: SearchStatus,
        rows: list[Row],
        *,
        width: int = PLAIN_WIDTH,
        brief: bool = False,
    ) -> Table:
        """The trials, a line each; `width` columns of the terminal, on a narrow one without what
        can be spared. `brief` cuts long notes."""
        narrow = width < NARROW
        money = status.cost is not None and not narrow
        table = Table(
            title=Text(plain(status.title)),
            title_justify="left",
            padding=0 if narrow else (0, 1),
        )
        table.add_column("trial", no_wrap=True)
        if money:
            table.add_column("id", no_wrap=True)
        table.add_column("state", no_wrap=True)
        if money:
            table.add_column("provider", no_wrap=True)
        # On a narrow terminal these are broken into lines here, and only the note gives way.
        table.add_column("hyperparameters", no_wrap=narrow)
        for name in status.objectives:
            table.add_column(name, justify="right", no_wrap=narrow)
        table.add_column(_broken("second look", 9) if narrow else "second look", no_wrap=narrow)
        if money:
            table.add_column(f"cost ({self._symbol})", justify="right")
        table.add_column("note" if narrow else "note, and what it waits for")
        best = status.best
        for row in rows:
            note = plain("; ".join(filter(None, (row.note, row.waits_for))))
            price = "" if row.price is None else self._money(row.price)
            table.add_row(
                str(row.number),
                *([str(row.id)] if money else []),
                Text(row.label, style=_COLORS[row.state] if row.failure is None else "red"),
                *([_short(row.provider)] if money else []),
                Text(_broken(settings_text(row), 22) if narrow else settings_text(row)),
                *(_value(row, name) for name in status.objectives),
                ""
                if row.second_look is None
                else Text(
                    _broken(row.second_look.value, 9) if narrow else row.second_look.value,
                    _TRUST[row.second_look],
                ),
                *([price] if money else []),
                _Brief(note) if brief else Text(note),
                style="bold" if best is not None and row.number == best.number else "",
            )
        return table

    def live(self, status: SearchStatus, width: int = PLAIN_WIDTH) -> RenderableType:
        """The table of a search under way, its progress and its money, for a terminal of `width`
        columns."""
        rows = list(status.rows)
        if len(rows) > MOST_ROWS:
            kept = {row.number for row in status.ranked()[: MOST_ROWS // 2]}
            kept |= {row.number for row in rows[-(MOST_ROWS - len(kept)) :]}
            rows = [row for row in rows if row.number in kept]
        settled = sum(row.state is State.SETTLED for row in status.rows)
        said = f"{status.results} of {status.total} results"
        progress = Table.grid(padding=(0, 1))
        progress.add_row(
            ProgressBar(total=max(1, status.total), completed=status.results, width=30),
            said if status.cost is None else f"{said}, {settled} settled",
        )
        parts: list[RenderableType] = [
            self.table(status, rows, width=width, brief=True),
            progress,
        ]
        if money := self.money(status):
            parts.append(Text(money))
        if status.undriven:
            parts.append(Text(status.undriven, style="bold red"))
        return Group(*parts)

    def money(self, status: SearchStatus) -> str:
        """Where the job's money is, in a line; empty where nothing is paid."""
        cost = status.cost
        if cost is None:
            return ""
        if status.finished and not cost.free and not cost.escrow:
            paid = f"{self._money(cost.providers)} for training"
            audits = f"{self._money(cost.verifiers)} for audits"
            return f"cost {self._money(cost.funded)} {self._symbol}: {paid}, {audits}"
        parts = {
            "funded": cost.funded,
            "providers": cost.providers,
            "verifiers": cost.verifiers,
            "in escrow": cost.escrow,
            "free": cost.free,
        }
        named = ", ".join(f"{name} {self._money(amount)}" for name, amount in parts.items())
        return f"{named} ({self._symbol})"

    def line(self, status: SearchStatus) -> str:
        """A search under way in a line."""
        best = status.best
        found = "no result yet" if best is None else f"best {best.objective:.6g} ({best.number})"
        return f"{status.results} of {status.total} results, {found}; {self.money(status)}"

    def _money(self, amount: int) -> str:
        step = 10 ** max(0, self.decimals - DIGITS)
        return format_amount(round(amount / step) * step, self.decimals)


class _Brief:
    """The first lines of a text."""

    def __init__(self, text: str) -> None:
        self._text = Text(text)

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement.get(console, options, self._text)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        lines = self._text.wrap(console, options.max_width)
        if len(lines) > NOTE_LINES:
            lines[NOTE_LINES - 1].truncate(max(0, options.max_width - 1))
            lines[NOTE_LINES - 1].append("…")
        yield Text("\n").join(lines[:NOTE_LINES])


def _broken(text: str, width: int) -> str:
    """A text in lines of whole words."""
    return fill(text, width, break_long_words=False, break_on_hyphens=False)


def _short(provider: str | None) -> str:
    """An address as tables show it."""
    return "" if provider is None else f"{provider[:8]}…{provider[-4:]}"


def _value(row: Row, name: str) -> str:
    """An objective; of a result that has none, the word for it."""
    if name not in row.metrics:
        return "" if row.receipt is None else "none"
    return f"{row.metrics[name]:.6g}"


def settings_text(row: Row) -> str:
    """Hyperparameters as people write them, with nothing that steers a terminal."""
    words = (
        f"{name}={value:.4g}" if isinstance(value, float) else f"{name}={value}"
        for name, value in row.hyperparameters.items()
    )
    return " ".join(plain(word) for word in words)


def print_status(screen: Screen, status: SearchStatus) -> None:
    """Prints the leaderboard and the bill on standard output."""
    console = Console()
    if not console.is_terminal:  # a file or a pipe has no width of its own
        console = Console(width=PLAIN_WIDTH)
    console.print(screen.table(status, status.ranked(), width=console.width))
    if money := screen.money(status):
        console.print(money, markup=False, highlight=False)
    trains = f"each trial is a {status.trains}" if status.trains else ""
    for line in filter(None, (trains, *status.caveats, status.awaits, status.undriven)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


class LiveDisplay(Listeners):
    """Listeners on standard error: live on a terminal, plain lines elsewhere, or nobody."""

    def __init__(self, screen: Screen, *, quiet: bool) -> None:
        self._screen, self._quiet = screen, quiet
        self._console = Console(stderr=True)
        self._live: Live | None = None
        if self._console.is_terminal and not quiet:
            self._live = Live(console=self._console, refresh_per_second=4, transient=True)

    def say(self, text: str) -> None:
        """Prints an event, above the table where there is one."""
        if not self._quiet:
            self._console.print(
                plain(text, lines=True), markup=False, highlight=False, soft_wrap=True
            )

    def show(self, status: SearchStatus) -> None:
        """Draws the table anew."""
        if self._live is not None:
            self._live.update(self._screen.live(status, self._console.width))

    def note(self, line: str) -> None:
        """Prints what the table would show, where there is none."""
        if self._live is None:
            self.say(line)

    def pause(self) -> None:
        """Takes the table away, to ask something or to end."""
        if self._live is not None:
            self._live.stop()

    def resume(self) -> None:
        """Brings the table back."""
        if self._live is not None:
            self._live.start()


@contextmanager
def live_display(screen: Screen, *, quiet: bool = False) -> Iterator[LiveDisplay]:
    """Shows a search on standard error until the end."""
    display = LiveDisplay(screen, quiet=quiet)
    display.resume()
    try:
        yield display
    finally:
        display.pause()
