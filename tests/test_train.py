"""The training loop and its command line: the right updates, nothing lost, nothing silent."""
import dataclasses
import inspect
import json
import math
import os
import signal
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

import train_tiny
import zeroshot
from clip_minimal import CLIP, CONFIGS, Tokenizer, contrastive_loss, load, save
from test_resume import assert_same, at_step, hurry
from train_tiny import Towers, World, backward, learning_rate, main, make_optimizer, train


@cache
def words():
    return Tokenizer.train(World().texts()[:500], 700)


def tiny(name="tiny-RN", seed=0):
    """A model of the default shape and the tokenizer of its world."""
    tokenizer = words()
    torch.manual_seed(seed)
    return CLIP(dataclasses.replace(CONFIGS[name], vocab_size=len(tokenizer.vocab))), tokenizer


def same(a, b):
    return all(torch.equal(x, b[key]) for key, x in a.items())


# ---- Gradients in pieces ---------------------------------------------------------------------------------------------

SCALER = torch.amp.GradScaler("cpu", 1.0)  # as in training with float32


def example(name, n=16):
    """A model in float64, moved off its start, where whole branches have no gradient, and n pairs for it."""
    model, tokenizer = tiny(name)
    for parameter in model.double().parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    images, captions = World().batch(1, n)
    return model, images.double(), tokenizer(captions, 32, pad=False)


def gradients(model, features):
    """Autograd through the loss of all pairs at once -> loss, {name: gradient} of what is trained: the judge."""
    loss = contrastive_loss(*features, model.logit_scale)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    return loss.item(), dict(zip(trained, torch.autograd.grad(loss, list(trained.values()), retain_graph=True)))


def assert_equal(model, loss, expected, atol=1e-10):
    for name, p in model.named_parameters():
        if name in expected[1]:
            torch.testing.assert_close(p.grad, expected[1][name], atol=atol, rtol=0, msg=name)
        else:
            assert p.grad is None, name
    assert loss.item() == pytest.approx(expected[0], abs=atol)


@pytest.mark.parametrize("piece", [16, 4, 3])
@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_gradients_in_pieces_are_those_of_the_whole_batch(name, piece):
    """Pieces of 3 leave one of a single pair, which has no loss of its own. Batch norms are in eval mode here."""
    model, images, tokens = example(name)
    model.eval()
    expected = gradients(model, (model.encode_image(images), model.encode_text(tokens)))
    assert_equal(model, backward(Towers(model, "float32"), images, tokens, piece, SCALER), expected)
    zero = {key for key, g in expected[1].items() if g.abs().max() < 1e-6}  # would equal anything
    assert zero <= {"visual.attnpool.k_proj.bias"}, "which moves all scores of a softmax alike"


def test_batch_norms_see_a_piece_of_the_batch():
    """The one difference that pieces make, as the documentation says: each is normalised by its own statistics."""
    model, images, tokens = example("tiny-RN")
    features = torch.cat([model.encode_image(piece) for piece in images.split(4)]), model.encode_text(tokens)
    expected = gradients(model, features)
    assert_equal(model, backward(Towers(model, "float32"), images, tokens, 4, SCALER), expected)
    whole, _ = gradients(model, (model.encode_image(images), features[1]))
    assert abs(whole - expected[0]) > 0.01


@pytest.mark.parametrize("piece", [16, 4])
@pytest.mark.parametrize("frozen", ["image", "text"])
def test_a_frozen_encoder_takes_no_gradient_and_gives_none_up(frozen, piece):
    """Its features still take part in the loss: the other encoder and the scale learn from them."""
    model, images, tokens = example("tiny-ViT")
    for name, p in model.named_parameters():
        p.requires_grad_(name.startswith("visual") != (frozen == "image") or name == "logit_scale")
    expected = gradients(model, (model.encode_image(images), model.encode_text(tokens)))
    assert_equal(model, backward(Towers(model, "float32"), images, tokens, piece, SCALER), expected)


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_pieces_in_bfloat16_point_the_same_way(monkeypatch, name):
    """Weights, their gradients and the loss stay float32; the direction is that of exact arithmetic."""
    (model, images, tokens), kinds = example(name), []
    model.eval()
    _, exact = gradients(model, (model.encode_image(images), model.encode_text(tokens)))
    monkeypatch.setattr(train_tiny, "contrastive_loss", lambda *features: kinds.extend(
        x.dtype for x in features[:3]) or contrastive_loss(*features))
    backward(Towers(model.float(), "bfloat16"), images.float(), tokens, 4, SCALER)
    assert kinds == 3 * [torch.float32], "similarities of a large batch are not for eight bits"
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    rounded, exact = (torch.cat([g.double().flatten() for g in gs])
                      for gs in ([p.grad for p in model.parameters()], exact.values()))
    assert 0.99 < F.cosine_similarity(rounded, exact, dim=0) < 1 - 1e-9, "near, and not the same arithmetic"


@pytest.mark.parametrize("piece, graphs", [(16, [True]), (4, 4 * [False] + 4 * [True])])
def test_pieces_are_run_without_a_graph_first(monkeypatch, piece, graphs):
    """Else all their activations would be there at once; a batch in one piece is run once."""
    (model, images, tokens), seen, encode = example("tiny-ViT"), [], CLIP.encode_image
    monkeypatch.setattr(CLIP, "encode_image", lambda self, x: seen.append(torch.is_grad_enabled()) or encode(self, x))
    backward(Towers(model, "float32"), images, tokens, piece, SCALER)
    assert seen == graphs


def test_accumulating_the_losses_of_pieces_is_something_else():
    """Why backward is not three lines: pieces that know only their own pairs have easier losses, other gradients."""
    model, images, tokens = example("tiny-ViT")
    I_f, T_f = model.encode_image(images), model.encode_text(tokens)
    loss, whole = gradients(model, (I_f, T_f))
    losses = [contrastive_loss(*piece, model.logit_scale) for piece in zip(I_f.split(4), T_f.split(4))]
    plain = torch.autograd.grad(sum(losses) / 4, list(model.parameters()))
    assert sum(losses).item() / 4 < loss - 1
    plain, whole = (torch.cat([g.flatten() for g in gs]) for gs in (plain, whole.values()))
    assert F.cosine_similarity(plain, whole, dim=0) < 0.9


# ---- The loop --------------------------------------------------------------------------------------------------------


def test_learning_rate_by_hand():
    """Warm-up over 10 steps to the peak, half of it half-way down, a cosine to zero."""
    rates = [learning_rate(step, 110, 2.0, 10) for step in range(110)]
    assert rates[0] == pytest.approx(0.2) and rates[9] == pytest.approx(2.0) and rates[10] == pytest.approx(2.0)
    assert rates[60] == pytest.approx(1.0) and rates[35] == pytest.approx(1 + math.cos(math.pi / 4))
    assert 0 < rates[-1] < 0.001


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_gains_biases_and_the_scale_do_not_decay(name):
    """Section 2.5, and the text encoder's own learning rate: told by the parameters' names alone."""
    model, _ = tiny(name)
    groups = make_optimizer(model, 1e-3, 0.3).param_groups
    assert {(group["betas"], group["eps"]) for group in groups} == {((0.9, 0.98), 1e-6)}, "Table 18, of the ViTs"
    seen = {id(p): (group["weight_decay"], group["factor"]) for group in groups for p in group["params"]}
    assert len(seen) == len(list(model.parameters())) == sum(len(group["params"]) for group in groups)
    for key, parameter in model.named_parameters():
        gain = key.endswith("bias") or key in ("logit_scale", "visual.class_embedding") or any(
            f".{norm}.weight" in f".{key}" for norm in ("bn1", "bn2", "bn3", "downsample.1", "ln_1", "ln_2", "ln_pre",
                                                        "ln_post", "ln_final"))
        image = key.startswith("visual.") or key == "logit_scale"
        assert seen[id(parameter)] == (0.0 if gain else 0.3, 1.0 if image else train_tiny.TEXT_LR), key


def test_two_steps_equal_adamw_written_out():
    """Loss, gradient and update of the loop against the formulas of Loshchilov and Hutter 2019, in plain tensors."""
    world = World()
    model, tokenizer = tiny()
    reference, _ = tiny()
    history = train(world, model, tokenizer, steps=2, batch_size=16, lr=1e-3, weight_decay=0.3, warmup=4, every=1)
    means, squares = {}, {}
    for step in range(2):
        images, captions = world.batch(step, 16)
        I = F.normalize(reference.train().encode_image(images), dim=-1)
        T = F.normalize(reference.encode_text(tokenizer(captions, 32)), dim=-1)
        logits = reference.logit_scale.exp() * I @ T.T
        loss = -(logits.log_softmax(0).diag().mean() + logits.log_softmax(1).diag().mean()) / 2
        assert history[step]["loss"] == pytest.approx(loss.item(), abs=1e-4)
        reference.zero_grad()
        loss.backward()
        for key, p in reference.named_parameters():
            slow = not key.startswith("visual") and key != "logit_scale"
            rate = 1e-3 * (step + 1) / 4 * (train_tiny.TEXT_LR if slow else 1)
            means[key] = 0.9 * means.get(key, 0) + 0.1 * p.grad
            squares[key] = 0.98 * squares.get(key, 0) + 0.02 * p.grad ** 2
            update = means[key] / (1 - 0.9 ** (step + 1)) / ((squares[key] / (1 - 0.98 ** (step + 1))).sqrt() + 1e-6)
            p.data -= rate * (update + (0.3 if p.ndim > 1 else 0) * p.data)
    for (key, p), q in zip(model.named_parameters(), reference.parameters()):
        bound = 1e-3 * (1 if key.startswith("visual") else train_tiny.TEXT_LR)  # Adam's sign is chance where g is 0
        assert (p - q).abs().mean() < 0.02 * bound and (p - q).abs().max() <= 2 * bound, key


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_it_learns(name):
    """Sixty steps on eight fixed pairs: from a guess to all of them told apart."""
    images, captions = World().examples(8)

    class Fixed:
        batch = staticmethod(lambda step, n, share: (images, captions))
        evaluate = staticmethod(lambda model, tokenizer, n: {})

    model, tokenizer = tiny(name)
    history = train(Fixed, model, tokenizer, steps=60, batch_size=8, every=20, lr=1e-3)
    assert history[0]["loss"] > 0.5 and history[-1]["loss"] < 0.05


def test_scale_is_clamped_in_training():
    model, tokenizer = tiny()
    model.logit_scale.data.fill_(math.log(500))
    history = train(World(), model, tokenizer, steps=2, batch_size=8, every=1)
    assert history[0]["scale"] == pytest.approx(100, abs=1e-3) and history[1]["scale"] <= 100.001


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_stays_near_float32_and_keeps_float32_weights(precision):
    losses, states = [], []
    for kind in ("float32", precision):
        model, tokenizer = tiny()
        row, = train(World(), model, tokenizer, steps=6, batch_size=32, every=6, lr=1e-4, precision=kind,
                     keep=states.append)
        losses.append(row["loss"])
        assert all(p.dtype == torch.float32 for p in model.parameters())
        first, least = (65536, 2 ** 5) if kind == "float16" else (1, 1)  # halved where that was too much
        assert states[-1]["scaler"]["scale"] == first / 2 ** row["skipped"] >= least
    assert losses[0] != losses[1] and losses[0] == pytest.approx(losses[1], abs=0.05)


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_resumed_run_equals_the_whole_one(tmp_path, precision):
    """To the last bit: weights, running statistics, the scale of float16's gradients, history."""
    whole, tokenizer = tiny()
    options = {"tokenizer": tokenizer, "steps": 8, "batch_size": 16, "every": 4, "precision": precision}
    rows = train(World(), whole, **options, keep=lambda state: torch.save(state, tmp_path / f"{state['step']}.pt"))
    rest, _ = tiny(seed=5)
    state = torch.load(tmp_path / "4.pt", weights_only=True)
    again = train(World(), rest, **options, state=state)
    assert same(whole.state_dict(), rest.state_dict())
    for a, b in zip(rows, again, strict=True):
        assert {**a, "images_per_second": 0} == {**b, "images_per_second": 0}


class Spoilt(World):
    """The pictogram world, but pictures are no numbers in some steps; it remembers the model before each."""

    def __init__(self, model, spoilt):
        super().__init__()
        self.model, self.spoilt, self.seen = model, spoilt, []

    def batch(self, step, n, share):
        self.seen.append({key: w.clone() for key, w in self.model.state_dict().items()})
        images, captions = super().batch(step, n, share)
        return images * (math.nan if step in self.spoilt else 1), captions

    def evaluate(self, model, tokenizer, n):
        return {}


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(name):
    """Weights and moments stay, to the last bit; the next step goes on. Averages of batch norm are as they were before
    the spoilt ones: one bad picture must not be the end of a run of days."""
    model, tokenizer = tiny(name)
    data, states = Spoilt(model, {2}), []
    history = train(data, model, tokenizer, steps=6, batch_size=8, lr=1e-3, every=2, keep=states.append)
    weights = [{key: w for key, w in seen.items() if "running" not in key and "tracked" not in key}
               for seen in data.seen]
    assert [same(a, b) for a, b in zip(weights, weights[1:])] == [False, False, True, False, False]
    assert [row["skipped"] for row in history] == [0, 1, 1] and all(math.isfinite(row["loss"]) for row in history)
    assert int(states[-1]["optimizer"]["state"][0]["step"]) == 5 and states[-1]["scaler"]["scale"] == 1
    assert all(w.isfinite().all() for state in states for w in state["model"].values())
    for key, w in data.seen[2].items():
        assert "running" not in key or torch.equal(w, data.seen[4][key])


def test_a_run_without_a_finite_step_stops_and_keeps_its_last_good_state():
    """All steps between two lines of the log; what was kept has none of it."""
    model, tokenizer = tiny("tiny-ViT")
    states = []
    with pytest.raises(ValueError, match="nothing finite in steps 5 to 6; try a lower --lr"):
        train(Spoilt(model, {1, 2, 4, 5}), model, tokenizer, steps=8, batch_size=8, every=2, keep=states.append)
    assert [state["step"] for state in states] == [2, 4] and states[-1]["history"][-1]["skipped"] == 2
    assert all(w.isfinite().all() for state in states for w in state["model"].values())


def test_gradients_that_are_not_finite_stop_a_run_whose_loss_is():
    """A skipped step is one that taught nothing, whichever of the two was at fault."""
    model, tokenizer = tiny("tiny-ViT")
    model.visual.proj.register_hook(lambda gradient: gradient * math.nan)
    with pytest.raises(ValueError, match="nothing finite in steps 1 to 2"):
        train(Spoilt(model, {}), model, tokenizer, steps=4, batch_size=8, every=2)


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_no_tensor_is_made_on_the_wrong_device(name):
    """A step on the device that has shapes and no numbers: as on a GPU, mixing it with the CPU is an error."""
    _, tokenizer = tiny()
    images, captions = World(device="meta").batch(0, 8)
    model = CLIP(CONFIGS[name]).to("meta")
    tokens = tokenizer(captions, 32).to("meta")
    loss = contrastive_loss(model.encode_image(images), model.encode_text(tokens), model.logit_scale)
    loss.backward()
    assert {p.grad.device.type for p in model.parameters()} == {images.device.type} == {"meta"}
    weights = zeroshot.zero_shot_classifier(model, tokenizer, ["a", "b"])
    assert zeroshot.classify(model, zeroshot.encode_images(model, images), weights).device.type == "meta"


# ---- The command line ------------------------------------------------------------------------------------------------


def test_run_from_start_to_demo(tmp_path, capsys):
    """All the files that the last line promises; what they hold is what was printed."""
    out = tmp_path / "run"
    assert main(["--out", str(out), "--steps", "3", "--batch-size", "16", "--seed", "3"]) == 0
    printed = capsys.readouterr().out
    settings, row, end = map(json.loads, (out / "log.jsonl").read_text().splitlines())
    results = end["results"]
    assert settings["seed"] == 3 and row["step"] == 3
    for name, (value, chance) in results.items():
        assert f"{name:20}{value:7.1%}   chance {chance:.1%}" in printed
        assert 0 <= value <= 1 and 0 < chance < 1
    assert {"objects", "colours", "counts", "places", "relations", "image to text R@1"} <= set(results)
    model, tokenizer = load(out / "clip.pt")
    repeated = World(3).evaluate(model, tokenizer)
    assert repeated["colours"] == pytest.approx(tuple(results["colours"]), abs=0.002)
    for name in ("curves.png", "similarity.png"):
        assert np.asarray(Image.open(out / name).convert("L")).std() > 10, name
    assert main(["--demo", "--out", str(out)]) == 0
    assert "1200 labels" in capsys.readouterr().out and (out / "demo.png").exists()


def checkpoint(path, name="tiny-RN"):
    """A model that is no one's beginning, saved as published ones are, and its tokenizer."""
    model, tokenizer = tiny(name, seed=7)
    for w in model.state_dict().values():  # running averages and gains too
        w.data = w.data + 0.05 * torch.rand_like(w) if w.is_floating_point() else w
    save(path, model, tokenizer)
    return load(path)


def first_features(monkeypatch):
    """Makes the command line look at three pairs before its first step -> the list in which their features will be."""
    found, run = [], train_tiny.train

    def looks(data, model, tokenizer, *args):
        images, captions = World().examples(3)
        found.extend([zeroshot.encode_images(model.eval(), images), zeroshot.encode_texts(model, tokenizer, captions)])
        return run(data, model, tokenizer, *args)

    monkeypatch.setattr(train_tiny, "train", looks)
    return found


@pytest.mark.parametrize("frozen", ["image", "text", None])
def test_fine_tuning_starts_from_the_checkpoint_and_leaves_alone_what_is_frozen(tmp_path, capsys, monkeypatch, frozen):
    """The first features are its own; a frozen encoder is the same to the last bit afterwards, averages included."""
    before, tokenizer = checkpoint(tmp_path / "given.pt")
    hurry(monkeypatch.setattr)
    features = first_features(monkeypatch)
    argv = ["--init", str(tmp_path / "given.pt"), "--steps", "2", "--batch-size", "8", "--warmup", "1", "--out"]
    assert main([*argv, str(tmp_path / "run"), *(["--freeze", frozen] if frozen else [])]) == 0
    images, captions = World().examples(3)
    torch.testing.assert_close(features[0], zeroshot.encode_images(before, images), atol=1e-5, rtol=0)
    torch.testing.assert_close(features[1], zeroshot.encode_texts(before, tokenizer, captions), atol=1e-5, rtol=0)
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith(f"{tmp_path / 'given.pt'} on cpu") and f"{frozen or 'no'} encoder frozen" in first
    after, same_tokenizer = load(tmp_path / "run/clip.pt")
    assert same_tokenizer.merges == tokenizer.merges and after.config == before.config
    changed = {key: not torch.equal(w, before.state_dict()[key]) for key, w in after.state_dict().items()}
    for key, is_other in changed.items():
        encoder = "image" if key.startswith("visual.") else "text"
        assert is_other == (encoder != frozen or key == "logit_scale") or "k_proj.bias" in key, key
    assert max((w - before.state_dict()[key]).abs().max() for key, w in after.named_parameters()) < 1e-4, "careful"


def test_fine_tuning_can_be_interrupted(tmp_path, monkeypatch):
    """The published file may be gone by then; what is frozen stays frozen."""
    checkpoint(tmp_path / "given.pt")
    hurry(monkeypatch.setattr)
    argv = ["--init", str(tmp_path / "given.pt"), "--freeze", "image", "--steps", "6", "--batch-size", "4", "--out"]
    assert main([*argv, str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 5, lambda: signal.raise_signal(signal.SIGINT))
        assert main([*argv, str(tmp_path / "broken")]) == 130
    (tmp_path / "given.pt").unlink()
    assert main(["--resume", "--out", str(tmp_path / "broken")]) == 0
    assert_same(tmp_path / "broken", tmp_path / "whole", lines=5)


def test_fine_tuning_on_own_pictures(tmp_path, capsys, monkeypatch):
    """With the checkpoint's own tokenizer and resolution, whatever the captions are."""
    before, tokenizer = checkpoint(tmp_path / "given.pt", "tiny-ViT")
    (tmp_path / "data").mkdir()
    for i in range(24):
        Image.new("RGB", (60, 50), (8 * i, 0, 0)).save(tmp_path / f"data/shade_{chr(97 + i)}.png")
    argv = ["--data", str(tmp_path / "data"), "--captions-from-names", "--init", str(tmp_path / "given.pt")]
    assert main([*argv, "--steps", "2", "--batch-size", "8", "--out", str(tmp_path / "run")]) == 0
    assert f"vocabulary {before.config.vocab_size}," in capsys.readouterr().out
    assert load(tmp_path / "run/clip.pt")[1].merges == tokenizer.merges


@pytest.mark.parametrize("argv", [["--precision", "tf32"], ["--precision", "bfloat16"], ["--checkpointing"],
                                  ["--micro-batch", "3"], ["--freeze", "image"]])
def test_every_option_goes_through_the_command_line(tmp_path, monkeypatch, argv):
    """It reaches the training, and the run that has it differs from none but in what it should."""
    hurry(monkeypatch.setattr)
    calls, pieces, run = [], [], train_tiny.train

    def watched(data, model, *args):
        calls.append((model, args))
        return run(data, model, *args)

    monkeypatch.setattr(train_tiny, "train", watched)
    monkeypatch.setattr(train_tiny, "backward", lambda *args: pieces.append(args[3]) or backward(*args))
    if "--freeze" in argv:
        checkpoint(tmp_path / "given.pt")
        argv = [*argv, "--init", str(tmp_path / "given.pt")]
    assert main([*argv, "--steps", "2", "--batch-size", "8", "--weight-decay", "0.2", "--out", str(tmp_path)]) == 0
    (model, (tokenizer, steps, batch_size, lr, decay, warmup, text_lr, precision, micro_batch, compiled, *_)), = calls
    fine = "--init" in argv
    assert (steps, batch_size, lr, decay, warmup, text_lr) == (
        2, 8, 1e-5 if fine else 4e-3, 0.2, 50, 1 if fine else train_tiny.TEXT_LR)
    assert precision == (argv[1] if "--precision" in argv else "float32") and not compiled
    assert pieces == 2 * [3 if "--micro-batch" in argv else 8] and micro_batch == (3 if 3 in pieces else None)
    assert torch.get_float32_matmul_precision() == ("high" if "tf32" in argv else "highest")
    recomputed = any("forward" in vars(module) for module in model.modules())
    assert recomputed == ("--checkpointing" in argv)
    torch.set_float32_matmul_precision("highest")


def test_command_line_and_function_have_the_same_defaults():
    """What is written about the one is true of the other."""
    options, parameters = vars(train_tiny.parse([])), inspect.signature(train).parameters
    both = {name: p.default for name, p in parameters.items() if name in options and name not in ("data", "model")}
    assert both == {name: options[name] for name in both} and len(both) == 8


@pytest.mark.slow
def test_compiled_training_is_the_same_training(tmp_path, monkeypatch):
    """Kernels that torch.compile writes, in text batches of several widths; needs a C++ compiler."""
    hurry(monkeypatch.setattr)
    for out, argv in (("plain", []), ("compiled", ["--compile"])):
        argv = ["--model", "tiny-ViT", "--steps", "6", "--batch-size", "8", *argv]
        assert main([*argv, "--out", str(tmp_path / out)]) == 0
    a, b = ([json.loads(line)["loss"] for line in (tmp_path / out / "log.jsonl").read_text().splitlines()[1:-1]]
            for out in ("plain", "compiled"))
    assert a == pytest.approx(b, abs=1e-3) and a != b
    load(tmp_path / "compiled/clip.pt")


def test_show_draws_the_contact_sheet(tmp_path):
    assert main(["--show", "--out", str(tmp_path)]) == 0
    assert np.asarray(Image.open(tmp_path / "show.png").convert("L")).std() > 10


def test_own_pictures_from_names(tmp_path, capsys):
    (tmp_path / "data").mkdir()
    for i in range(30):
        Image.new("RGB", (60, 60), (8 * i, 0, 0)).save(tmp_path / f"data/shade_{chr(97 + i % 26)}{i}.png")
    for i in range(12):
        (tmp_path / f"data/bad_{i}.png").write_text("no picture")
    out = tmp_path / "run"
    argv = ["--data", str(tmp_path / "data"), "--captions-from-names", "--out", str(out), "--steps", "2"]
    assert main(argv) == 0
    printed, errors = capsys.readouterr()
    assert "27 images to train on with 27 captions, 3 held out, 12 left out" in printed and "batches of 27" in printed
    assert "image to text R@1" in printed
    assert errors.count("left out: ") == 12


@pytest.mark.parametrize("argv, message", [
    (["--resume"], "no interrupted run to go on with"),
    (["--demo"], "clip.pt: no such checkpoint"),
    (["--data", "gone"], "gone: no such folder"),
    (["--device", "warp"], "device 'warp'"),
])
def test_one_line_says_what_is_wrong(tmp_path, capsys, argv, message):
    assert main([*argv, "--out", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("argv, message", [(["--batch-size", "1"], "at least 2"), (["--steps", "0"], "at least 2"),
                                           (["--model", "RN51"], "invalid choice"),
                                           (["--captions-from-names"], "needs --data"),
                                           (["--freeze", "text"], "needs --init")])
def test_settings_that_cannot_be(capsys, argv, message):
    with pytest.raises(SystemExit) as exit:
        main(argv)
    assert exit.value.code == 2 and message in capsys.readouterr().err


def test_help_shows_examples(capsys):
    with pytest.raises(SystemExit) as exit:
        main(["--help"])
    assert exit.value.code == 0 and capsys.readouterr().out.count("python train_tiny.py ") >= 6


def test_world_is_drawn_at_the_resolution_of_the_model(tmp_path, capsys):
    """Every configuration trains on the world; a larger picture of a scene is the same picture."""
    small, large = World(), World(resolution=96)
    scenes = small.scenes(small.rng(4), 20)
    halved = F.avg_pool2d(large.draw(scenes), 2)
    assert (halved - small.draw(scenes)).abs().mean() < 0.01
    model = CLIP(dataclasses.replace(CONFIGS["RN50"], vision_width=4, vision_layers=(1, 1, 1, 1), embed_dim=16))
    images, _ = World(resolution=224).batch(0, 2)
    assert model.encode_image(images).shape == (2, 16)


@pytest.mark.slow
def test_default_training_learns(tmp_path):
    """A third of the default run, on all cores: far above chance on pairs never seen, names included."""
    threads = torch.get_num_threads()
    torch.set_num_threads(os.cpu_count())
    assert main(["--out", str(tmp_path), "--steps", "700"]) == 0
    torch.set_num_threads(threads)
    results = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])["results"]
    assert results["objects"][0] > 0.2 and results["colours"][0] > 0.6 and results["image to text R@1"][0] > 0.6
