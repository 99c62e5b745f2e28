"""The experiments of the paper in miniature: each a table (CSV) and a figure (PNG) in tutorial/results.

    python tutorial/experiments/run.py --list
    python tutorial/experiments/run.py figure4 figure8          some of them; what is done already is skipped
    python tutorial/experiments/run.py --all --budget 0.1       all, with a tenth of the training steps and images
    python tutorial/experiments/run.py scaling --device cuda    models are trained on a GPU: the default where there is one

Trained models and measurements are kept in runs/experiments, so that an interrupted run goes on where it was.
"""
import argparse
import importlib
import os
import platform
import sys
import time
from pathlib import Path

import torch

if __name__ == "__main__":
    # figures are drawn into files: the backend that this variable names is not needed, and may not be installed
    os.environ.pop("MPLBACKEND", None)
sys.path.append(str(Path(__file__).resolve().parents[2]))
import zeroshot
from clip_minimal import write
from common import write_table
from lab import Lab
from tutorial.extras.pictures import save_figure

ROOT = Path(__file__).resolve().parents[2]
EXPERIMENTS = ["number_to_text", "figure2", "convirt", "figure4", "figure5", "figure6", "figure7", "figure8",
               "figure13", "figure15", "ngrams", "detection", "overlap", "quiz", "scaling", "bill", "matches", "limits",
               "reranking", "typographic", "table13", "relations"]


def machine(device):
    """What the times were measured on, in one line."""
    parts = [platform.machine(), f"{os.cpu_count()} cores", f"{torch.get_num_threads()} threads"]
    if device != "cpu":
        parts.append(f"models trained on {device}")
    return ", ".join([*parts, f"torch {torch.__version__}"])


def headline(experiment):
    """The first line of an experiment's docstring: what it is about."""
    return experiment.__doc__.splitlines()[0]


def run(name, lab, out):
    """Do one experiment: measure, write the table, draw the figure, and log how long it took.

    If the log says that it was done with this budget and these seeds, it is not done again.
    """
    settings = f"budget {lab.budget:g}, seeds {list(lab.seeds)},"
    log = out / f"{name}.log"
    if log.exists() and log.read_text().startswith(settings):
        print(f"{name}: done already; delete {log} to do it again")
        return
    experiment = importlib.import_module(name)
    start = time.time()
    print(f"{name}: {headline(experiment)}", flush=True)
    rows = experiment.measure(lab)
    write_table(out / f"{name}.csv", rows)
    figure = experiment.draw(rows)
    save_figure(figure, out / f"{name}.png", dpi=110, bbox_inches="tight")
    # only now, so that what was interrupted does not count as done
    minutes = (time.time() - start) / 60
    line = f"{settings} {minutes:.1f} minutes on {machine(lab.device)}\n"
    write(log, lambda file: file.write(line.encode()))
    print(f"{name}: {line}", end="", flush=True)


def parse(argv):
    """The command line's options; --all becomes all names."""
    parser = argparse.ArgumentParser(prog="run.py", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="see --list")
    add("--all", action="store_true", help="run all of them")
    add("--list", action="store_true", help="say what there is, and stop")
    add("--budget", type=float, default=1, help="share of steps and images (default: %(default)s, all)")
    add("--seeds", type=int, nargs="+", default=[0, 1, 2], metavar="N", help="of the models (default: 0 1 2)")
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu",
        help="where models are trained (default here: %(default)s)")
    add("--out", type=Path, default=ROOT / "tutorial/results", metavar="DIR", help="default: %(default)s")
    add("--cache", type=Path, default=ROOT / "runs/experiments", metavar="DIR", help="default: %(default)s")
    args = parser.parse_args(argv)
    if args.all:
        args.names = EXPERIMENTS
    # without a name there is nothing to do but to say which there are
    if not args.names:
        args.list = True
    if args.list:
        return args
    for name in args.names:
        if name not in EXPERIMENTS:
            parser.error(f"no experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    if not 0 < args.budget <= 1:
        parser.error(f"--budget {args.budget}: above 0, at most 1")
    try:
        zeroshot.check_device(args.device)
    except ValueError as error:
        parser.error(str(error))
    return args


def main(argv=None):
    """The command line. Exit status 2 and one line for what can't be done."""
    args = parse(argv)
    if args.list:
        for name in EXPERIMENTS:
            experiment = importlib.import_module(name)
            print(f"{name:14} {headline(experiment)}")
        return 0
    lab = Lab(args.cache, args.budget, tuple(args.seeds), args.device)
    args.out.mkdir(parents=True, exist_ok=True)
    torch.set_float32_matmul_precision("medium")  # as train_tiny.py does, for speed
    try:
        for done, name in enumerate(args.names, 1):
            run(name, lab, args.out)
            print(f"{done} of {len(args.names)} experiments", flush=True)
    finally:
        torch.set_float32_matmul_precision("highest")  # PyTorch's default
    return 0


if __name__ == "__main__":
    sys.exit(main())
