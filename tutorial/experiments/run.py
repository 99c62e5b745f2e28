"""The experiments of the paper in miniature: each a table (CSV) and a figure (PNG) in tutorial/results.

    python tutorial/experiments/run.py --list
    python tutorial/experiments/run.py figure4 figure8          some of them; what is done already is skipped
    python tutorial/experiments/run.py --all --budget 0.1       all, with a tenth of the training steps and images

Trained models and measurements are kept in runs/experiments, so that an interrupted run goes on where it was.
"""
import argparse
import csv
import importlib
import os
import platform
import sys
import time
from pathlib import Path

import torch

if __name__ == "__main__":
    os.environ.pop("MPLBACKEND", None)  # this program draws into files: what it names is not needed and may be absent
sys.path.append(str(Path(__file__).resolve().parents[2]))
from clip_minimal import write
from common import Lab
from tutorial.extras.pictures import save_figure

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ["number_to_text", "figure2", "convirt", "figure4", "figure5", "figure6", "figure7", "figure8",
               "figure13", "figure15", "ngrams", "detection", "overlap", "quiz", "scaling", "bill", "matches", "limits",
               "reranking", "typographic", "table13"]


def write_table(path, rows):
    """Rows of dicts with the same keys -> a CSV file."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()}
                        for row in rows)


def machine():
    """What the times were measured on, in one line."""
    return f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, torch {torch.__version__}"


def run(name, lab, out):
    """Measure, write the table, draw the figure; the log gets the time. What stands in the log is not done again."""
    log = out / f"{name}.log"
    if log.exists() and log.read_text().startswith(f"budget {lab.budget:g}, seeds {list(lab.seeds)},"):
        print(f"{name}: done already; delete {log} to do it again")
        return
    experiment, start = importlib.import_module(name), time.time()
    print(f"{name}: {experiment.__doc__.splitlines()[0]}", flush=True)
    rows = experiment.measure(lab)
    write_table(out / f"{name}.csv", rows)
    save_figure(experiment.draw(rows), out / f"{name}.png", dpi=110, bbox_inches="tight")
    line = f"budget {lab.budget:g}, seeds {list(lab.seeds)}, {(time.time() - start) / 60:.1f} minutes on {machine()}\n"
    write(log, lambda file: file.write(line.encode()))
    print(f"{name}: {line}", end="", flush=True)


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="see --list")
    add("--all", action="store_true", help="run all of them")
    add("--list", action="store_true", help="say what there is, and stop")
    add("--budget", type=float, default=1, help="share of steps and images (default: %(default)s, all)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="of the models (default: 0 1 2)")
    add("--out", type=Path, default=ROOT / "tutorial/results", metavar="DIR", help="default: %(default)s")
    add("--cache", type=Path, default=ROOT / "runs/experiments", metavar="DIR", help="default: %(default)s")
    args = parser.parse_args(argv)
    names = EXPERIMENTS if args.all else args.names
    if args.list or not names:
        for name in EXPERIMENTS:
            print(f"{name:14} {importlib.import_module(name).__doc__.splitlines()[0]}")
        return 0
    for name in names:
        if name not in EXPERIMENTS:
            parser.error(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    if not 0 < args.budget <= 1:
        parser.error(f"--budget {args.budget}: above 0, at most 1")
    args.out.mkdir(parents=True, exist_ok=True)
    for done, name in enumerate(names, 1):
        run(name, Lab(args.cache, args.budget, tuple(args.seeds)), args.out)
        print(f"{done} of {len(names)} experiments", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
