"""Quality against training time, a picture for each data set: colour by family, hollow for a GPU."""

import textwrap
from typing import Any

from pages import recorded
from pages.recorded import Models, Row

from rezoo.errors import needed
from rezoo.storage import durable

COLOURS = {
    "baselines": "#7f7f7f",
    "factorization": "#1f77b4",
    "rating": "#2ca02c",
    "ranking": "#d62728",
    "session": "#9467bd",
}
UNITS = ((3600, "h"), (60, "min"), (1, "s"))
INCHES_A_MARK = 1.8
"""Of the legend."""
TICKS = (0.1, 0.3, 1, 3, 10, 30, 60, 180, 600, 1800, 3600, 10800, 36000)
PLACES = [(7, -2.5, "left"), (-7, -2.5, "right"), (0, 7, "center"), (0, -12, "center")]
PLACES += [(dx, dy, side) for dy in (-20, 18, -32, 30, -44) for dx, side in ((12, "left"), (-12, "right"))]
"""Where the name of a mark may stand, in points from it, the best place first."""
Box = tuple[float, float, float, float]
"""Left, low, right, high, in pixels."""
Panel = dict[str, tuple[float, Row]]
"""By model the seconds of a run, and the row of the first metric."""


MOST = 20
"""Models of a panel."""


def name(heading: str) -> str:
    """The name of a data set's picture."""
    return f"leaderboard-{recorded.anchor(heading)}.png"


def drawable(by_protocol: dict[str, Models]) -> dict[str, Panel]:
    """Of the protocols with 3 to `MOST` timed models: each one's seconds and row of the first metric.

    More is a study, such as that of losses, with a picture of its own.
    """
    found = {}
    for protocol, models in by_protocol.items():
        timed = {model: (recorded.seconds(rows), rows[0]) for model, rows in models.items()}
        timed = {
            model: point
            for model, point in timed.items()
            if point[0] >= 0.1 and model not in recorded.LIMITS and point[1]["metric"] != "difference"
        }
        if 2 < len(timed) <= MOST and len({row["metric"] for _, row in timed.values()}) == 1:
            found[protocol] = timed
    return found


def draw(heading: str, by_protocol: dict[str, Models]) -> None:
    """A panel each for four protocols at most, those with the most published figures, then models, first."""

    def weight(panel: tuple[str, Panel]) -> tuple[int, int]:
        return -sum(row["published"] is not None for _, row in panel[1].values()), -len(panel[1])

    panels = sorted(drawable(by_protocol).items(), key=weight)[:4]
    if not panels:
        return
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = needed("matplotlib.figure").Figure(
        figsize=(6.5 * columns, 4.4 * rows + 0.5), layout="constrained"
    )
    figure.suptitle(heading, fontsize=11, weight="bold")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.remove()
    drawn = list(zip(axes.flat, panels, strict=False))
    for axis, (protocol, timed) in drawn:
        points(axis, protocol, timed)
    legend(figure, [(model, row) for _, timed in panels for model, (_, row) in timed.items()])
    figure.draw_without_rendering()  # places the axes, by which labels are moved apart
    for axis, (_, timed) in drawn:
        labels(axis, timed)
    with durable.file(recorded.RESULTS / name(heading)) as partial:
        figure.savefig(partial, format="png", dpi=110)


def points(axis: Any, protocol: str, timed: Panel) -> None:
    """A mark for each model, over an axis of time in seconds, minutes and hours."""
    for model, (spent, row) in timed.items():
        colour = COLOURS[recorded.family(model)]
        fill = "white" if recorded.accelerated(row) else colour
        style: dict[str, Any] = dict(fmt="o", color=colour, markerfacecolor=fill, markersize=6, capsize=2)
        axis.errorbar(spent, row["mean"], yerr=row["sem"], **style)
    metric = next(iter(timed.values()))[1]["metric"]
    better = "lower" if recorded.lower_is_better(metric) else "higher"
    axis.set(xscale="log", ylabel=f"{metric} ({better} is better)", xlabel="training time of one run")
    ticker = needed("matplotlib.ticker")
    axis.xaxis.set_major_locator(ticker.FixedLocator(TICKS))
    axis.xaxis.set_major_formatter(lambda value, _: duration(value))
    axis.xaxis.set_minor_locator(ticker.NullLocator())
    axis.margins(x=0.1, y=0.15)
    low, high = min(s for s, _ in timed.values()), max(s for s, _ in timed.values())
    axis.set_xlim(low / 1.5, high * max(3.0, (high / low) ** 0.4))  # names stand to the right of marks
    axis.set_title("\n".join(textwrap.wrap(protocol, 70)), fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)


def duration(seconds: float) -> str:
    """A time in its unit.

    >>> [duration(value) for value in (0.3, 30, 180, 3600)]
    ['0.3 s', '30 s', '3 min', '1 h']
    """
    size, unit = next((pair for pair in UNITS if seconds >= pair[0]), UNITS[-1])
    return f"{seconds / size:g} {unit}"


def labels(axis: Any, timed: Panel) -> None:
    """Each model's name beside its mark, where neither a mark nor another name is."""
    point = axis.figure.dpi / 72
    marks = [axis.transData.transform((spent, row["mean"])) for spent, row in timed.values()]
    taken: list[Box] = [(x - 4 * point, y - 4 * point, x + 4 * point, y + 4 * point) for x, y in marks]
    inside = axis.bbox.extents
    for (model, (spent, row)), (x, y) in zip(timed.items(), marks, strict=True):
        width = 4.8 * len(model) * point
        for dx, dy, side in PLACES:
            left = x + dx * point - {"left": 0, "center": width / 2, "right": width}[side]
            low = y + (dy - 2) * point
            box = (left, low, left + width, low + 10 * point)
            fits = box[0] > inside[0] and box[2] < inside[2] and inside[1] < box[1] and box[3] < inside[3]
            if fits and not any(overlap(box, other) for other in taken):
                break
        else:
            dx, dy, side, box = *PLACES[0], (x, y, x, y)
        taken.append(box)
        far = {"arrowstyle": "-", "linewidth": 0.5, "color": "gray"} if abs(dy) > 12 else None
        place = dict(textcoords="offset points", fontsize=8, ha=side)
        axis.annotate(model, (spent, row["mean"]), (dx, dy), arrowprops=far, **place)


def overlap(one: Box, other: Box) -> bool:
    """Whether two boxes have points in common."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def legend(figure: Any, drawn: list[tuple[str, Row]]) -> None:
    """What colours and hollow marks mean."""
    line = needed("matplotlib.lines").Line2D
    families = {recorded.family(model) for model, _ in drawn}
    marks = [
        line([], [], linestyle="", marker="o", color=colour, label=family)
        for family, colour in COLOURS.items()
        if family in families
    ]
    if any(recorded.accelerated(row) for _, row in drawn):
        hollow: dict[str, Any] = dict(linestyle="", marker="o", color="black", markerfacecolor="white")
        marks.append(line([], [], label="hollow: trained on a GPU", **hollow))
        marks.append(line([], [], linestyle="", marker="o", color="black", label="filled: on CPU cores"))
    columns = int(figure.get_figwidth() / INCHES_A_MARK)
    figure.legend(handles=marks, loc="outside lower center", ncols=columns, frameon=False, fontsize=9)
