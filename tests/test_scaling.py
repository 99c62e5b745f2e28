"""The models of different sizes and what is drawn of them, on known answers."""
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import common
import figure4
import scaling
import sizes
import web
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
    for kind, times in ((True, 100), (False, 10)):
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


@pytest.fixture
def trainings(monkeypatch):
    """What the models are trained with; nothing is trained. The second of three rates has the lowest loss."""
    calls = []

    def train(data, model, tokenizer, steps, batch_size, lr, weight_decay, warmup):
        assert weight_decay == 0.2, "a ResNet's"
        assert isinstance(data, sizes.Web) and data.evaluate(model, tokenizer, 300) == {}, "tasks measure it"
        calls.append((data.seed, data.exponent, steps, batch_size, lr))
        torch.nn.init.constant_(model.ln_final.bias, 7)
        return [{"loss": 9.0}, {"loss": abs(lr - sizes.RATES[1])}]

    monkeypatch.setattr(sizes, "train", train)
    monkeypatch.setattr(sizes, "make_tokenizer", lambda seed: Tokenizer([]))
    return calls


def test_a_model_is_trained_once_at_the_best_of_three_rates(tmp_path, trainings):
    for budget, seed, exponent in ((1, 0, 1.0), (1, 0, 1.0), (1, 0, 0.0), (1, 1, 1.0), (0.1, 0, 1.0)):
        model, _ = sizes.clip(Lab(tmp_path, budget), seed, "RN-4", exponent)
        assert (model.ln_final.bias == 7).all() and not model.training, "what was trained is what is loaded"
    tried = [(9, 1.0, 100, 256, lr) for lr in sizes.RATES]
    tried_at_a_tenth = [(9, 1.0, 10, 128, lr) for lr in sizes.RATES]
    best = sizes.RATES[1]
    assert trainings == [*tried, (0, 1.0, 550, 256, best), (0, 0.0, 550, 256, best), (1, 1.0, 550, 256, best),
                         *tried_at_a_tenth, (0, 1.0, 55, 128, best)]


def test_ways_are_those_of_the_zero_shot_classifier():
    torch.manual_seed(0)
    tokenizer, config = Tokenizer.train(World().texts()[:200], 600), sizes.MODELS["RN-4"]
    model, lab = CLIP(sizes.replace(config, vocab_size=len(tokenizer.vocab))).eval(), Lab(Path("unused"), 0.02)
    row = figure4.measure_task(lab, 5, "animals", model, tokenizer)
    images, labels = examples("animals", "test", lab.size("animals", "test"))
    names = ["cat", "mouse", "cow", "monkey"]
    assert (row["task"], row["seed"], row["chance"], row["homonyms"]) == ("animals", 5, 0.25, 1)
    plain = [f"a {name}" for name in names]
    typed = ["a cat", "a mouse, an animal", "a cow", "a monkey"]
    for way, templates, classes in (("bare names", ["{}"], names), ("one sentence", ["a picture of {}"], plain),
                                    ("typed sentence", ["a picture of {}"], typed), ("ensemble", None, typed)):
        assert row[way] == common.zero_shot(model, tokenizer, "animals", images, labels, templates, classes)


def test_typed_sentences_say_what_captions_say():
    """Categories are those of the web for a name that means two things; a sentence of the task's own may tell, too."""
    for label, category in figure4.MEANT.items():
        assert category in {web.CATEGORY_OF[thing] for thing in web.HOMONYMS[label]}
    classes, templates = figure4.wordings("card suits")["typed sentence"]
    assert templates == ["a picture of {}"]
    assert classes == ["a spade, a card suit", "a heart", "a diamond, a card suit", "a club, a card suit"]
    assert figure4.typed("an orange star") == "an orange star, a shape" and figure4.typed("star") == "star"
    assert figure4.wordings("arrows")["typed sentence"][1] == ["an arrow {}"]
    assert figure4.wordings("tools")["typed sentence"][1] == ["{}, a tool"]
    assert all(figure4.wordings(name)["typed sentence"][1] for name in TASKS)
    with_homonyms = {name for name in TASKS if figure4.has_homonyms(name)}
    assert {"card suits", "animals", "objects", "held-out pairs", "grey", "polygons", "religious signs"} <= with_homonyms
    assert not {"chess pieces", "letters", "zodiac", "counts", "weather", "colours"} & with_homonyms


def test_whole_captions_keep_their_article():
    assert figure4.bare("an orange star") == "orange star" and figure4.bare("on the grass") == "on the grass"
    caption = "a red star to the left of a blue circle"
    assert figure4.bare(caption) == caption


def test_each_homonym_is_two_classes():
    """The commonest thing of each category; bare names of both are the same."""
    found = figure4.two_meanings()
    assert len(found) == 2 * len(web.HOMONYMS) >= 16
    for (name, category, thing), (same, other, another) in zip(found[::2], found[1::2]):
        assert name == same and category != other and name in web.NAMES_OF[thing] and name in web.NAMES_OF[another]
        assert (category, other) == (web.CATEGORY_OF[thing], web.CATEGORY_OF[another])
        cards = [i for i in web.HOMONYMS[name] if web.CATEGORY_OF[i] == other]
        assert another == min(cards), "things are sorted by how common they are"
    wordings = figure4.wordings_of_both()
    assert "a mouse, an animal" in wordings["typed sentence"][0] and "an arrow, a weapon" in wordings["ensemble"][0]
    assert wordings["bare names"][0].count("mouse") == 2 and wordings["one sentence"][0].count("an arrow") == 2


def test_both_meanings_with_a_model_that_reads_categories(monkeypatch):
    """Right where the categories are told; a name alone gets the first of its two meanings, half of the pictures."""
    meanings = figure4.two_meanings()
    things = torch.tensor([thing for _, _, thing in meanings] + [1, 2])  # and two others, which are left out
    monkeypatch.setattr(figure4, "draw_pool", lambda kind, split, n: (torch.zeros(len(things), 3, 48, 48), things))
    monkeypatch.setattr(figure4.zeroshot, "encode_images", lambda model, images: torch.eye(len(meanings)))

    def classifier(model, tokenizer, names, templates):
        return torch.stack([torch.eye(len(meanings))[names.index(name)] for name in names], dim=1)

    monkeypatch.setattr(figure4.zeroshot, "zero_shot_classifier", classifier)
    row = figure4.measure_both(Lab(Path("unused")), 4, None, None)
    assert (row["task"], row["seed"]) == (figure4.BOTH, 4)
    assert [row[way] for way in figure4.WAYS] == [0.5, 0.5, 1, 1]


def test_gains_of_prompts_are_points_over_bare_names():
    rows = [{"task": task, "seed": seed, "homonyms": int(task == "a"), "chance": 0.1, "bare names": 0.25,
             "one sentence": 0.25, "typed sentence": 0.3 + 0.1 * seed, "ensemble": 0.5 if task == "a" else 0.25}
            for seed in (0, 1) for task in ("a", "b")]
    assert figure4.gains(rows, "typed sentence") == pytest.approx(np.array([[5, 15], [5, 15]]))
    assert figure4.gains(rows, "ensemble") == pytest.approx(np.array([[25, 25], [0, 0]]))


def test_slope_of_a_power_law():
    """Errors of two seeds and three tasks that fall with the square root of the operations."""
    x = np.array([1., 10, 100, 1000])
    errors = np.array([[[8, 2, 4], [4, 1, 2]]]) / x[:, None, None] ** 0.5
    assert errors.shape == (4, 2, 3)
    assert scaling.slope(x, errors) == pytest.approx(-0.5)
    assert scaling.slope(x, np.full((4, 2, 3), 30.)) == pytest.approx(0)


def test_interval_over_seeds_and_tasks():
    """Of the mean of seed + task, each normal: the variance is the sum of both parts' variances."""
    rng = np.random.default_rng(3)
    of_seeds, of_tasks = rng.normal(0, 3, 40), rng.normal(0, 2, 50)
    values = (of_seeds[:, None] + of_tasks)[None]  # (1, 40, 50)
    low, high = scaling.resampled(lambda drawn: drawn.mean(), values)
    half = 1.96 * (of_seeds.var() / 40 + of_tasks.var() / 50) ** 0.5
    assert (low, high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.15 * half)
    same = scaling.resampled(lambda drawn: drawn.mean(), np.tile(of_tasks, (1, 3, 1)) * 0 + 5)
    assert tuple(same) == (5, 5)


def test_groups_of_tasks_by_the_median_of_their_words(monkeypatch):
    lab = Lab(Path("unused"))
    for counts, group in (([0, 100, 500], "often"), ([0, 99, 500], "seldom"), ([0, 0, 0, 900], "never")):
        monkeypatch.setattr(Lab, "occurrences", lambda lab, task: counts, raising=False)
        assert scaling.told(lab, "animals") == group


def made_up_rows():
    """Errors of ResNets fall with the operations to the power of -0.2, except where words are never told.

    Those of transformers stay. On the control all is as on the web, at half the power.
    """
    rows = []
    for name, config in sizes.MODELS.items():
        x = sizes.megaflops(config)
        webs = {"web": -0.2}
        if name in scaling.CONTROLS:
            webs["equal frequencies"] = -0.1
        for frequencies, power in webs.items():
            for seed in (0, 1):
                for task, told, part in (("a", "often", 1), ("b", "seldom", 0.8), ("objects", "often", 0.6)):
                    error = 0.5 * part * x ** power if sizes.resnet(name) else 0.8
                    rows.append({"model": name, "MFLOPs": x, "web": frequencies, "task": task, "told": told,
                                 "seed": seed, "chance": 0.1, "zero-shot": 1 - error, "probe": 0.5 if task == "a" else ""})
                rows.append({**rows[-1], "task": "c", "told": "never", "zero-shot": 0.1, "probe": ""})
    return rows


def made_up_things():
    """Of the commonest things ResNets name 90 % on the web, 50 % on the control, and 10 points less of each next group."""
    rows = []
    for web, share in (("web", 0.9), ("equal frequencies", 0.5)):
        for name in scaling.CONTROLS:
            for k, (first, last) in enumerate(scaling.RANKS):
                rows.append({"model": name, "MFLOPs": sizes.megaflops(sizes.MODELS[name]), "web": web, "seed": 0,
                             "task": f"things {first} to {last}", "told": scaling.THINGS, "chance": 0.1,
                             "zero-shot": share - 0.1 * k, "probe": ""})
    return rows


def test_tables_and_the_error_by_guesses():
    rows = made_up_rows()
    x, y = scaling.table(rows, "probe", False)
    assert len(x) == 3 and (y == 50).all() and y.shape == (3, 2, 1), "tasks without a probe are left out"
    assert scaling.table(rows, "zero-shot", True, group="often")[1].shape == (5, 2, 2)
    x, y = scaling.table(rows, "zero-shot", True, group="never")
    assert y == pytest.approx(np.full((5, 2, 1), 10))
    assert len(scaling.table(rows, "zero-shot", False, "equal frequencies")[0]) == 0
    assert scaling.guessing_error(rows) == pytest.approx(90 / 4), "one of four tasks is guessed"
    assert scaling.converged(rows, sizes.megaflops(sizes.MODELS["RN-16"]))
    assert not scaling.converged(rows, sizes.megaflops(sizes.MODELS["ViT-128/8"])), "20 % of the objects"


def test_things_are_counted_by_their_ranks(monkeypatch, tmp_path):
    """All but the commonest eleven get no name."""
    asked = []
    monkeypatch.setattr(scaling, "clip", lambda *args: asked.append(args[1:]) or ("a model", "its tokenizer"))
    monkeypatch.setattr(scaling, "things_named", lambda lab, *model: [1.0] * 11 + [0.0] * (len(scaling.NAMES) - 11))
    shares = scaling.measure_things(Lab(tmp_path), 2, "RN-8", 0.0)
    assert list(shares.values()) == [1, 1 / 20, 0, 0, 0] and asked == [(2, "RN-8", 0.0)]
    first, last = zip(*scaling.RANKS)
    assert (first[0], last[-1]) == (1, len(scaling.NAMES)) and all(b == a + 1 for a, b in zip(last, first[1:]))


def test_lines_are_drawn_through_the_right_models():
    figure = scaling.draw(made_up_rows() + made_up_things())
    _, groups, control, probes, things, same_things = figure.axes
    for axis, commonest in ((things, 90), (same_things, 50)):
        ends = [line.get_ydata()[-1] for line in axis.lines if line.get_linestyle() == "-"]
        assert ends == pytest.approx(np.arange(commonest, commonest - 50, -10)), "a line for each group of ranks"
    labels = [text.get_text() for axis in (groups, control) for text in axis.get_legend().get_texts()]
    wanted = {"often told (2 tasks)": -0.2, "seldom told (1 tasks)": -0.2, "never told (1 tasks)": 0,
              "web": -0.2, "equal frequencies": -0.1}
    for label, (name, slope) in zip(labels, wanted.items()):
        found_name, rest = label.split(": slope ")
        assert found_name == name and float(rest.split()[0]) == pytest.approx(slope, abs=1e-3)
    assert "mean of 1 tasks" in probes.get_title()
