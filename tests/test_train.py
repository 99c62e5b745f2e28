"""The training loop and its command line: the right updates, nothing lost, nothing silent."""
import dataclasses
import inspect
import json
import math
import os
import signal
from functools import cache

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

import train_tiny
import zeroshot
from clip_minimal import CLIP, CONFIGS, Tokenizer, contrastive_loss, load, save
from test_resume import assert_same, at_step, hurry
from train_tiny import World, learning_rate, main, make_optimizer, train
from tutorial.extras import runs


@cache
def words():
    """A tokenizer of few words."""
    return Tokenizer.train(World().texts()[:500], 700)


def tiny(name="tiny-RN", seed=0):
    """A model of the default shape and the tokenizer of its world."""
    tokenizer = words()
    torch.manual_seed(seed)
    config = dataclasses.replace(CONFIGS[name], vocab_size=len(tokenizer.vocab))
    return CLIP(config), tokenizer


def same(a, b):
    """Whether two dicts of tensors are equal to the last bit."""
    return all(torch.equal(x, b[key]) for key, x in a.items())


# ---- The loop ------------------------------------------------------------------------------------


def test_learning_rate_by_hand():
    """Warm-up over 10 steps to the peak, half of it half-way down, a cosine to zero."""
    rates = [learning_rate(step, 110, 2.0, 10) for step in range(110)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[9] == pytest.approx(2.0)
    assert rates[10] == pytest.approx(2.0)
    assert rates[35] == pytest.approx(1 + math.cos(math.pi / 4))
    assert rates[60] == pytest.approx(1.0)
    assert 0 < rates[-1] < 0.001


def is_gain_or_bias(key):
    """Told by the parameter's name: all that has one axis or none."""
    norms = ("bn1", "bn2", "bn3", "downsample.1", "ln_1", "ln_2", "ln_pre", "ln_post", "ln_final")
    if key.endswith("bias") or key in ("logit_scale", "visual.class_embedding"):
        return True
    return f".{key}".endswith(tuple(f".{norm}.weight" for norm in norms))


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_gains_biases_and_the_scale_do_not_decay(name):
    """Section 2.5, and the text encoder's own learning rate: told by the parameters' names alone."""
    model, _ = tiny(name)
    groups = make_optimizer(model, 1e-3, 0.3, muon=False).param_groups
    seen = {}
    for group in groups:
        assert group["betas"] == (0.9, 0.98) and group["eps"] == 1e-6, "Table 18, of the ViTs"
        for parameter in group["params"]:
            assert id(parameter) not in seen
            seen[id(parameter)] = group["weight_decay"], group["factor"]
    assert len(seen) == len(list(model.parameters()))
    for key, parameter in model.named_parameters():
        decay = 0.0 if is_gain_or_bias(key) else 0.3
        of_images = key.startswith("visual.") or key == "logit_scale"
        factor = 1.0 if of_images else train_tiny.TEXT_LR
        assert seen[id(parameter)] == (decay, factor), key


def test_two_steps_equal_adamw_written_out():
    """Loss, gradient and update of the loop against the formulas of Loshchilov and Hutter 2019."""
    world = Scenes()
    model, tokenizer = tiny()
    reference, _ = tiny()
    settings = {"steps": 2, "batch_size": 16, "lr": 1e-3, "weight_decay": 0.3, "warmup": 4, "every": 1, "muon": False}
    history = train(world, model, tokenizer, **settings)
    means = {}
    squares = {}
    reference.train()
    for step in range(2):
        # the loss, with both softmaxes written out
        images, captions = world.batch(step, 16)
        I_e = F.normalize(reference.encode_image(images), dim=-1)
        T_e = F.normalize(reference.encode_text(tokenizer(captions, 32)), dim=-1)
        logits = reference.logit_scale.exp() * I_e @ T_e.T
        of_texts = logits.log_softmax(0).diag().mean()
        of_images = logits.log_softmax(1).diag().mean()
        loss = -(of_texts + of_images) / 2
        assert history[step]["loss"] == pytest.approx(loss.item(), abs=1e-4)
        reference.zero_grad()
        loss.backward()
        # the update of each weight
        for key, p in reference.named_parameters():
            rate = 1e-3 * (step + 1) / 4
            if not key.startswith("visual") and key != "logit_scale":
                rate *= train_tiny.TEXT_LR
            means[key] = 0.9 * means.get(key, 0) + 0.1 * p.grad
            squares[key] = 0.98 * squares.get(key, 0) + 0.02 * p.grad ** 2
            mean = means[key] / (1 - 0.9 ** (step + 1))
            square = squares[key] / (1 - 0.98 ** (step + 1))
            decay = 0.3 if p.ndim > 1 else 0
            p.data -= rate * (mean / (square.sqrt() + 1e-6) + decay * p.data)
    for (key, p), q in zip(model.named_parameters(), reference.parameters()):
        bound = 1e-3  # Adam's sign is chance where a gradient is 0
        if not key.startswith("visual"):
            bound *= train_tiny.TEXT_LR
        assert (p - q).abs().mean() < 0.02 * bound, key
        assert (p - q).abs().max() <= 2 * bound, key


class Fixed:
    """Data that are always the same pairs, and an examination that has no questions."""

    def __init__(self, images, captions):
        self.pairs = images, captions

    def batch(self, step, n):
        return self.pairs

    def evaluate(self, model, tokenizer, n):
        assert not model.training
        return {}


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_it_learns(name):
    """Thirty-two steps on eight fixed pairs: from a guess to all of them told apart."""
    data = Fixed(*World().examples(8))
    model, tokenizer = tiny(name)
    history = train(data, model, tokenizer, steps=32, batch_size=8, every=2, lr=1e-3, warmup=5)
    assert not model.training
    assert history[0]["loss"] > 0.5
    assert history[-1]["loss"] < 0.05


def test_steps_are_made_in_training_mode_and_examinations_in_eval_mode():
    """Also the steps behind an examination, and also where there is no step left to make."""
    model, tokenizer = tiny()
    modes = []
    states = []

    def watched(model, optimizer, images, tokens, bfloat16):
        modes.append(model.training)
        return torch.tensor(1.0)

    data = Fixed(*World().examples(8))  # which looks at the mode in its examination
    options = {"steps": 7, "batch_size": 8, "every": 1, "step_function": watched}
    history = train(data, model, tokenizer, **options, keep=states.append)
    assert modes == 7 * [True]
    assert [row["step"] for row in history if "accuracy" in row] == [2, 4, 6, 7]
    model, _ = tiny()
    train(data, model, tokenizer, **options, state=states[-1])
    assert not model.training


def test_scale_is_clamped_in_training():
    model, tokenizer = tiny()
    model.logit_scale.data.fill_(math.log(500))
    data = Fixed(*World().examples(8))
    history = train(data, model, tokenizer, steps=2, batch_size=8, every=1)
    assert history[0]["scale"] == pytest.approx(100, abs=1e-3)
    assert history[1]["scale"] <= 100.001


def test_bfloat16_stays_near_float32_and_keeps_float32_weights(monkeypatch):
    """The encoders run in eight bits, and nothing else does."""
    losses = []
    kinds = set()

    def watched(image_features, text_features, logit_scale):
        kinds.update([image_features.dtype, text_features.dtype, logit_scale.dtype])
        return contrastive_loss(image_features, text_features, logit_scale)

    monkeypatch.setattr(train_tiny, "contrastive_loss", watched)
    for bfloat16 in (False, True):
        model, tokenizer = tiny()
        data = Fixed(*World().batch(1, 32))
        row, = train(data, model, tokenizer, steps=6, batch_size=32, every=6, lr=1e-4, bfloat16=bfloat16)
        losses.append(row["loss"])
        assert all(p.dtype == torch.float32 for p in model.parameters())
    assert kinds == {torch.float32}, "similarities of a large batch are not for eight bits"
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


class Scenes(World):
    """The pictogram world without its examination, which takes longer than these tests."""

    def evaluate(self, model, tokenizer, n):
        return {}


@pytest.mark.parametrize("muon", [True, False], ids=["muon", "adamw"])
def test_resumed_run_equals_the_whole_one(tmp_path, muon):
    """To the last bit: weights, running statistics, history."""
    whole, tokenizer = tiny()
    options = {"tokenizer": tokenizer, "steps": 8, "batch_size": 16, "every": 4, "muon": muon}

    def keep(state):
        torch.save(state, tmp_path / f"{state['step']}.pt")

    rows = train(Scenes(), whole, **options, keep=keep)
    rest, _ = tiny(seed=5)
    state = torch.load(tmp_path / "4.pt", weights_only=True)
    again = train(Scenes(), rest, **options, state=state)
    assert same(whole.state_dict(), rest.state_dict())
    assert len(rows) == len(again) == 2
    for a, b in zip(rows, again):
        assert {**a, "images_per_second": 0} == {**b, "images_per_second": 0}


class Spoilt(Scenes):
    """The pictogram world, but pictures are no numbers in some steps; it remembers the model before each."""

    def __init__(self, model, spoilt):
        super().__init__()
        self.model = model
        self.spoilt = spoilt
        self.seen = []

    def batch(self, step, n):
        self.step = step
        self.seen.append({key: w.clone() for key, w in self.model.state_dict().items()})
        images, captions = super().batch(step, n)
        if step in self.spoilt:
            images = images * math.nan
        return images, captions


def without_number(state):
    """A state dict without the batch norms' counts of batches."""
    return {key: w for key, w in state.items() if "num_batches_tracked" not in key}


@pytest.mark.parametrize("muon", [True, False], ids=["muon", "adamw"])
@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_a_step_without_a_finite_loss_has_no_gradient_and_is_counted(name, muon):
    """It ends as a step whose gradient is zero, to the last bit, and the batch norms' averages stay."""
    def step(model, optimizer, images, tokens, bfloat16):
        if not reference_data.step == 2:
            return train_tiny.training_step(model, optimizer, images, tokens, bfloat16)
        for p in model.parameters():
            p.grad = torch.zeros_like(p)
        optimizer.step()
        return torch.tensor(math.nan)

    options = {"steps": 6, "batch_size": 8, "lr": 1e-3, "every": 2, "muon": muon}
    reference, tokenizer = tiny(name)
    reference_data = Spoilt(reference, {})
    train(reference_data, reference, tokenizer, step_function=step, **options)
    model, tokenizer = tiny(name)
    states = []
    history = train(Spoilt(model, {2}), model, tokenizer, keep=states.append, **options)
    assert [row["skipped"] for row in history] == [0, 1, 0]
    assert all(math.isfinite(row["loss"]) for row in history)
    assert same(without_number(model.state_dict()), without_number(reference.state_dict()))
    assert all(w.isfinite().all() for w in states[-1]["model"].values())


def test_a_finite_loss_whose_gradient_is_not_does_no_harm():
    """As where the square root of zero is differentiated."""
    model, tokenizer = tiny("tiny-ViT")
    model.visual.proj.register_hook(lambda gradient: gradient * math.nan)
    before = model.visual.proj.clone()
    train(Scenes(), model, tokenizer, steps=2, batch_size=8, lr=1e-3, weight_decay=0.0, every=2)
    assert model.visual.proj.equal(before)
    assert all(w.isfinite().all() for w in model.state_dict().values())


@pytest.mark.parametrize("muon", [True, False], ids=["muon", "adamw"])
@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_a_step_asks_for_no_number(name, muon):
    """Tensors that have shapes and no values refuse to be asked for one, which would make a GPU wait."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        model, _ = tiny(name)
        optimizer = make_optimizer(model, 1e-3, 0.1, muon=muon)
        images = torch.empty(8, 3, 48, 48)
        tokens = torch.empty(8, 12, dtype=torch.long)
        loss = train_tiny.training_step(model, optimizer, images, tokens)
        with pytest.raises(DataDependentOutputException):
            bool(loss.isfinite())


def test_the_log_tells_of_skipped_steps(capsys):
    model, tokenizer = tiny("tiny-ViT")
    train(Spoilt(model, {1, 2}), model, tokenizer, steps=6, batch_size=8, every=3)
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("  losses not finite: 2")
    assert "skipped" not in second


def test_a_run_without_a_finite_loss_stops_and_keeps_its_last_good_state():
    """All steps between two lines of the log; what was kept has none of it."""
    model, tokenizer = tiny("tiny-ViT")
    states = []
    with pytest.raises(ValueError, match="no finite loss in steps 5 to 6; try a lower --lr"):
        data = Spoilt(model, {1, 2, 4, 5})
        train(data, model, tokenizer, steps=8, batch_size=8, every=2, keep=states.append)
    assert [state["step"] for state in states] == [2, 4]
    assert [row["skipped"] for row in states[-1]["history"]] == [1, 1]
    assert all(w.isfinite().all() for state in states for w in state["model"].values())


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_no_tensor_is_made_on_the_wrong_device(name):
    """On the device that has shapes and no numbers, as on a GPU, mixing it with the CPU is an error."""
    _, tokenizer = tiny()
    images, captions = World(device="meta").batch(0, 8)
    model = CLIP(CONFIGS[name]).to("meta")
    tokens = tokenizer(captions, 32).to("meta")
    loss = contrastive_loss(model.encode_image(images), model.encode_text(tokens), model.logit_scale)
    loss.backward()
    assert images.device.type == "meta"
    assert {p.grad.device.type for p in model.parameters()} == {"meta"}
    weights = zeroshot.zero_shot_classifier(model, tokenizer, ["a", "b"])
    features = zeroshot.encode_images(model, images)
    assert zeroshot.classify(model, features, weights).device.type == "meta"


def test_curves_show_the_default_run_in_gray_behind():
    """What one of the two did not measure is left out of its own curves alone."""
    def row(step, loss, **accuracy):
        return {"step": step, "loss": loss, "scale": 10 * loss, "accuracy": accuracy}

    history = [row(5, 0.5, objects=0.3, mine=0.9)]
    default = [row(10, 0.4, objects=0.7), row(20, 0.2, objects=0.8)]
    figure = train_tiny.draw_curves(history, 8, {"objects": (0.3, 0.01), "mine": (0.9, 0.5)}, default)
    left, middle, right = figure.axes
    gray = [line for line in middle.lines if line.get_color() == "lightgray"]
    assert [list(line.get_ydata()) for line in gray] == [[0.7, 0.8], []]
    own = {line.get_label(): list(line.get_ydata()) for line in middle.lines if line.get_label() in ("objects", "mine")}
    assert own == {"objects": [0.3], "mine": [0.9]}
    assert [list(line.get_ydata()) for line in left.lines[:2]] == [[0.4, 0.2], [0.5]]
    assert list(right.lines[0].get_ydata()) == [4, 2]


def test_the_committed_run_is_the_default_one():
    """Its settings are what the command line has where nothing is given."""
    settings = json.loads(runs.DEFAULT_RUN.read_text().splitlines()[0])
    settings.pop("machine")
    assert settings == runs.settings_of(train_tiny.parse([]))
    history, results = runs.read_default_run()
    assert history[-1]["step"] == settings["steps"]
    assert results["objects"][1] == 0.01


# ---- The command line ----------------------------------------------------------------------------


def contrast(path):
    """How much a picture varies: a blank one does not."""
    return np.asarray(Image.open(path).convert("L")).std()


def test_run_from_start_to_demo(tmp_path, capsys, monkeypatch):
    """All the files that the last line promises; what they hold is what was printed."""
    monkeypatch.setattr(World.evaluate, "__defaults__", (100,))  # instead of 2,000 scenes of each kind
    out = tmp_path / "run"
    assert main(["--out", str(out), "--steps", "3", "--batch-size", "16", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    lines = (out / "log.jsonl").read_text().splitlines()
    settings, row, end = [json.loads(line) for line in lines]
    results = end["results"]
    assert settings["seed"] == 3
    assert row["step"] == 3
    assert row["accuracy"].keys() == results.keys()
    for name, (value, chance) in results.items():
        assert f"{name:20}{value:7.1%}   chance {chance:.1%}" in printed
        assert 0 <= value <= 1
        assert 0 < chance < 1
    assert {"objects", "colours", "counts", "places", "relations", "image to text R@1"} <= set(results)
    model, tokenizer = load(out / "clip.pt")
    repeated = World(3).evaluate(model, tokenizer)
    assert repeated["colours"] == pytest.approx(tuple(results["colours"]), abs=0.01)
    assert contrast(out / "curves.png") > 10
    assert contrast(out / "similarity.png") > 10
    assert main(["--demo", "--out", str(out)]) == 0
    assert "1200 labels" in capsys.readouterr().out
    assert (out / "demo.png").exists()


def checkpoint(path, name="tiny-RN"):
    """A model that is no one's beginning, saved as published ones are, and its tokenizer."""
    model, tokenizer = tiny(name, seed=7)
    for w in model.parameters():
        w.data += 0.02 * torch.randn_like(w)
    for x in model.buffers():  # running averages too
        if x.is_floating_point():
            x += 0.05 * torch.rand_like(x)
    save(path, model, tokenizer)
    return load(path)


def first_features(monkeypatch):
    """Makes the command line look at three pairs before its first step -> the list for their features."""
    found = []

    def looks(data, model, tokenizer, **options):
        images, captions = World().examples(3)
        found.append(zeroshot.encode_images(model.eval(), images))
        found.append(zeroshot.encode_texts(model, tokenizer, captions))
        return train(data, model, tokenizer, **options)

    monkeypatch.setattr(train_tiny, "train", looks)
    return found


@pytest.mark.parametrize("frozen", ["image", "text", None])
def test_fine_tuning_starts_from_the_checkpoint_and_leaves_alone_what_is_frozen(
        tmp_path, capsys, monkeypatch, frozen):
    """The first features are its own; a frozen encoder is the same to the last bit, averages included."""
    before, tokenizer = checkpoint(tmp_path / "given.pt")
    hurry(monkeypatch.setattr)
    features = first_features(monkeypatch)
    argv = ["--init", str(tmp_path / "given.pt"), "--steps", "2", "--batch-size", "8", "--warmup", "1"]
    if frozen:
        argv += ["--freeze", frozen]
    assert main([*argv, "--out", str(tmp_path / "run")]) == 0
    # it starts from the checkpoint
    images, captions = World().examples(3)
    torch.testing.assert_close(features[0], zeroshot.encode_images(before, images), atol=1e-5, rtol=0)
    texts = zeroshot.encode_texts(before, tokenizer, captions)
    torch.testing.assert_close(features[1], texts, atol=1e-5, rtol=0)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{tmp_path / 'given.pt'} on cpu")
    assert f"{frozen or 'no'} encoder frozen" in first
    # all but what is frozen has changed, and not much
    after, its_tokenizer = load(tmp_path / "run/clip.pt")
    assert its_tokenizer.merges == tokenizer.merges
    assert after.config == before.config
    weights = before.state_dict()
    for key, w in after.state_dict().items():
        encoder = "image" if key.startswith("visual.") else "text"
        is_trained = encoder != frozen or key == "logit_scale"
        if "k_proj.bias" not in key:  # which moves all scores of a softmax alike
            assert torch.equal(w, weights[key]) != is_trained, key
    for key, w in after.named_parameters():
        assert (w - weights[key]).abs().max() < 1e-4, "careful"


def test_fine_tuning_can_be_interrupted(tmp_path, monkeypatch):
    """The published file may be gone by then; what is frozen stays frozen."""
    checkpoint(tmp_path / "given.pt")
    hurry(monkeypatch.setattr)
    argv = ["--init", str(tmp_path / "given.pt"), "--freeze", "image", "--steps", "6", "--batch-size", "4"]
    assert main([*argv, "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: signal.raise_signal(signal.SIGINT))
        assert main([*argv, "--out", str(tmp_path / "broken")]) == 130
    (tmp_path / "given.pt").unlink()
    assert main(["--resume", "--out", str(tmp_path / "broken")]) == 0
    assert_same(tmp_path / "broken", tmp_path / "whole", lines=5)


def shades(folder, n):
    """A folder of n pictures whose names are captions."""
    folder.mkdir()
    for i in range(n):
        Image.new("RGB", (60, 50), (8 * i, 0, 0)).save(folder / f"shade_{chr(97 + i % 26)}{i}.png")
    return str(folder)


def test_fine_tuning_on_own_pictures(tmp_path, capsys):
    """With the checkpoint's own tokenizer and resolution, whatever the captions are."""
    before, tokenizer = checkpoint(tmp_path / "given.pt", "tiny-ViT")
    data = shades(tmp_path / "data", 24)
    argv = ["--data", data, "--captions-from-names", "--init", str(tmp_path / "given.pt")]
    assert main([*argv, "--steps", "2", "--batch-size", "8", "--out", str(tmp_path / "run")]) == 0
    assert f"vocabulary {before.config.vocab_size}," in capsys.readouterr().out
    _, its_tokenizer = load(tmp_path / "run/clip.pt")
    assert its_tokenizer.merges == tokenizer.merges


@pytest.mark.parametrize("argv", [
    [],
    ["--precision", "bfloat16"],
    ["--freeze", "image"],
    ["--fast"],
    ["--optimizer", "adamw"],
    ["--lr", "1e-2", "--warmup", "7", "--weight-decay", "0.3"],
    ["--model", "tiny-ViT"],
])
def test_every_option_goes_through_the_command_line(tmp_path, monkeypatch, argv):
    """It reaches the training, and the run that has it differs from none but in what it should."""
    hurry(monkeypatch.setattr)
    expected = {"steps": 2, "batch_size": 8, "lr": 5e-3, "weight_decay": 0.2, "warmup": 50,
                "text_lr": train_tiny.TEXT_LR, "muon": "adamw" not in argv, "bfloat16": "bfloat16" in argv,
                "every": train_tiny.EVERY}
    if "--lr" in argv:
        expected.update(lr=1e-2, warmup=7, weight_decay=0.3)
    if "tiny-ViT" in argv:
        expected.update(weight_decay=0.1)
    if "--freeze" in argv:
        checkpoint(tmp_path / "given.pt")
        argv = [*argv, "--init", str(tmp_path / "given.pt")]
        expected.update(lr=1e-5, text_lr=1.0, muon=False)
    calls = []

    def watched(data, model, tokenizer, **options):
        calls.append((model, options))
        return train(data, model, tokenizer, **options)

    monkeypatch.setattr(train_tiny, "train", watched)
    assert main([*argv, "--steps", "2", "--batch-size", "8", "--out", str(tmp_path)]) == 0
    (model, options), = calls
    assert {name: options[name] for name in expected} == expected
    assert options["state"] is None
    assert (type(model) is CLIP) == ("--fast" not in argv)
    load(tmp_path / "clip.pt")


def test_a_rate_of_zero_is_meant():
    """Only where no rate is given there is one to be chosen."""
    for argv in ([], ["--init", "ViT-B/32"]):
        assert train_tiny.parse(["--lr", "0", *argv]).lr == 0
    assert train_tiny.parse([]).lr == 5e-3
    assert train_tiny.parse(["--init", "ViT-B/32"]).lr == 1e-5


def test_command_line_and_function_have_the_same_defaults():
    """What is written about the one is true of the other."""
    options = vars(train_tiny.parse([]))
    parameters = inspect.signature(train).parameters
    for name in ("steps", "batch_size", "lr", "weight_decay", "warmup"):
        assert parameters[name].default == options[name], name
    assert not parameters["bfloat16"].default
    assert options["precision"] == "float32"


def test_show_draws_the_contact_sheet(tmp_path):
    assert main(["--show", "--out", str(tmp_path)]) == 0
    assert contrast(tmp_path / "show.png") > 10


def test_own_pictures_from_names(tmp_path, capsys):
    data = shades(tmp_path / "data", 30)
    for i in range(12):
        (tmp_path / f"data/bad_{i}.png").write_text("no picture")
    out = tmp_path / "run"
    argv = ["--data", data, "--captions-from-names", "--out", str(out), "--steps", "2"]
    assert main(argv) == 0
    printed, errors = capsys.readouterr()
    assert "27 images to train on with 27 captions, 3 held out, 12 left out" in printed
    assert "batches of 27" in printed
    assert "image to text R@1" in printed
    assert errors.count("left out: ") == 12


@pytest.mark.parametrize("argv, message", [
    (["--resume"], "no interrupted run to go on with"),
    (["--demo"], "clip.pt: no such checkpoint"),
    (["--data", "gone"], "gone: no such folder"),
    (["--device", "warp"], "device 'warp'"),
    (["--init", "gone.pt"], "gone.pt: no such checkpoint"),
])
def test_one_line_says_what_is_wrong(tmp_path, capsys, argv, message):
    assert main([*argv, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize("argv, message", [
    (["--batch-size", "1"], "at least 2"),
    (["--steps", "0"], "at least 2"),
    (["--micro-batch", "1"], "at least 2"),
    (["--micro-batch", "0"], "at least 2"),
    (["--model", "RN51"], "invalid choice"),
    (["--captions-from-names"], "needs --data"),
    (["--freeze", "text"], "needs --init"),
    (["--fast", "--checkpointing"], "can't be used together"),
])
def test_settings_that_cannot_be(capsys, argv, message):
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2
    assert message in capsys.readouterr().err


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    assert exit.value.code == 0
    assert capsys.readouterr().out.count("python train_tiny.py ") >= 6


def test_world_is_drawn_at_the_resolution_of_the_model():
    """Every configuration trains on the world; a larger picture of a scene is the same picture."""
    small = World()
    large = World(resolution=96)
    scenes = small.scenes(small.rng(4), 20)
    halved = F.avg_pool2d(large.draw(scenes), 2)
    assert (halved - small.draw(scenes)).abs().mean() < 0.01
    config = dataclasses.replace(CONFIGS["RN50"], vision_width=4, vision_layers=(1, 1, 1, 1), embed_dim=16)
    images, _ = World(resolution=224).batch(0, 2)
    assert CLIP(config).encode_image(images).shape == (2, 16)


@pytest.mark.slow
def test_default_training_learns(tmp_path):
    """A third of the default run, on all cores: far above chance on pairs never seen, names included."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    assert main(["--out", str(tmp_path), "--steps", "700"]) == 0
    torch.set_num_threads(threads)
    last_line = (tmp_path / "log.jsonl").read_text().splitlines()[-1]
    results = json.loads(last_line)["results"]
    assert results["objects"][0] > 0.2
    assert results["colours"][0] > 0.6
    assert results["image to text R@1"][0] > 0.6
