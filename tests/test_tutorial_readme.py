"""The tutorial's front page: what it names exists, its map of the paper is complete, its diagrams can be drawn."""
import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "tutorial"
sys.path[:0] = [str(TUTORIAL), str(TUTORIAL / "experiments")]
import clip_minimal
import common
import diagrams
import figure15
import overlap
import run
import tasks
import train_tiny
import zeroshot
from tutorial.extras import convert, fast, large_batches, own_images, pictures, runs

TEXT = (TUTORIAL / "README.md").read_text("utf-8")
CHAPTERS = [f"{i:02}_{name}.ipynb" for i, name in enumerate(
    "supervision tokens text vit resnet loss training zeroshot probes scaling limits real".split(), 1)]
SECTIONS = ("1 2 2.1 2.2 2.3 2.4 2.5 3 3.1 3.1.1 3.1.2 3.1.3 3.1.4 3.1.5 3.2 3.3 4 5 6 7 7.1 7.2 7.3 8 9".split()
            + [f"Appendix {letter}" for letter in "ABCDEF"])
EXTRAS = sorted(path.name for path in TUTORIAL.glob("extras/*.py"))
MODULES = {module.__name__.split(".")[-1]: module for module in (
    clip_minimal, common, convert, fast, figure15, large_batches, overlap, own_images, pictures, runs, tasks, train_tiny,
    zeroshot)}
MODULES |= {"torch": torch, "nn": torch.nn, "F": torch.nn.functional}
OURS = {word for path in [*ROOT.glob("*.py"), *TUTORIAL.glob("extras/*.py")]
        for word in re.findall(r"\w+", path.read_text("utf-8"))}
PYTORCHS = {word for path in [Path(torch.nn.functional.__file__), *Path(torch.nn.modules.__file__).parent.glob("*.py")]
            for word in re.findall(r"\w+", path.read_text("utf-8"))}


def rows(title):
    """The rows of the table below a heading -> lists of cells."""
    below = TEXT.split(f" {title}\n")[1].split("\n#")[0]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in below.splitlines() if line[:1] == "|"][2:]


def exists(name, words=OURS):
    """Whether there is a file or folder of this path, a thing `module.name`, or the word in the code."""
    if "/" in name or re.search(r"\.(py|md|png|ipynb)$", name):
        return name in CHAPTERS or (TUTORIAL / name).exists() or (ROOT / name).exists()
    first, *rest = name.split(".")
    if (thing := MODULES.get(first)) is None:
        return {first, *rest} <= words
    for part in rest:
        thing = getattr(thing, part, None)
    return thing is not None


def test_what_is_named_exists():
    text, glossary = TEXT.split("## The same thing")[0], rows("The same thing in three languages")
    text = re.sub(r"```.*?```", "", text, flags=re.S) + "\n".join(here for _, _, here, _ in glossary)
    ours, theirs = ([name for part in parts for name in re.findall(r"`([A-Za-z_][\w./-]*)`", part)]
                    for parts in ([text], [row[1] for row in glossary]))
    links = [link for link in re.findall(r"\]\(([^)#]+)", TEXT) if not link.startswith("http")]
    assert len(ours) > 150 and len(theirs) > 20 and len(links) > 20, "the patterns see them"
    assert [name for name in ours if not exists(name)] == []
    assert [name for name in theirs if not exists(name, PYTORCHS)] == []
    assert [link for link in links if link not in CHAPTERS and not (TUTORIAL / link).exists()] == []


def test_what_does_not_exist_is_seen():
    for name in ("experiments/figure99.py", "13_more.ipynb", "zeroshot.clasify", "train_tiny.World.drew", "nn.Nothing",
                 "embed_dimension", "figures/none.png", "num_heads", "extras/slow.py", "fast.accelerated"):
        assert not exists(name), name
    assert exists("zeroshot.classify") and exists("embed_dim") and exists("10_scaling.ipynb")
    assert exists("extras/fast.py") and exists("fast.accelerate")
    assert exists("num_heads", PYTORCHS) and not exists("number_heads", PYTORCHS)


def test_commands_are_those_of_the_programs():
    for program in re.findall(r"python ([\w/]+\.py)", TEXT):
        assert (ROOT / program).is_file(), program
    for name in re.findall(r"run\.py (\w+)", TEXT):
        assert name in run.EXPERIMENTS
    options = re.findall(r"python ([\w/]+\.py)[^`\n]* (--[\w-]+)", TEXT)
    options += [("train_tiny.py", option) for option in re.findall(r"`(--[\w-]+)`", TEXT)]
    for program, option in options:
        assert f'"{option}"' in (ROOT / program).read_text("utf-8"), option
    assert 'environ.get("CLIP_BUDGET"' in (TUTORIAL / "chapter.py").read_text("utf-8") and "`CLIP_BUDGET=" in TEXT


def test_chapters_are_listed_in_order_with_their_exercises():
    listed = rows("The chapters")
    assert [re.search(r"\((.*?)\)", row[0])[1] for row in listed] == CHAPTERS
    hints = re.findall(r"^## (\d+)\.(\d+) ", (TUTORIAL / "hints.md").read_text("utf-8"), re.M)
    written = re.findall(r"^## W(\d+) ", (TUTORIAL / "exercises/written.md").read_text("utf-8"), re.M)
    for number, row in enumerate(listed, 1):
        last = max((int(j) for i, j in hints if int(i) == number), default=0)
        between = "–" if last > 2 else ", "
        assert row[2] == (f"{number}.1{between}{number}.{last}, W{number}" if last else "none"), row
        assert (str(number) in written) == bool(last)


@pytest.mark.parametrize("title, expected", [
    ("Sections", SECTIONS), ("Figures", [str(i) for i in range(1, 23)]), ("Tables", [str(i) for i in range(1, 21)])])
def test_the_map_is_complete(title, expected):
    mapped = rows(title)
    assert [re.match(r"Appendix [A-F]|[\d.]+", row[0])[0] for row in mapped] == expected
    for what, chapters, where in mapped:
        assert re.fullmatch(r"–|(\d+(–\d+)?(, )?)+", chapters), what
        assert all(1 <= int(number) <= 12 for number in re.findall(r"\d+", chapters)), what
        assert "`" in where or "left out" in where, what


def test_every_experiment_and_every_extra_has_its_place():
    assert [name for name in run.EXPERIMENTS if f"`experiments/{name}.py`" not in TEXT] == []
    assert EXTRAS and [name for name in EXTRAS if f"`extras/{name}`" not in TEXT] == []


def test_glossary():
    glossary = rows("The same thing in three languages")
    assert 25 <= len(glossary) <= 40
    assert all(len(row) == 4 and all(row) for row in glossary)


def test_diagrams(tmp_path):
    diagrams.main(tmp_path)
    names = ["architecture.png", "classifier.png", "prediction.png", "pretraining.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    for name in names:
        new, committed = (np.asarray(Image.open(folder / name).convert("L"), float)
                          for folder in (tmp_path, TUTORIAL / "figures"))
        assert new.shape == committed.shape and new.shape[1] == 1100
        assert new.std() > 20 and abs(new - committed).mean() < 3, "what is committed was drawn by another version"
        assert f"(figures/{name})" in TEXT and (TUTORIAL / "figures" / name).stat().st_size <= 150_000


@pytest.mark.parametrize("name, layers, parts", [
    ("ViT-B/32", 1, ["conv1", "ln_pre", "ln_post"]),
    ("RN50", (1, 1, 1, 1), ["bn3", "layer1", "layer2", "layer3", "layer4", "attnpool.k_proj"])])
def test_shapes_in_the_diagram_are_the_model_s(name, layers, parts):
    config, seen = replace(clip_minimal.CONFIGS[name], vision_layers=layers, transformer_layers=1), []  # to save time
    with torch.device("meta"):  # shapes without contents
        model = clip_minimal.CLIP(config).eval()
        parts = ["token_embedding", "ln_final", *(f"visual.{part}" for part in parts), "visual"]
        for part in parts:
            model.get_submodule(part).register_forward_hook(lambda module, x, y: seen.append(tuple(y.shape[1:])))
        R = config.image_resolution
        feature = model.encode_text(torch.empty(1, config.context_length, dtype=torch.long)).shape[1:]
        model.encode_image(torch.empty(1, 3, R, R))
    text, image = diagrams.shapes(config)
    assert (text, image) == ([*seen[:2], tuple(feature)], [(3, R, R), *seen[2:]])
    assert diagrams.shapes(replace(config, embed_dim=64))[1][-1] == (64,)
