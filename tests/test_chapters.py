"""The chapters of the tutorial: their code runs, without Jupyter, on a small share of the work; what their text names
exists; the source that they show is that of today; exercises and hints are those of hints.md; what is committed has
been run to its end."""
import json
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "tutorial"
sys.path[:0] = [str(TUTORIAL), str(TUTORIAL / "experiments")]
import chapter
import make_exercises
from test_tutorial_readme import MODULES, SECTIONS

PATHS = sorted(TUTORIAL.glob("[01]*.ipynb"))
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)


def cells(path, kind):
    """The texts of a chapter's cells of this kind."""
    notebook = json.loads(path.read_text("utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def prose(path):
    """What is to be read in a chapter, but for its list of exercises."""
    return "\n\n".join(text for text in cells(path, "markdown") if not text.startswith("## Exercises"))


# ---- What they do ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def runs(request, tmp_path_factory):
    """The code of the chapters asked for, each in a process of its own, two at a time -> {path: what becomes of it}.
    The first alone, as it trains the model that others read: anew, as one from before may have been trained by other
    code. They run beside the tests of other files, and conftest.py puts last those that wait for them."""
    def run(path):
        script = folder / f"{path.stem}.py"
        script.write_text("\n\n".join(cells(path, "code")), "utf-8")
        environment = os.environ | {"CLIP_BUDGET": "0.02", "MPLBACKEND": "agg", "OMP_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, str(script)], cwd=TUTORIAL, env=environment, capture_output=True,
                              text=True, timeout=600)

    def after_the_first(path):
        first.result()
        return run(path)

    asked = [item.callspec.params["path"] for item in request.session.items
             if item.originalname == test_the_code_of_each_chapter_runs.__name__]
    folder, pool = tmp_path_factory.mktemp("chapters"), ThreadPoolExecutor(2)
    if asked:
        shutil.rmtree(ROOT / "runs/tiny-0.02", ignore_errors=True)
        first = pool.submit(run, PATHS[0])
    yield {path: first if path == PATHS[0] else pool.submit(after_the_first, path) for path in asked}
    pool.shutdown(cancel_futures=True)


@each
def test_the_code_of_each_chapter_runs(path, runs):
    result = runs[path].result()
    assert result.returncode == 0, result.stderr[-3000:]
    assert "minutes on" in result.stdout.splitlines()[-1], "the last cell says how long, on what"


def test_chapters_start_alike_and_fetch_the_rest_where_it_is_missing(tmp_path):
    assert len({cells(path, "code")[0] for path in PATHS}) == 1
    fetched, alone = tmp_path / "repository", tmp_path / "alone"
    (fetched / "tutorial").mkdir(parents=True)
    alone.mkdir()
    (fetched / "requirements.txt").write_text("numpy\n")
    (fetched / "tutorial/chapter.py").write_text("BUDGET = ending = show = steps = trained = 'the one fetched'\n")
    for command in ["init -q", "add .", "-c user.name=x -c user.email=x@y commit -qm x"]:
        subprocess.run(["git", *command.split()], cwd=fetched, check=True)
    (alone / "first.py").write_text(cells(PATHS[0], "code")[0] + "\nprint(BUDGET)\n", "utf-8")
    result = subprocess.run([sys.executable, "first.py"], cwd=alone, capture_output=True, text=True,
                            env=os.environ | {"CLIP_REPOSITORY": str(fetched)})
    assert result.stdout == "the one fetched\n", result.stderr


@pytest.mark.parametrize("place", [".", "tutorial", "tutorial/exercises", "tests", ".."])
def test_a_chapter_finds_its_folder_from_where_it_was_opened(tmp_path, place):
    """VS Code may start in the root, papermill in any folder; nothing is fetched then."""
    repository = tmp_path / "repository"
    for folder in ("tutorial/exercises", "tests"):
        (repository / folder).mkdir(parents=True)
    (repository / "tutorial/chapter.py").write_text("BUDGET = ending = show = steps = trained = 'its own'\n")
    script = tmp_path / "first.py"
    script.write_text(cells(PATHS[0], "code")[0] + "\nprint(BUDGET, os.getcwd())\n", "utf-8")
    result = subprocess.run([sys.executable, str(script)], cwd=repository / place, capture_output=True, text=True,
                            env=os.environ | {"CLIP_REPOSITORY": "nowhere"})
    assert result.stdout == f"its own {repository / 'tutorial'}\n", result.stderr


# ---- What they say ---------------------------------------------------------------------------------------------------


def test_there_are_twelve():
    assert [path.name[:2] for path in PATHS] == [f"{i:02}" for i in range(1, 13)]


@each
def test_parts_and_lengths(path):
    text, code = prose(path), cells(path, "code")
    assert text.startswith(f"# {int(path.name[:2])}. ")
    for part in ("**Afterwards you can**", "**In the paper:**", "## Summary", "## Questions", "<details>",
                 "**Where the paper disagrees with itself.**", "**What beginners get wrong.**"):
        assert part in text, f"{part} is missing"
    words = len(re.findall(r"\w[\w'-]*", re.sub(r"```.*?```|<[^>]*>", " ", text, flags=re.S)))
    assert 1500 <= words <= 3000, f"{words} words"
    assert all(len(cell.strip().splitlines()) <= 12 for cell in code[1:]), "blocks are to be short"


@each
def test_what_is_named_exists(path):
    """`module.name` leads somewhere, any other `name` occurs in code that a reader sees; files and sections exist."""
    text = prose(path)
    known = MODULES | {"chapter": chapter, "np": np}
    sources = [*ROOT.glob("*.py"), *TUTORIAL.rglob("*.py")]
    seen = "\n".join([*(file.read_text("utf-8") for file in sources), *cells(path, "code")])
    words = set(re.findall(r"\w+", seen))
    for name in re.findall(r"`([A-Za-z_][\w.]*)(?:\(.*?\))?`", re.sub(r"```.*?```", "", text, flags=re.S)):
        first, *rest = name.split(".")
        if Path(name).suffix in (".py", ".png", ".csv", ".md", ".pt", ".txt", ".json", ".jsonl", ".npz"):
            continue
        if first in known:
            thing = known[first]
            for part in rest:
                thing = getattr(thing, part)
        else:
            assert set(name.split(".")) <= words, name
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert link.startswith("http") or (TUTORIAL / link).exists(), link
    for section in re.findall(r"Sections? (\d[\d.]*\d|\d)", text):
        assert section in SECTIONS, f"the paper has no Section {section}"
    for kind, last in (("Figure", 22), ("Table", 20)):
        assert all(1 <= int(n) <= last for n in re.findall(rf"(?<![\w.]){kind}s? (\d+)", text))


@each
def test_what_is_committed_was_run_to_its_end(path):
    code = [cell for cell in json.loads(path.read_text("utf-8"))["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run all cells once, in order"
    outputs = [output for cell in code for output in cell["outputs"]]
    assert all(output["output_type"] != "error" for output in outputs)
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3, "a figure per idea"
    assert "minutes on" in "".join(code[-1]["outputs"][0]["text"])
    everything = json.dumps(outputs)
    assert "/work/" not in everything and "/tmp/" not in everything, "a path of the machine"


@each
def test_source_that_is_shown_is_that_of_today(path):
    notebook = json.loads(path.read_text("utf-8"))
    for cell, text in chapter.show_cells(notebook):
        printed = "".join(line for output in cell["outputs"] for line in output["text"])
        assert printed == text, f"{''.join(cell['source'])} prints something else now: run python tutorial/chapter.py"
    shown = sum(re.search(r"^show\(", code, re.M) is not None for code in cells(path, "code"))
    assert len(chapter.show_cells(notebook)) == shown, "a cell that shows source must do nothing else"


def test_exercises_and_hints_are_those_of_hints_md():
    for path, text in make_exercises.chapters().items():
        assert path.read_text("utf-8") == text, f"{path.name}: run python tutorial/make_exercises.py"
