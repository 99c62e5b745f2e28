"""The models of different sizes and what is drawn of them, on known answers."""
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import common
import figure4
import lab
import scaling
import sizes
from clip_minimal import CLIP, Tokenizer
from lab import Lab
from tasks import TASKS, examples
from train_tiny import World


def test_operations_of_the_models():
    """ViT-64/16 by hand, in multiply-adds: 9 patches of 768 numbers, two blocks, a projection from 64 to 128.

    A block does for each of 10 tokens: queries, keys, values, output and MLP, and two products with 10 tokens.
    """
    patches = 9 * 768 * 64
    block = 10 * (12 * 64 ** 2 + 2 * 10 * 64)
    projection = 64 * 128
    multiply_adds = patches + 2 * block + projection
    assert sizes.megaflops(sizes.MODELS["ViT-64/16"]) == pytest.approx(2e-6 * multiply_adds, rel=1e-12)
    for kind, times in ((True, 100), (False, 20)):
        series = [sizes.megaflops(config) for name, config in sizes.MODELS.items() if sizes.resnet(name) == kind]
        assert series == sorted(series) and series[-1] > times * series[0]
    assert len({(c.embed_dim, c.image_resolution, c.transformer_width, c.transformer_layers, c.context_length)
                for c in sizes.MODELS.values()}) == 1, "all but the image encoder is alike"


def test_full_budget_leaves_nothing_out():
    lab = Lab(Path("unused"))
    assert sizes.some_models(lab) == list(sizes.MODELS) and sizes.some_tasks(lab) == list(TASKS)
    assert len(set(scaling.PROBED)) == 12 and all(TASKS[name].size("train") for name in scaling.PROBED)
    assert len({TASKS[name].group for name in TASKS if TASKS[name].size("train") and TASKS[name].group != "relations"}
               - {TASKS[name].group for name in scaling.PROBED}) == 0


def test_a_model_is_trained_once_on_its_own_settings(tmp_path, monkeypatch):
    calls = []

    def train(data, model, tokenizer, steps, batch_size, lr, warmup, muon):
        assert data.evaluate(model, tokenizer, 300) == {}, "tasks measure it"
        assert not muon
        calls.append((steps, batch_size, lr, data.names_until))
        torch.nn.init.constant_(model.ln_final.bias, 7)

    monkeypatch.setattr(sizes, "train", train)
    monkeypatch.setattr(lab, "make_tokenizer", lambda seed: Tokenizer([]))
    for budget, name in ((1, "RN-4"), (1, "RN-4"), (1, "ViT-64/16"), (0.1, "RN-4")):
        model, _ = sizes.clip(Lab(tmp_path, budget), 0, name)
        assert (model.ln_final.bias == 7).all() and not model.training, "what was trained is what is loaded"
    assert calls == [(1700, 256, 4e-3, 1300), (1700, 256, 2e-3, 1300), (170, 128, 4e-3, 130)]
    monkeypatch.setattr(Lab, "clip", lambda lab, seed: f"train_tiny.py's, seed {seed}")
    assert sizes.clip(Lab(tmp_path), 3, "RN-16") == "train_tiny.py's, seed 3"


def test_ways_are_those_of_the_zero_shot_classifier():
    torch.manual_seed(0)
    tokenizer, config = Tokenizer.train(World().texts()[:200], 600), sizes.MODELS["RN-4"]
    model, lab = CLIP(sizes.replace(config, vocab_size=len(tokenizer.vocab))).eval(), Lab(Path("unused"), 0.02)
    row, = figure4.by_way(lab, "RN-4", config, 5, model, tokenizer, ["animals"])
    images, labels = examples("animals", "test", lab.size("animals", "test"))
    names = ["cat", "mouse", "cow", "monkey"]
    assert (row["task"], row["seed"], row["chance"]) == ("animals", 5, 0.25)
    for way, templates, classes in (("bare names", ["{}"], names), ("ensemble", None, None),
                                    ("one sentence", ["a picture of {}"], [f"a {name}" for name in names])):
        assert row[way] == common.zero_shot(model, tokenizer, "animals", images, labels, templates, classes)


def test_slope_of_a_power_law():
    """Errors of four tasks that fall with the square root of the operations, and one of three ResNets' figure."""
    x = np.array([1., 10, 100, 1000])
    errors = [[8 / a ** 0.5, 2 / a ** 0.5, 4 / a ** 0.5] for a in x]
    assert scaling.slope(x, errors) == pytest.approx(-0.5)
    assert scaling.slope(x, [[30, 50]] * 4) == pytest.approx(0)


def test_the_line_goes_through_resnets_alone():
    rows = [{"model": name, "MFLOPs": sizes.megaflops(config), "task": task, "seed": 0, "chance": 0.1, "probe": "",
             "zero-shot": 1 - 0.5 * part * sizes.megaflops(config) ** -0.2 if sizes.resnet(name) else 0.3}
            for name, config in sizes.MODELS.items() for task, part in (("a", 1), ("b", 0.8), ("c", 0.6))]
    for row in rows:
        row["probe"] = 0.5 if row["task"] == "a" else ""
    x, y = scaling.table(rows, "probe", False)
    assert len(x) == 3 and (y == 50).all() and y.shape == (3, 1), "tasks without a probe are left out"
    left, right = scaling.draw(rows).axes
    label = next(text.get_text() for text in left.get_legend().get_texts() if "slope" in text.get_text())
    assert label == "slope -0.200 (95 % over tasks -0.200 to -0.200)"
    assert "12 tasks" not in right.get_title() and "mean of 1 tasks" in right.get_title()
