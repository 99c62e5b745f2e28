"""The experiments' own arithmetic on known answers, and each of them from models to table and figure, with models that
know nothing and few images."""
import csv
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import common
import convirt
import figure4
import figure5
import figure6
import figure7
import figure8
import lab
import limits
import number_to_text
import overlap
import run
import sizes
import table13
import typographic
from clip_minimal import CONFIGS
from lab import Lab
from tasks import TASKS
from train_tiny import COLOURS, OBJECTS, RELATIONS


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for models and measurements. The models that experiments share are small, and stay untrained."""
    with pytest.MonkeyPatch.context() as patch:
        small = replace(CONFIGS["tiny-RN"], embed_dim=64, vision_width=4, transformer_width=64)
        patch.setitem(CONFIGS, "tiny-RN", small)
        for train in ("train", "train_images"):
            patch.setattr(lab, train, lambda *arguments, **options: None)
        yield tmp_path_factory.mktemp("cache")


# ---- Arithmetic ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target, expected", [
    (0.2, 2), (0.25, 2 * 2 ** 0.5), (0.45, 8 * 2 ** 0.5), (0.05, 2 ** -0.5), (-1, 0.5),
    (0.6, 16 * 4 ** 0.5), (0.71, math.inf)])
def test_examples_to_match_on_a_made_up_curve(target, expected):
    """A tenth more for each doubling up to 16, two tenths more from 16 to 64."""
    shots, values = [1, 2, 4, 8, 16, 64], [0.1, 0.2, 0.3, 0.4, 0.5, 0.7]
    assert common.examples_to_match(shots, values, target) == pytest.approx(expected)


def test_examples_to_match_where_the_curve_falls():
    assert common.examples_to_match([1, 2, 4], [0.5, 0.4, 0.6], 0.45) == 1, "one is enough already"
    assert common.examples_to_match([1, 2, 4], [0.1, 0.3, 0.4], 0.2) == pytest.approx(2 ** 0.5), "on the first line"
    assert common.examples_to_match([1, 2, 4], [0.3, 0.2, 0.6], 0.4) == pytest.approx(2 * 2 ** 0.5)


def test_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(1).normal(3, 2, 400)
    low, high = common.interval(np.mean, values)
    half = 1.96 * values.std() / 20
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)
    x = np.arange(50.)
    assert common.interval(figure8.correlation, x, 2 * x + 1) == pytest.approx((1, 1)), "rows stay together"


def test_interval_over_tasks_and_seeds():
    """Tasks that are alike and seeds that are not: the interval is that of the seeds; and the other way round."""
    seeds = np.random.default_rng(2).normal(0, 1, 40)
    low, high = common.interval(np.mean, np.tile(seeds, (30, 1)))
    half = 1.96 * seeds.std() / 40 ** 0.5
    assert (low, high) == pytest.approx((seeds.mean() - half, seeds.mean() + half), abs=0.15 * half)
    tasks = seeds[:, None].repeat(3, axis=1)
    assert common.interval(np.mean, tasks) == pytest.approx(common.interval(np.mean, seeds))


def test_values_of_seeds_stand_in_a_row():
    rows = [{"task": task, "seed": seed, "x": x} for task, seed, x in (("a", 0, 1), ("b", 0, 2), ("a", 1, 3), ("b", 1, 4))]
    assert common.of_seeds(rows, "x").tolist() == [[1, 3], [2, 4]]


def test_rank_correlation_on_known_answers():
    """Of any rising curve 1; with ties, ranks are shared; without, 1 - 6 sum of squared differences / (n³ - n)."""
    x = np.array([3., 1, 4, 1.5, 9, 2])
    assert figure5.ranks([5, 3, 5, 9]).tolist() == [1.5, 0, 1.5, 3]
    assert figure5.rank_correlation(x, np.exp(x)) == pytest.approx(1)
    y = np.array([2., 7, 1, 8, 2.5, 8.5])
    rank_x, rank_y = np.array([3, 0, 4, 1, 5, 2]), np.array([1, 3, 0, 4, 2, 5])
    assert figure5.rank_correlation(x, y) == pytest.approx(1 - 6 * ((rank_x - rank_y) ** 2).sum() / (6 ** 3 - 6))


def test_share_of_each_things_pictures_that_are_named(monkeypatch):
    """Two pictures of each: of thing 0 one is taken for thing 1, of thing 7 both are; those of all others are named."""
    N = len(figure5.web.NAMES)
    things = torch.arange(2 * N) % N
    taken_for = things.clone()
    taken_for[[0, 7, N + 7]] = 1
    monkeypatch.setattr(figure5, "draw_pool", lambda kind, split, n: (torch.zeros(2 * N, 3, 1, 1), things))
    monkeypatch.setattr(figure5.zeroshot, "encode_images", lambda model, images: torch.eye(N)[taken_for])
    monkeypatch.setattr(figure5.zeroshot, "zero_shot_classifier", lambda model, tokenizer, names: torch.eye(N))
    named = figure5.things_named(Lab(Path("unused")), None, None)
    assert named[0] == 0.5 and named[7] == 0 and sum(named) == N - 1.5


def test_occurrences_are_counted_once_in_the_webs_captions(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(lab.web.Web, "texts", lambda self: calls.append(1) or ["a spade", "a red heart", "a heart"])
    for _ in range(2):
        found = dict(zip(TASKS["card suits"].classes, Lab(tmp_path).occurrences("card suits")))
    assert len(calls) == 1 and sorted(found.values()) == [0, 0, 1, 2]


def test_names_stand_beside_their_points():
    """To the right; to the left if a point is there or the plot ends; below if a name before it is in the way."""
    assert figure8.beside(["sun", "sun"], [50, 80], [50, 50]) == [(False, False)] * 2
    assert figure8.beside(["sun"], [103], [50]) == [(True, False)]
    assert figure8.beside(["cats", "suns"], [48, 50], [50, 50]) == [(True, False), (False, False)]
    assert figure8.beside(["sun"] * 3, [48, 50, 52], [50] * 3) == [(True, False), (False, False), (False, True)]


def test_few_takes_so_many_of_each_class():
    labels = torch.arange(300) % 7
    chosen = common.few(labels, 4, 0)
    assert len(chosen.unique()) == 28 and (labels[chosen].bincount() == 4).all()
    assert torch.equal(chosen, common.few(labels, 4, 0)) and not torch.equal(chosen, common.few(labels, 4, 1))


def test_measurements_are_made_once(tmp_path):
    calls = []
    for budget in (1, 1, 0.5):
        assert Lab(tmp_path, budget).remember(["x", 1], lambda: calls.append(1) or {"a": [0.1]}) == {"a": [0.1]}
    assert len(calls) == 2, "another budget is another measurement"
    with pytest.raises(KeyboardInterrupt):
        Lab(tmp_path).remember(["y"], lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    assert Lab(tmp_path).remember(["y"], lambda: 3) == 3


def test_keys_change_with_code_and_not_with_sentences(tmp_path):
    """A changed number makes new models and measurements; a changed docstring or comment leaves them what they are."""
    path = tmp_path / "code.py"

    def key(source):
        path.write_text(source, encoding="utf-8")
        common.code_key.cache_clear()
        return common.code_key((path,))

    first = key('"""Of it."""\nclass A:\n    """One."""\n    x = 1\n\n\ndef f():\n    """Two."""\n    return "Three."\n')
    told = key('"""About."""\nclass A:\n    """1."""\n    x = 1  # one\n\ndef f():\n    # so\n    return "Three."\n')
    number = key('class A:\n    x = 2\n\n\ndef f():\n    return "Three."\n')
    text = key('class A:\n    x = 1\n\n\ndef f():\n    return "Four."\n')
    assert told == first and len({first, number, text}) == 3


def test_changed_code_makes_models_and_measurements_anew(tmp_path, monkeypatch):
    calls = []
    for code in ("a", "a", "b"):
        monkeypatch.setattr(lab, "code_key", lambda paths: code)
        Lab(tmp_path).remember(["x"], lambda: calls.append("measured"))
        Lab(tmp_path).trained("y", torch.nn.Linear(1, 1), lambda module: calls.append("trained"))
    assert calls == 2 * ["measured", "trained"]


def test_what_the_two_models_of_the_lab_learn_from(cache, monkeypatch):
    """web.py's stream for 3,000 steps and train_tiny.py's for 720, at a hundredth of them, each once."""
    calls = []
    monkeypatch.setattr(lab.web.Web, "texts", lambda self: ["a red sun", "a blue cat"])
    monkeypatch.setattr(lab, "make_tokenizer", lambda seed: lab.Tokenizer([]))
    monkeypatch.setattr(lab, "train", lambda data, model, tokenizer, steps, **options: calls.append(
        (type(data), data.seed, steps, getattr(data, "names_until", 0))))
    for _ in range(2):
        Lab(cache, 0.01).clip(7)
        Lab(cache, 0.01).world_clip(7)
    assert calls[0][:3] == (lab.web.Web, 7, 30) and calls[1:] == [(lab.World, 7, 7, round(0.8 * 7))]


def test_a_stopped_training_goes_on(tmp_path, monkeypatch):
    """From the state that it kept; and no states are left beside the model."""
    seen = []

    def train(data, model, tokenizer, steps, state, keep):
        seen.append(state and state["step"])
        keep({"step": 50, "history": [{}]})
        if state is None:
            raise KeyboardInterrupt

    monkeypatch.setattr(lab, "train", train)
    monkeypatch.setattr(lab, "save", lambda path, model, tokenizer: path.write_text("whole"))
    with pytest.raises(KeyboardInterrupt):
        lab.train_and_keep(tmp_path / "clip.pt", None, None, None, 100)
    lab.train_and_keep(tmp_path / "clip.pt", None, None, None, 100)
    assert seen == [None, 50] and [path.name for path in tmp_path.iterdir()] == ["clip.pt"]


def test_perfect_features_and_random_ones(cache, monkeypatch):
    """Features that are the label: probes of any size are right. Features without it: they guess."""
    def perfect(lab, model, name, each):
        return [(torch.eye(4)[labels], labels) for labels in torch.arange(600).chunk(3) for labels in [labels % 4]]

    def noise(lab, model, name, each):
        return [(torch.randn(len(x), 30), labels) for x, labels in perfect(lab, model, name, each)]

    for name, features, low, high in (("card suits", perfect, 1, 1), ("animals", noise, 0.15, 0.35)):
        monkeypatch.setattr(common, "splits", features)
        values = common.scores_on_task(Lab(cache, 0.02), 0, name, [1, 4])
        assert set(values) == {"zero-shot", "probe", "1", "4"}
        assert all(low <= values[key] <= high for key in ("probe", "1", "4")), values


def test_captions_of_the_limits_by_hand():
    sun, cat = list(OBJECTS).index("sun"), list(OBJECTS).index("cat")
    red, orange = list(COLOURS).index("red"), list(COLOURS).index("orange")
    assert limits.captions([[sun, cat]], [[red, orange]], [2]) == ["a red sun above an orange cat"]
    images, right, wrong = limits.scenes(200)
    for text, *others in zip(right, *wrong.values()):
        assert len({text, *others}) == 7, "each is wrong in another way"
        word = next(word for word in RELATIONS if f" {word} " in text)
        first, second = text.split(f" {word} ")
        mirror = {"to the left of": "to the right of", "above": "below"}
        mirror |= {b: a for a, b in mirror.items()}
        assert others[4] == f"{first} {mirror[word]} {second}" and others[5] == f"{second} {word} {first}"
        assert others[2].startswith(first) and others[2].endswith(second)
        assert not any(f" {w} " in others[2] for w in (word, mirror[word]))
        colours = [phrase.split()[1] for phrase in (first, second)]
        assert [phrase.split()[1] for phrase in others[3].split(f" {word} ")] == colours[::-1]


def test_the_attack_changes_what_is_written_and_nothing_else(monkeypatch):
    """Under either name the ground is the same; a model that reads alone says the word, and both say the object else."""
    labels, words, images = typographic.pictures(40)
    assert list(images) == ["nothing", "its own name", "another's name", typographic.ALONE] and (labels != words).all()
    _, own, other, alone = images.values()
    assert torch.equal(own[:, :, 0], other[:, :, 0]), "the ground is the same, at the upper edge"
    assert all((a - b).abs().amax() > 0.5 for a, b in zip(own, other))

    def encode_images(model, pixels):
        """Of a model that reads, the words over the others' names; of a word alone the next one for who can't read."""
        answers = labels
        if model == "reads" and torch.equal(pixels, other):
            answers = words
        if model != "reads" and torch.equal(pixels, alone):
            answers = (labels + 1) % 10
        return torch.nn.functional.one_hot(answers, 10).float()

    monkeypatch.setattr(typographic, "pictures", lambda n: (labels, words, images))
    monkeypatch.setattr(typographic.zeroshot, "encode_images", encode_images)
    monkeypatch.setattr(typographic, "classifier", lambda *_: torch.eye(10))
    monkeypatch.setattr(Lab, "clip", lambda lab, seed: ("reads", None))
    monkeypatch.setattr(Lab, "world_clip", lambda lab, seed: ("does not", None), raising=False)
    rows = typographic.measure(Lab(Path("unused"), seeds=(0, 1)))
    assert len(rows) == 2 * 2 * 4
    for row in rows:
        if row["written"] == typographic.ALONE:
            assert row["reads the word"] == (row["model"] == typographic.MODELS[0])
            continue
        attacked = row["model"] == typographic.MODELS[0] and row["written"] == "another's name"
        assert (row["says the true name"], row["says the other name"]) == ((0, 1) if attacked else (1, 0))


def test_captions_of_table_13_have_no_prefix_and_the_gain_is_of_recall_at_1():
    _, captions, relevant = table13.scenes(60)
    assert not any(text.startswith(("a picture", "a drawing")) for text in captions) and relevant.diagonal().all()
    rows = [{"prefix": prefix, "recall": recall, "seed": seed, "chance": 0.1, "value": 0.5 + gain * (prefix != "none")}
            for recall, gain in (("image to text R@1", 0.02), ("text to image R@1", 0.04), ("image to text R@5", 0.3))
            for prefix in table13.PREFIXES for seed in (0, 1)]
    assert table13.gain_of_prefix(rows) == "+3.0 points"


# ---- From models to figures ------------------------------------------------------------------------------------------


LONG = "figure2", "scaling", "relations", "ngrams", "matches", "figure6", "overlap", "figure15"  # two seconds and more


@pytest.mark.parametrize("name", [
    pytest.param(name, marks=pytest.mark.slow) if name in LONG else name for name in run.EXPERIMENTS])
def test_each_experiment_writes_its_table_and_draws_its_figure_once(name, cache, tmp_path, monkeypatch, capsys):
    some = {task: TASKS[task] for task in ("scenery", "binding", "two objects", "card suits", "cells", "grey")}
    for module in (figure4, figure5, figure6, figure7, figure8, number_to_text, sizes):  # each probe is sixteen fits
        monkeypatch.setattr(module, "TASKS", some)
    for module in (figure6, figure7):
        monkeypatch.setattr(module, "SHOTS", [1, 16])
    monkeypatch.setattr(overlap, "STEPS", 250)
    monkeypatch.setattr(sizes, "STEPS", 100)
    monkeypatch.setattr(sizes, "SEARCH_STEPS", 100)
    monkeypatch.setattr(Lab, "occurrences", lambda lab, task: [len(task)] * 4, raising=False)
    monkeypatch.setattr(convirt, "STEPS", 100)
    monkeypatch.setattr(convirt, "LABEL_STEPS", 100)
    argv = [name, "--budget", "0.02", "--seeds", "0", "--out", str(tmp_path), "--cache", str(cache)]
    assert run.main(argv) == 0
    with open(tmp_path / f"{name}.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 3 and all(len(row) >= 3 for row in rows)
    assert np.asarray(Image.open(tmp_path / f"{name}.png").convert("L")).std() > 10
    assert "minutes on" in (tmp_path / f"{name}.log").read_text()
    stamp = (tmp_path / f"{name}.csv").stat().st_mtime_ns
    assert run.main(argv) == 0 and "done already" in capsys.readouterr().out
    assert (tmp_path / f"{name}.csv").stat().st_mtime_ns == stamp


class Moved(torch.nn.Linear):
    """Notes where it is moved to, and stays where it is."""

    def __init__(self):
        super().__init__(2, 1)
        self.places = []

    def to(self, device):
        self.places.append(device)
        return self

    def cpu(self):
        return self.to("cpu")


def test_models_are_trained_on_the_device_and_measured_on_the_cpu(tmp_path):
    model = Lab(tmp_path, device="a GPU").trained("x", Moved(), lambda module: module.places.append("trained"))
    assert model.places == ["a GPU", "trained", "cpu"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["figure2", "convirt", "figure6", "ngrams", "overlap", "scaling", "relations"])
def test_each_kind_of_training_runs_on_a_gpu(name, tmp_path, monkeypatch):
    monkeypatch.setattr(overlap, "STEPS", 250)
    argv = [name, "--budget", "0.02", "--seeds", "0", "--device", "cuda", "--out", str(tmp_path), "--cache", str(tmp_path)]
    assert run.main(argv) == 0
    assert "trained on cuda" in (tmp_path / f"{name}.log").read_text()


@pytest.mark.parametrize("argv", [["figure99"], ["figure4", "--budget", "0"], ["figure4", "--budget", "2"],
                                  ["figure4", "--device", "abacus"]])
def test_what_cannot_be_run_is_refused(argv):
    with pytest.raises(SystemExit) as error:
        run.main(argv)
    assert error.value.code == 2


def test_list_names_each(capsys):
    assert run.main(["--list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == run.EXPERIMENTS
