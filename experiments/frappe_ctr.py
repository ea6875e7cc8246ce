"""Which app is used in which context: models of feature interactions on Frappe.

    python experiments/frappe_ctr.py --record --data-dir FOLDER  # holds frappe.zip

Validation and test are the official files. The official training file is not available: its positives are,
and its negatives were drawn again by the rule of the official ones. Embeddings are 10 wide, batches 4,096,
networks 300-300 with a dropout of .3; Adam's rate falls to 0 along a cosine over 20 epochs. For every model
the same four pairs of a rate and of λ, half the weight of all squared embeddings, are tried with one seed
and the best by AUC on the validation part is kept; every seed's epoch with the best such AUC is tested
once. WideDeep has no crosses, AutoInt a network beside it (AutoInt+).

DLRM, XDeepFM, FinalMLP, MaskNet and FiBiNET have the settings that BARS publishes for each (`as_published`):
a rate of .001 that is divided by ten after an epoch without a better AUC on the validation part; two such
epochs in a row end the training. As there, DLRM lays its vectors end to end: without numbers, which Frappe
has none of, it is a network alone.

"Published" is BARS', https://github.com/reczoo/BARS (frappe_x1). A penalty of whole tables pulls rare rows
down to nothing, which is better here than one that counts a row as often as it is looked up: networks like
λ = 0.01 to 0.04, shallow models 1e-5 and a high rate.

NFM has one layer, as in its paper, which is better on the validation part than two. DCNv2 has BARS'
rate and networks, too; of five settings (one or three crosses, three dropouts, three penalties) it has what
was best on the validation part. Its test part was seen before, with the budget of the other models, by which
it ended a thousandth lower.

AUC / log loss, five seeds (published in brackets), and seconds of a seed on one busy CPU core with tuning:

    LR        .9357 / .312   (.9356 / .308)      5
    FM        .9728 / .183   (.9671 / .206)     14
    NFM       .9808 / .157   (.9804 / .206)     24
    DeepFM    .9850 / .148   (.9842 / .148)     61
    WideDeep  .9849 / .148   (.9841 / .149)     52
    DCNv2     .9850 / .149   (.9845 / .149)    191 (beside other work)
    AFM       .9709 / .207   (.9697 / .226)     68
    AutoInt   .9844 / .143   (.9848 / .149)    258
    DNN       .9850 / .148   (.9833 / .162)     52
    FinalMLP  .9849 / .156   (.9861 / .148)    426 (beside other work)
    XDeepFM   .9847 / .147   (.9845 / .147)    313 (beside other work)
    DLRM      .9843 / .151   (.9840 / .144)    298 (beside other work)
    MaskNet   .9843 / .164   (.9837 / .170)    467 (beside other work)
    FiBiNET   .9831 / .158   (.9832 / .194)    330 (beside other work)
"""

from dataclasses import dataclass
from typing import Any

import common
from protocols.click_sets import apps
from protocols.clicks import Budget, Entry, Setting, compare, synthetic, zoo

from rezoo.models import DLRM, DCNv2, FiBiNET, FinalMLP, MaskNet, XDeepFM
from rezoo.models.ranking import dlrm


@dataclass(frozen=True)
class Flags(common.Flags):
    """Flags of this experiment."""

    models: tuple[str, ...] = ()
    """Names of the table; all if none is given."""


REAL = Budget((Setting(0.01, 1e-5), Setting(0.01, 1e-3), Setting(0.01, 1e-2), Setting(0.003, 4e-2)), 4096, 20)
BARS = {
    "LR": (0.9356, 0.3076),
    "FM": (0.9671, 0.2065),
    "NFM": (0.9804, 0.2058),
    "DeepFM": (0.9842, 0.1482),
    "WideDeep": (0.9841, 0.1490),
    "DCNv2": (0.9845, 0.1491),
    "AFM": (0.9697, 0.2264),
    "AutoInt": (0.9848, 0.1490),
    "DNN": (0.9833, 0.1622),
    "DLRM": (0.9840, 0.1444),
    "XDeepFM": (0.9845, 0.1466),
    "FinalMLP": (0.9861, 0.1484),
    "MaskNet": (0.9837, 0.1696),
    "FiBiNET": (0.9832, 0.1941),
}
"""AUC and log loss published for each model."""
OWN: dict[str, dict[str, Any]] = {"NFM": {"widths": (300,)}}
"""Settings of a model that differ from those of the others."""


def as_published(sizes: dict[str, int]) -> list[Entry]:
    """Models with the settings that BARS publishes for them."""
    deep: dict[str, Any] = {"widths": (400, 400, 400), "batch_norm": True}
    final: dict[str, Any] = {"widths": (400,), "second_widths": (100,), "gate_widths": (400,), "heads": 5}
    mask: dict[str, Any] = {"widths": (400, 400, 400), "blocks": (50, 50, 50), "normalise": False}

    def entry(model: Any, l2: float) -> Entry:
        return Entry(type(model).__name__, model, budget=Budget((Setting(1e-3, l2),), 4096, 100, patience=2))

    return [
        entry(DCNv2(sizes, 10, num_crosses=3, dropout=0.2, **deep), 0.05),
        entry(DLRM(sizes, 10, interaction=dlrm.end_to_end, dropout=0.4, **deep), 0.1),
        entry(XDeepFM(sizes, 10, maps=(64,), dropout=0.2, **deep), 0.1),
        entry(FinalMLP(sizes, 10, dropout=0.4, batch_norm=True, **final), 0.05),
        entry(MaskNet(sizes, 10, dropout=0.1, **mask), 0.1),
        entry(FiBiNET(sizes, 10, reduction=2, dropout=0.3, **deep), 0.05),
    ]


def published(entry: Entry) -> Entry:
    """With BARS' figures beside it."""
    return entry._replace(published=dict(zip(("auc", "logloss"), BARS[entry.name], strict=True)))


def main() -> None:
    flags, results = common.start(__file__, __doc__, Flags, data=("frappe*",))
    if flags.smoke:
        data, budget = synthetic(), Budget((Setting(0.02, 1e-4),), 256, 3)
        few = {entry.name: published(entry) for entry in zoo(data.sizes, 4, (8,), 0.1)}
        falling = few["FinalMLP"]._replace(budget=budget._replace(patience=1))
        compare([few["FM"], falling], data, budget, 1, results)
    else:
        data = apps(flags.data_dir)
        theirs = {entry.name: entry for entry in as_published(data.sizes)}
        entries = [
            published(theirs.get(name, entry._replace(model=entry.model.clone(**OWN.get(name, {})))))
            for entry in zoo(data.sizes, 10, (300, 300), 0.3)
            if (name := entry.name) in (flags.models or BARS)
        ]
        compare(entries, data, REAL, flags.seeds, results)
    results.finish()


if __name__ == "__main__":
    main()
