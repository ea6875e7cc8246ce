"""Reports of cleaning: how many rows were dropped, why, and examples of them."""

from typing import NamedTuple

from rezoo.errors import DataError


class Reason(NamedTuple):
    """Why rows were dropped."""

    why: str
    rows: int
    examples: list[str]
    """The first few, in words."""


class Report(NamedTuple):
    """What cleaning did."""

    before: int
    after: int
    reasons: list[Reason]

    def __add__(self, other: tuple) -> "Report":
        """This step, then the other."""
        following = Report(*other)
        return Report(self.before, following.after, [*self.reasons, *following.reasons])

    def __str__(self) -> str:
        lines = [f"{self.before:,} rows, {self.before - self.after:,} dropped, {self.after:,} left"]
        for reason in self.reasons:
            examples = f" (such as {'; '.join(reason.examples)})" if reason.examples else ""
            count = f"{reason.rows:,} " if reason.rows else ""
            lines.append(f"  {count}{reason.why}{examples}")
        return "\n".join(lines)


class NothingLeft(DataError):
    """Cleaning dropped every row."""

    def __init__(self, report: Report):
        self.report = report
        last = report.reasons[-1]
        super().__init__(
            f"nothing is left: the last {last.rows:,} rows to be dropped were those {last.why}\n{report}"
        )


def report_of(rows: int, reasons: list[Reason]) -> Report:
    """The report of a step on `rows` rows; reasons for which no row was dropped are left out.

    Raises:
      NothingLeft: if none is left.
    """
    reasons = [reason for reason in reasons if reason.rows]
    report = Report(rows, rows - sum(reason.rows for reason in reasons), reasons)
    if reasons and not report.after:
        raise NothingLeft(report)
    return report
