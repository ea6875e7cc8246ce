"""Reading logs: seconds, and peak memory relative to that of the resulting arrays.

    python experiments/bench_reading.py --record --data-dir FOLDER  # holds ml-1m.zip

The million ratings of ML-1M out of their zip, and 20 million simulated rows from CSV and from Parquet. Each
read is a process of its own, so that the peak is its own; the memory of imports is subtracted. On 2 CPU
cores: ML-1M in 0.5 s; 20 million rows in 6 s from CSV and 2 s from Parquet, at 2.4 and 3.0 times the
arrays' memory.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
from common import Flags, Results, start
from pyarrow import csv

READ = """
import json, sys, time
import numpy as np
from rezoo.data import files

def peak():
    lines = open("/proc/self/status")
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))

before, begin = peak(), time.perf_counter()
log = files.read(sys.argv[1])
seconds = time.perf_counter() - begin
arrays = sum(column.nbytes for column in (log.user, log.item, log.rating, log.timestamp))
print(json.dumps(dict(rows=log.num_rows, seconds=seconds, peak_over_arrays=(peak() - before) / arrays)))
"""


def main(flags: Flags, results: Results) -> None:
    """Read each file `--seeds` times."""
    rows = 20_000 if flags.smoke else 20_000_000
    logs = simulated(rows, results.out)
    if flags.data_dir and not flags.smoke:
        inside = flags.data_dir / "ml-1m" / "ml-1m.zip"
        logs = {
            "ml-1m": f"{inside if inside.exists() else flags.data_dir / 'ml-1m.zip'}!ml-1m/ratings.dat"
        } | logs
    for name, path in logs.items():
        found = [one(path) for _ in range(1 if flags.smoke else flags.seeds)]
        about = ("files.read", name, f"{found[0]['rows']:,} rows, a process each")
        seconds = [read["seconds"] for read in found]
        ratio = [read["peak_over_arrays"] for read in found]
        with results.together():
            results.put(*about, "seconds", seconds, seconds=sum(seconds))
            results.put(*about, "peak memory over arrays", ratio, seconds=0.0)
    results.finish()


def one(path: str) -> dict[str, float]:
    """One read in a fresh process."""
    done = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{path} could not be read:\n{done.stderr}")
    return json.loads(done.stdout)


def simulated(rows: int, folder: Path) -> dict[str, str]:
    """A log of `rows` rows as CSV and as Parquet in `folder`; {name: path}."""
    paths = {kind: folder / f"log.{kind}" for kind in ("csv", "parquet")}
    if not all(path.exists() for path in paths.values()):
        rng = np.random.default_rng(0)
        columns = {
            "user_id": rng.integers(1, rows // 150 + 2, rows).astype(np.int32),
            "item_id": rng.integers(1, rows // 700 + 2, rows).astype(np.int32),
            "rating": rng.integers(1, 6, rows).astype(np.float32),
            "timestamp": rng.integers(1_000_000_000, 1_400_000_000, rows),
        }
        table = pa.table(columns)
        pyarrow.parquet.write_table(table, paths["parquet"])
        csv.write_csv(table, paths["csv"])
    return {f"random log, {kind}": str(path) for kind, path in paths.items()}


if __name__ == "__main__":
    main(*start(__file__, __doc__, data=("ml-1m*",)))
