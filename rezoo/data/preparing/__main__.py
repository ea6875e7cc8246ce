"""Prepare a log from the command line; see `rezoo.data.beam`."""

import argparse
from pathlib import Path

from rezoo.data import beam
from rezoo.data.preparing.plan import from_json
from rezoo.errors import needed


def main() -> None:
    """Read the flags; those that are not known here are Beam's."""
    flags = argparse.ArgumentParser("python -m rezoo.data.preparing", description=__doc__)
    flags.add_argument("raw", help="folder or URL of Parquet or CSV parts")
    flags.add_argument("folder", help="folder or URL to write to; must be empty")
    flags.add_argument("--plan", type=Path, required=True, help="JSON with fields of `Plan`")
    chosen, rest = flags.parse_known_args()
    plan = from_json(chosen.plan.read_text("utf-8"), str(chosen.plan))
    options = needed("apache_beam.options.pipeline_options").PipelineOptions(rest)
    with needed("apache_beam").Pipeline(options=options) as pipeline:
        beam.prepare(pipeline, chosen.raw, chosen.folder, plan)


if __name__ == "__main__":
    main()
