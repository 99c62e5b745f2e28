"""What the chapters share: how much of the work to do, source shown where it is discussed, a trained model, the end.

    python tutorial/chapter.py        after a change of the code: the source that the chapters show is printed anew
"""
import ast
import contextlib
import csv
import inspect
import io
import json
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


def show_cells(notebook):
    """A notebook -> [(cell, text), ...]: the cells that do nothing but show source, and what they print now."""
    names = {}
    found = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        code = "".join(cell["source"])
        lines = [ast.unparse(statement) for statement in ast.parse(code).body]
        for line in lines:
            if line.startswith(("import ", "from ")):
                exec(line, names)
        if all(line.startswith(("show(", "print()")) for line in lines):
            with contextlib.redirect_stdout(io.StringIO()) as printed:
                exec(code, names)
            found.append((cell, printed.getvalue()))
    return found


def show_again():
    """In all chapters, replace the source that was printed by what it is now. Nothing else is run."""
    for path in sorted(HERE.glob("[01]*.ipynb")):
        notebook = json.loads(path.read_text("utf-8"))
        for cell, text in show_cells(notebook):
            cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": text.splitlines(keepends=True)}]
        path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", "utf-8")


def steps(full, least=2):
    """How many of `full` steps, images or rounds this budget has."""
    return max(least, round(full * BUDGET))


def trained():
    """-> (model, tokenizer) of `python train_tiny.py`, which is run now if it was not yet: two to four minutes."""
    out = HERE.parent / "runs" / ("tiny" if BUDGET == 1 else f"tiny-{BUDGET:g}")
    settings = ["--steps", str(steps(train_tiny.STEPS["tiny-RN"], 60)), "--batch-size", str(min(256, steps(2560)))]
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


if __name__ == "__main__":
    show_again()
