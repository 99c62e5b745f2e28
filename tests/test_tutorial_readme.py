"""The tutorial's front page: every part of the paper is in its map, what it names exists, and its diagrams are drawn."""
import re
import sys
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TUTORIAL = ROOT / "tutorial"
sys.path[:0] = [str(TUTORIAL), str(TUTORIAL / "experiments")]
import clip_minimal
import diagrams
import overlap
import train_tiny
import zeroshot

TEXT = (TUTORIAL / "README.md").read_text("utf-8")
MAP = TEXT.split("## Reading alongside the paper")[1].split("## Four diagrams")[0]


def column(heading):
    """The first cells of the table that begins with this heading."""
    rows = MAP.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return [row.split("|")[1].strip() for row in rows]


def test_all_of_the_paper_is_in_the_map():
    sections = column("section")
    for name in "1 2.1 2.2 2.3 2.4 2.5 3.1.1 3.1.2 3.1.3 3.1.4 3.1.5 3.2 3.3 4 5 6 7".split():
        assert any(row.split()[0] == name for row in sections), name
    assert [row.split()[1] for row in sections if row.startswith("Appendix")] == list("ABCDEF")
    assert [int(row.split()[0]) for row in column("figure")] == list(range(1, 23))
    tables = [int(n) for row in column("table") for n in re.findall(r"\b\d+\b", re.split(r" [a-zA-Z]", row)[0])]
    assert tables == list(range(1, 21))


def test_what_is_named_exists():
    for link in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert link.startswith("http") or (TUTORIAL / link).exists(), link
    for name in re.findall(r"`([a-z_0-9]+\.py)`", TEXT):
        assert (TUTORIAL / "experiments" / name).exists(), name
    modules = {module.__name__: module for module in (clip_minimal, train_tiny, zeroshot, overlap)}
    for module, name in re.findall(r"`(clip_minimal|train_tiny|zeroshot|overlap)\.([A-Za-z_]\w+)`", TEXT):
        assert name == "py" or hasattr(modules[module], name), f"{module}.{name}"
    sources = "\n".join(path.read_text("utf-8") for path in [*ROOT.glob("*.py"), *TUTORIAL.rglob("*.py")])
    glossary = [row.split("|")[3] for row in TEXT.split("## Glossary")[1].splitlines()[4:] if row.startswith("|")]
    for name in re.findall(r"`(\w+)`", "".join(glossary)):
        assert re.search(rf"\b{name}\b", sources), name


def test_diagrams_are_drawn_and_committed_as_they_are(tmp_path):
    diagrams.main(tmp_path)
    for name in diagrams.DIAGRAMS:
        drawn, kept = (np.asarray(Image.open(folder / f"diagram_{name}.png").convert("L"), dtype=float)
                       for folder in (tmp_path, TUTORIAL / "figures"))
        assert drawn.shape == kept.shape and abs(drawn - kept).mean() < 2, f"{name}: run python tutorial/diagrams.py"
        assert drawn.std() > 20


def test_architecture_tells_the_models_shapes():
    parts = [(n, channels) for _, n, channels in diagrams.stages("ViT-B/32")]
    assert parts == [(49, 3072), (50, 768), (50, 768), (1, 768), (1, 512)]
    assert [(side, channels) for _, side, channels in diagrams.stages("RN50")] == [
        (224, 3), (56, 64), (56, 256), (28, 512), (14, 1024), (7, 2048), (1, 1024)]
