"""What `piecework top` shows and how keys change it: no input and no output, so that each key can be tested."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from piecework.cli.top.rows import JOB_STATES, JOBS, STOPPABLE, TABS, Row
from piecework.cli.top.snapshot import Snapshot, Wish
from piecework.protocol.ids import Id
from piecework.protocol.messages import JobInfo
from piecework.protocol.states import FINAL_STATES, JobState

INTERVALS_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
HELP = (
    ("1 2 3 4, Tab", "lanes, lambdas, workers, jobs"),
    ("j k, arrows, PgUp PgDn, g G", "select a row"),
    ("Enter", "open: the jobs of a lambda or worker, one job with its log"),
    ("Esc, Backspace", "back; of jobs: those of all again"),
    ("/", "show only rows with a text; Enter keeps it, Esc ends it"),
    ("a", "which jobs: all, running, ready, waiting, paused, failed, cancelled, finished"),
    ("s S", "sort by the next column, the other way round"),
    ("c", "cancel the selected job"),
    ("t", "run the selected job again that failed or was cancelled"),
    ("p", "stand still, and go on"),
    ("+ -", "look more, or less, often"),
    ("q, Ctrl-C", "leave"),
)


@dataclass(frozen=True)
class JobDeed:
    """What somebody wants to have done to a job."""

    what: Literal["cancel", "retry"]
    job: Id


@dataclass
class Board:
    """What is shown."""

    tab: int = 0
    selected: dict[int, str] = field(default_factory=dict)
    """The key of the selected row of each tab."""
    sort: dict[int, tuple[int, bool]] = field(default_factory=dict)
    """By which column each tab is sorted, and whether the other way round."""
    words: str = ""
    """Only rows with this text are shown."""
    wish: Wish = field(default_factory=Wish)
    page: int = 10
    """Rows that fit."""
    interval_s: float = 2.0
    typing: bool = False
    """The words are being typed."""
    asking: JobDeed | None = None
    """What is to be confirmed."""
    helping: bool = False
    still: bool = False
    leaving: bool = False
    note: str = ""
    """What came of the last deed."""

    def rows(self, snapshot: Snapshot | None) -> list[Row]:
        """Return the rows of the tab, sorted, with the words in them."""
        if snapshot is None:
            return []
        column, turned = self.sorting()
        found = TABS[self.tab].read(snapshot)
        if self.words:
            found = [row for row in found if any(self.words.lower() in cell.lower() for cell in row.cells)]
        falls = (column in TABS[self.tab].falling) is not turned
        return sorted(found, key=lambda row: row.order[column], reverse=falls)

    def sorting(self) -> tuple[int, bool]:
        """Return by which column the tab is sorted, and whether the other way round."""
        return self.sort.get(self.tab, (TABS[self.tab].first, False))

    def find(self, rows: Sequence[Row]) -> int:
        """Return the place of the selected row; of the first when it is gone."""
        key = self.selected.get(self.tab)
        return next((place for place, row in enumerate(rows) if row.key == key), 0)

    def press(self, key: str, snapshot: Snapshot | None) -> JobDeed | None:
        """Take a key. Returns what is to be done now."""
        if self.typing:
            self._type(key)
        elif self.asking is not None:
            deed, self.asking = self.asking, None
            self.note = ""
            return deed if key in {"y", "Y"} else None
        elif self.helping:
            self.helping = False
        else:
            self._steer(key, snapshot)
        return None

    def _type(self, key: str) -> None:
        if key in {"enter", "escape"}:
            self.typing = False
            self.words = self.words if key == "enter" else ""
        elif key == "backspace":
            self.words = self.words[:-1]
        elif len(key) == 1 and key.isprintable():
            self.words += key

    def _steer(self, key: str, snapshot: Snapshot | None) -> None:
        rows = self.rows(snapshot)
        if key in {"1", "2", "3", "4"}:
            self._go_to(int(key) - 1)
        elif key in {"enter", "escape", "backspace"}:
            self._open_or_leave(key, rows)
        elif key in {"c", "t"}:
            self._ask("cancel" if key == "c" else "retry", rows, snapshot)
        elif key in {"+", "-"}:
            place = INTERVALS_S.index(self.interval_s) + (-1 if key == "+" else 1)
            self.interval_s = INTERVALS_S[min(max(place, 0), len(INTERVALS_S) - 1)]
        elif key in {"s", "S"}:
            column, turned = self.sorting()
            next_ = (column + 1) % len(TABS[self.tab].columns)
            self.sort[self.tab] = (next_, False) if key == "s" else (column, not turned)
        else:
            self._switch(key)
            self._move(key, rows)

    def _switch(self, key: str) -> None:
        match key:
            case "q":
                self.leaving = True
            case "?" | "h":
                self.helping = True
            case "/":
                self.typing, self.words = True, ""
            case "p":
                self.still = not self.still
            case "tab":
                self._go_to((self.tab + 1) % len(TABS))
            case "a":
                self._show_next_state()

    def _go_to(self, tab: int) -> None:
        self.tab, self.wish = tab, replace(self.wish, job=None)

    def _show_next_state(self) -> None:
        place = JOB_STATES.index(self.wish.state) if self.tab == JOBS else -1
        self.tab, self.wish = JOBS, replace(self.wish, state=JOB_STATES[(place + 1) % len(JOB_STATES)], job=None)

    def _open_or_leave(self, key: str, rows: Sequence[Row]) -> None:
        if key != "enter":
            self.wish = Wish(state=self.wish.state) if self.wish.job is None else replace(self.wish, job=None)
            self.words = ""
        elif rows and self.wish.job is None:
            row = rows[self.find(rows)]
            if self.tab == JOBS:
                self.wish = replace(self.wish, job=Id(row.key))
            elif row.wish:
                of_lambda = TABS[self.tab].name == "lambdas"
                self.wish = Wish(lambda_=row.wish) if of_lambda else Wish(worker=row.wish)
                self.tab, self.words = JOBS, ""

    def _move(self, key: str, rows: Sequence[Row]) -> None:
        steps = {
            "j": 1, "down": 1, "k": -1, "up": -1, "pagedown": self.page, "pageup": -self.page,
            "g": -len(rows), "home": -len(rows), "G": len(rows), "end": len(rows),
        }  # fmt: skip
        if rows and key in steps and self.wish.job is None:
            place = min(max(self.find(rows) + steps[key], 0), len(rows) - 1)
            self.selected[self.tab] = rows[place].key

    def _ask(self, what: Literal["cancel", "retry"], rows: Sequence[Row], snapshot: Snapshot | None) -> None:
        """Ask whether it is meant, where it can be done to the job at hand."""
        job = self._find_job(rows, snapshot)
        if job is None:
            self.note = "select a job first: 4 shows them"
        elif what == "cancel" and job.state not in STOPPABLE:
            self.note = f"job {job.id} has ended: it is {job.state}"
        elif what == "retry" and job.state not in FINAL_STATES - {JobState.FINISHED}:
            self.note = f"only jobs that failed or were cancelled run again; job {job.id} is {job.state}"
        else:
            self.asking = JobDeed(what, job.id)

    def _find_job(self, rows: Sequence[Row], snapshot: Snapshot | None) -> JobInfo | None:
        if snapshot is None or self.tab != JOBS:
            return None
        if snapshot.opened is not None and self.wish.job is not None:
            return snapshot.opened
        key = rows[self.find(rows)].key if rows else None
        return next((each for each in snapshot.jobs if str(each.id) == key), None)
