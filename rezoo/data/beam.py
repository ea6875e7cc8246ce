"""Logs that are larger than memory, prepared by Apache Beam (https://beam.apache.org): the extra `beam`.

    plan = Plan(user="customer", item="product", timestamp="time", unit="s", duplicates="last", users=5,
                items=5, valid=0.1, test=0.1, sessions=1800)
    with apache_beam.Pipeline(options=options) as pipeline:
        beam.prepare(pipeline, "raw/", "prepared/", plan)
    log = folder.load("prepared/")                         # sizes, id maps, report (`preparing.folder`)
    parts = stream_parts.find("prepared/train", ["user", "item"])

A folder of Parquet or CSV parts becomes parts of columns with dense ids, a manifest, and sessions if they
are asked for (`rezoo.data.preparing.folder`). The rows, their order, their ids and the report are those that
the functions of `rezoo.data.clean`, `split` and `sessions` give in memory (`preparing.plan`). Elements
are chunks of columns. What must fit into the memory of a worker: a row group, a part, the rows of
`1 / Plan.buckets` of the users, some 30 bytes for each distinct id and, once, the raw ids. Ids beyond that
are hashed (`Plan.user_slots`, `Plan.item_slots`), and the manifest says how many share a slot.

The runner is Beam's, by its own flags. The same from the command line, with the plan's fields as JSON:

    python -m rezoo.data.preparing raw/ prepared/ --plan plan.json --runner=DirectRunner
        --direct_num_workers=0 --direct_running_mode=multi_processing
    python -m rezoo.data.preparing s3://shop/raw s3://shop/prepared --plan plan.json --runner=FlinkRunner
        --flink_master=HOST:8081 --environment_type=DOCKER --environment_config=IMAGE
    python -m rezoo.data.preparing hdfs://HOST/raw hdfs://HOST/prepared --plan plan.json
        --runner=SparkRunner --spark_master_url=spark://HOST:7077 --environment_type=DOCKER
        --environment_config=IMAGE
    python -m rezoo.data.preparing gs://shop/raw gs://shop/prepared --plan plan.json --runner=DataflowRunner
        --project=PROJECT --region=REGION --temp_location=gs://shop/tmp --sdk_container_image=IMAGE

IMAGE is Beam's image for the Python version of the machine that starts the pipeline
(https://beam.apache.org/documentation/runtime/environments) with `pip install 'rezoo[beam]'`; Dataflow needs
`apache-beam[gcp]` where it is started. An error in a worker, such as a `DataError` about a part, is the cause
that Beam's own error quotes.
"""

from operator import itemgetter
from typing import Any, NamedTuple

from rezoo.data.preparing import cuts, notes, numbering, raw, steps
from rezoo.data.preparing import folder as output
from rezoo.data.preparing.plan import ROLES, Plan
from rezoo.errors import needed

__all__ = ["Plan", "prepare"]


class _Ids(NamedTuple):
    """Collections of one element about the ids of a role."""

    numbers: Any
    """The map, or the number of slots."""
    raw: Any
    """The raw ids, or None."""
    collisions: Any
    """Of slots, or None."""


def prepare(pipeline: Any, log: str, folder: str, plan: Plan) -> None:
    """Add to a pipeline all that a log needs to be trained from.

    Args:
      pipeline: an `apache_beam.Pipeline`, which runs at the end of its `with` block.
      log: the folder of its parts, which end in .parquet, .csv or .csv.gz: a path, or a URL that pyarrow
        knows. Workers must be able to read it, and write to `folder`.
      folder: to write to.
      plan: what is read and done.

    Raises:
      DataError: if the parts do not fit the plan, or `folder` is not empty; and, while it runs, if a value
        cannot be read, no row is left, or the k-core needs more rounds.
      ModuleNotFoundError: without Apache Beam, which the extra `beam` installs.
    """
    beam = needed("apache_beam")
    one = beam.pvalue.AsSingleton
    found = raw.find(log, plan)
    slim = found._replace(groups=[])
    output.empty(folder)
    read = _read(beam, pipeline, found, slim, plan)
    ids = {role: _ids(beam, pipeline, read, role, plan) for role in ROLES}
    numbered = read | "encode ids" >> _map(
        beam, steps.to_dense, plan, one(ids["user"].numbers), one(ids["item"].numbers)
    )
    rows, dropped = _cleaned(beam, pipeline, numbered, plan)
    left = _total(beam, rows, "rows that are left")
    between = _cuts(beam, pipeline, rows, plan)
    new = rows | "new ids" >> _map(beam, steps.renumbered, one(left), plan)
    parts = new | "split" >> _flat(beam, cuts.by_part, one(between))
    written = (
        parts
        | "rows by part" >> _flat(beam, steps.for_writing, plan.part)
        | "gather parts" >> beam.GroupByKey()
        | "write parts" >> _map(beam, output.write_part, folder, plan)
    )
    if plan.sessions is not None:
        made = (
            parts
            | "rows by user" >> _flat(beam, steps.for_sessions, one(left), plan)
            | "gather users" >> beam.GroupByKey()
            | "write sessions" >> _map(beam, output.write_sessions, folder, plan)
        )
        written = (written, made) | "all that is written" >> beam.Flatten()
    known = {
        role: ids[role].raw | f"write {role}s" >> _map(beam, output.write_ids, one(left), folder, role)
        for role in ROLES
    }
    _ = (
        pipeline
        | "plan" >> beam.Create([plan])
        | "write the manifest"
        >> _map(
            beam,
            output.finish,
            folder,
            slim,
            one(dropped),
            one(between),
            one(left),
            one(known["user"]),
            one(known["item"]),
            one(ids["user"].collisions),
            one(ids["item"].collisions),
            beam.pvalue.AsList(written),
        )
    )


def _read(beam: Any, pipeline: Any, found: raw.Raw, slim: raw.Raw, plan: Plan) -> Any:
    """Chunks with keys of ids; `slim` is what workers know of the log."""
    if found.groups:
        groups = pipeline | "row groups" >> beam.Create(found.groups) | "spread" >> beam.Reshuffle()
        return groups | "read" >> _flat(beam, raw.group, slim, plan)
    files = pipeline | "files" >> beam.Create(found.texts) | "spread" >> beam.Reshuffle()
    rows = files | "count rows" >> _map(beam, raw.rows_of, slim, plan)
    return files | "read" >> _flat(beam, raw.text, slim, plan, beam.pvalue.AsDict(rows))


def _ids(beam: Any, pipeline: Any, read: Any, role: str, plan: Plan) -> _Ids:
    """The map of ids, made in one place of counts made in many; or a hash, and what collides."""
    slots = plan.slots(role)
    merged = (
        read
        | f"{role}s of chunks" >> _flat(beam, numbering.by_bucket, role, slots, plan.buckets)
        | f"count {role}s" >> beam.CombinePerKey(numbering.merge)
        | f"counted {role}s" >> beam.Values()
    )
    none = pipeline | f"no {role}s" >> beam.Create([None])
    if slots:
        shared = merged | f"{role}s by slot" >> _map(beam, numbering.collisions, slots)
        shared = shared | f"{role}s that collide" >> _sum(beam, numbering.added)
        return _Ids(pipeline | f"slots of {role}s" >> beam.Create([slots]), none, shared)
    both = (
        pipeline
        | f"order of {role}s" >> beam.Create([plan.by_frequency])
        | f"number {role}s" >> _map(beam, numbering.in_order, beam.pvalue.AsIter(merged))
    )
    numbers = both | f"map of {role}s" >> _map(beam, itemgetter(0))
    return _Ids(numbers, both | f"raw {role}s" >> _map(beam, itemgetter(1)), none)


def _cleaned(beam: Any, pipeline: Any, noted: Any, plan: Plan) -> tuple[Any, Any]:
    """Rows that are left, and notes on the others as one element."""
    rows, found = _apart(beam, noted, "ratings")
    if plan.duplicates is not None:
        rows, more = _apart(beam, _without_repeats(beam, rows, plan), "repeats")
        found = (found, more) | "notes on repeats" >> beam.Flatten()
    if plan.users > 1 or plan.items > 1:
        core = _core(beam, pipeline, rows, plan)
        kept = rows | "k-core" >> _map(beam, steps.in_core, beam.pvalue.AsSingleton(core), plan)
        rows, more = _apart(beam, kept, "k-core")
        found = (found, more) | "notes on the k-core" >> beam.Flatten()
    return rows, found | "all notes" >> _sum(beam, notes.merge)


def _apart(beam: Any, noted: Any, name: str) -> tuple[Any, Any]:
    rows = noted | f"rows after {name}" >> _map(beam, itemgetter(0))
    return rows, noted | f"notes of {name}" >> _map(beam, itemgetter(1))


def _without_repeats(beam: Any, rows: Any, plan: Plan) -> Any:
    """All rows of a user meet to find repeats, of which only the numbers go back to the chunks."""
    gone = (
        rows
        | "pairs by user" >> _flat(beam, steps.for_repeats, plan.buckets)
        | "gather pairs" >> beam.GroupByKey()
        | "repeats" >> _flat(beam, steps.repeats, plan)
    )
    pieces = rows | "by chunk" >> _flat(beam, steps.by_chunk, plan)
    met = {"rows": pieces, "gone": gone} | "chunks and repeats" >> beam.CoGroupByKey()
    return met | "without repeats" >> _map(beam, steps.without, plan)


def _core(beam: Any, pipeline: Any, rows: Any, plan: Plan) -> Any:
    """In which round of the k-core a user or an item is dropped: one element."""
    # Reshuffled so that a round reads pairs, which a runner would otherwise make of whole rows each time.
    pairs = rows | "pairs" >> _map(beam, steps.pairs) | "keep pairs" >> beam.Reshuffle()
    core = pipeline | "no round" >> beam.Create([steps.whole_log()])
    for turn in range(plan.rounds + 1):
        name, before = f"round {turn}", beam.pvalue.AsSingleton(core)
        total = (
            pairs
            | f"{name}: count" >> _map(beam, steps.remaining, before)
            | f"{name}: add" >> _sum(beam, steps.add_counts)
        )
        core = total | f"{name}: too few" >> _map(beam, steps.next_round, before, plan)
    return core


def _total(beam: Any, rows: Any, name: str) -> Any:
    counts = rows | f"count {name}" >> _map(beam, steps.rows_by_id)
    return counts | f"add {name}" >> _sum(beam, steps.add_counts)


def _cuts(beam: Any, pipeline: Any, rows: Any, plan: Plan) -> Any:
    """The times between the parts, exact, although times are only looked at near them: one element."""
    if not plan.is_split or plan.test_from is not None:
        return pipeline | "given cuts" >> beam.Create([cuts.given(plan) if plan.is_split else []])
    one = beam.pvalue.AsSingleton
    spans = rows | "spans" >> _map(beam, cuts.span) | "whole span" >> _sum(beam, cuts.whole)
    bins = rows | "bin times" >> _map(beam, cuts.histogram, one(spans))
    bins = bins | "add bins" >> _sum(beam, cuts.total)
    near = rows | "near the cuts" >> _map(beam, cuts.near, one(spans), one(bins), plan)
    shares = pipeline | "shares" >> beam.Create([plan])
    return shares | "cuts" >> _map(beam, cuts.found, one(spans), one(bins), beam.pvalue.AsIter(near))


# Beam would derive coders from the annotations of functions; pickles of whole chunks are faster.


def _map(beam: Any, function: Any, *more: Any) -> Any:
    return beam.Map(function, *more).with_output_types(Any)


def _flat(beam: Any, function: Any, *more: Any) -> Any:
    return beam.FlatMap(function, *more).with_output_types(Any)


def _sum(beam: Any, function: Any) -> Any:
    return beam.CombineGlobally(function).with_output_types(Any)
