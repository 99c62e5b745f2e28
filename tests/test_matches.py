"""What zero-shot is worth in labels, on made-up curves, and which models the experiment asks the lab for."""
import math
import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import matches
import number_to_text


def rows_of(zero, curves):
    """Rows as measure gives them: zero-shot accuracies and supervised curves by seed, on the task; 0.1 under shift."""
    rows = []
    for seed, values in enumerate(curves):
        models = [("CLIP, zero-shot", 768_000, zero[seed])]
        models += [("supervised", pool, value) for pool, value in zip(matches.POOLS, values)]
        for model, pictures, accuracy in models:
            for test in matches.tests():
                rows.append({"seed": seed, "model": model, "pictures": pictures, "named": pictures, "test": test,
                             "accuracy": accuracy if test == matches.TASK else 0.1})
    return rows


CURVE = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]  # with 500, 700, 1,000, 1,400, 2,000 and 4,000 labels


def test_crossings_by_hand():
    """Halfway between 1,000 and 1,400 on the logarithm's scale; at a pool; beyond the last; each seed by its own curve."""
    higher = [value + 0.1 for value in CURVE]
    found = matches.crossings(rows_of([0.35, 0.5, 0.61, 0.5], [CURVE, CURVE, CURVE, higher]))
    assert found == [pytest.approx((1000 * 1400) ** 0.5), pytest.approx(2000), math.inf, pytest.approx(1400)]


def test_the_crossing_is_named():
    words = matches.in_words([1000., 3000., 2000.], matches.POOLS)
    assert "worth 2,000 labels" in words and "1,000, 3,000, 2,000" in words
    assert "all 4,000 labels are not enough" in matches.in_words([1000., math.inf, math.inf], matches.POOLS)
    assert "fewer than 500" in matches.in_words([125.], matches.POOLS)


def test_the_figure_has_the_curve_that_ends_and_the_crossing():
    figure = matches.draw(rows_of([0.35, 0.35], [CURVE, CURVE]))
    left, right = figure.axes
    mean = left.lines[0]
    assert list(mean.get_xdata()) == matches.POOLS and mean.get_ydata() == pytest.approx([100 * x for x in CURVE])
    assert "worth 1,183 labels" in figure.get_suptitle()
    assert right.lines[0].get_ydata() == pytest.approx([10] * 6)


class Lab:
    """Notes what it is asked for; its models are names."""

    budget = 1
    seeds = (5, 7)

    def __init__(self):
        self.asked = []

    def size(self, name, split):
        return 40

    def clip(self, seed):
        return f"clip {seed}", None

    def occurrences(self, name):
        return [30, 270]

    def image_model(self, seed, kind, pool=None):
        self.asked.append((seed, kind, pool))
        return pool


def test_each_pool_is_trained_for_each_seed_and_captions_are_counted(monkeypatch):
    """Of 768,000 captions those of the objects are 300 in 30,000."""
    lab = Lab()
    monkeypatch.setattr(matches, "zero_shot", lambda model, *rest: 0.5 if model == "clip 7" else 0.25)
    monkeypatch.setattr(matches, "number_scores", lambda model, name, images: images[:, 0, 0, :1].expand(-1, 100))
    rows = matches.measure(lab)
    assert lab.asked == [(seed, "supervised", pool) for seed in (5, 7) for pool in matches.POOLS]
    clip = [row for row in rows if row["model"] != "supervised" and row["test"] == matches.TASK]
    assert [(row["seed"], row["pictures"], row["named"], row["accuracy"]) for row in clip] == [
        (5, 768_000, 7680, 0.25), (7, 768_000, 7680, 0.5)]


def test_numbers_answer_only_what_they_name(monkeypatch):
    """nan where a class is none of the hundred, and the title counts the others."""
    monkeypatch.setattr(number_to_text, "number_scores", lambda model, name, images: None)
    assert math.isnan(number_to_text.answer(Lab(), None, "colours"))
    rows = []
    for name, number in (("objects", 0.5), ("colours", math.nan)):
        rows.append({"task": name, "group": "g", "seed": 0, "chance": 0.1, "text, zero-shot": 0.625, "text, probe": 0.7,
                     "number, as it is": number, "number, probe": 0.6})
    words = number_to_text.in_words(rows)
    assert "text answers 2 of 2, numbers 1" in words and "text 62.5 %, numbers 50.0 %" in words
    assert number_to_text.draw(rows).get_size_inches()[0] == 8.5
