"""What the chapters share: how much of the work to do, source shown where it is discussed, a trained model, the end."""
import csv
import inspect
import os
import platform
import sys
import textwrap
import time
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import torch

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE / "experiments")]
import train_tiny
from clip_minimal import load

BUDGET = float(os.environ.get("CLIP_BUDGET", 1))  # the share of training steps and images that a chapter works with
START = time.time()
plt.switch_backend(plt.get_backend())  # now, so that notebooks show figures that were made without pyplot, too


def show(thing, start="", lines=None):
    """Print the source of a function or class, from the line that holds `start`, and no more than so many lines."""
    source = textwrap.dedent(inspect.getsource(thing)).splitlines()
    first = next(i for i, line in enumerate(source) if start in line)
    print("\n".join(source[first:][:lines]))


def steps(full, least=2):
    """How many of `full` steps, images or rounds this budget has."""
    return max(least, round(full * BUDGET))


def trained():
    """-> (model, tokenizer) of `python train_tiny.py`, which is run now if it was not yet: 3.6 minutes on two cores."""
    out = HERE.parent / "runs" / ("tiny" if BUDGET == 1 else f"tiny-{BUDGET:g}")
    settings = ["--steps", str(steps(1700, 60)), "--batch-size", str(min(256, steps(2560)))]
    if not (out / "clip.pt").exists() and train_tiny.main(["--out", str(out), *settings]):
        raise RuntimeError("training did not end well; its last line says why")
    return load(out / "clip.pt")


def table(name):
    """The rows of results/name.csv as dicts: what is a number as a float, all else as text."""
    def value(text):
        try:
            return float(text)
        except ValueError:
            return text

    with open(HERE / f"results/{name}.csv", encoding="utf-8") as file:
        return [{key: value(text) for key, text in row.items()} for row in csv.DictReader(file)]


def ending():
    """Print how long the chapter has run, on what."""
    print(f"{(time.time() - START) / 60:.1f} minutes on {platform.machine()}, {os.cpu_count()} cores, "
          f"{torch.get_num_threads()} threads; Python {platform.python_version()}, torch {torch.__version__}, "
          f"numpy {np.__version__}, matplotlib {matplotlib.__version__}; {time.strftime('%Y-%m-%d')}")
