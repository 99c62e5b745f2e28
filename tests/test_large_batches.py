"""tutorial/extras/large_batches.py: the gradient of the whole batch, in pieces, and what saves memory."""
import inspect
import json
import math
import signal

import pytest
import torch
import torch.nn.functional as F

import train_tiny
from clip_minimal import CLIP, CLIPConfig, contrastive_loss, load
from test_resume import assert_same, at_step, hurry
from test_train import Fixed, Scenes, Spoilt, checkpoint, same, tiny
from train_tiny import World, main, train
from tutorial.extras import fast, large_batches
from tutorial.extras.large_batches import LargeBatches, Towers, backward, checkpoint_blocks, loss_of_share

SCALER = torch.amp.GradScaler("cpu", 1.0)  # as in training with float32
VIT = CLIPConfig(32, 32, 2, 64, 8, 64, 2, 16, 128)
RESNET = CLIPConfig(32, 64, (1, 2, 1, 1), 8, None, 64, 2, 16, 128)

# ---- Gradients in pieces -------------------------------------------------------------------------


def example(name, n=16):
    """A model in float64, moved off its start, where whole branches have no gradient, and n pairs for it."""
    model, tokenizer = tiny(name)
    for parameter in model.double().parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    images, captions = World().batch(1, n)
    return model, images.double(), tokenizer(captions, 32, pad=False)


def gradients(model, image_features, text_features):
    """The judge: autograd through the loss of all pairs at once -> loss, {name: gradient}."""
    loss = contrastive_loss(image_features, text_features, model.logit_scale)
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    values = torch.autograd.grad(loss, list(trained.values()), retain_graph=True)
    return loss.item(), dict(zip(trained, values))


def assert_gradients(model, expected):
    """The gradients that the weights have are these, to 1e-10, and all others have none."""
    for name, p in model.named_parameters():
        if name in expected:
            torch.testing.assert_close(p.grad, expected[name], atol=1e-10, rtol=0, msg=name)
        else:
            assert p.grad is None, name


def flat(tensors):
    return torch.cat([x.double().flatten() for x in tensors])


@pytest.mark.parametrize("piece", [16, 4, 3])
@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_gradients_in_pieces_are_those_of_the_whole_batch(name, piece):
    """Pieces of 3 leave a single pair, which joins the piece before it. Batch norms are in eval mode."""
    model, images, tokens = example(name)
    model.eval()
    whole_loss, expected = gradients(model, model.encode_image(images), model.encode_text(tokens))
    loss = backward(Towers(model), images, tokens, piece, SCALER)
    assert loss.item() == pytest.approx(whole_loss, abs=1e-10)
    assert_gradients(model, expected)
    zero = {key for key, gradient in expected.items() if gradient.abs().max() < 1e-6}  # would equal anything
    assert zero <= {"visual.attnpool.k_proj.bias"}, "which moves all scores of a softmax alike"


def test_batch_norms_see_a_piece_of_the_batch():
    """The one difference that pieces make, as `backward` says: each is normalised by its own statistics."""
    model, images, tokens = example("tiny-RN")
    text_features = model.encode_text(tokens)
    pieces = torch.cat([model.encode_image(piece) for piece in images.split(4)])
    expected_loss, expected = gradients(model, pieces, text_features)
    loss = backward(Towers(model), images, tokens, 4, SCALER)
    assert loss.item() == pytest.approx(expected_loss, abs=1e-10)
    assert_gradients(model, expected)
    whole_loss, _ = gradients(model, model.encode_image(images), text_features)
    assert abs(whole_loss - expected_loss) > 0.01


@pytest.mark.parametrize("piece", [16, 4])
@pytest.mark.parametrize("frozen", ["image", "text"])
def test_a_frozen_encoder_takes_no_gradient_and_gives_none_up(frozen, piece):
    """Its features still take part in the loss: the other encoder and the scale learn from them."""
    model, images, tokens = example("tiny-ViT")
    train_tiny.freeze(model, frozen)
    whole_loss, expected = gradients(model, model.encode_image(images), model.encode_text(tokens))
    trained = {name.startswith("visual.") for name in expected if name != "logit_scale"}
    assert trained == {frozen == "text"} and "logit_scale" in expected
    loss = backward(Towers(model), images, tokens, piece, SCALER)
    assert loss.item() == pytest.approx(whole_loss, abs=1e-10)
    assert_gradients(model, expected)


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_pieces_in_bfloat16_point_the_same_way(monkeypatch, name):
    """Weights, their gradients and the loss stay float32; the direction is that of exact arithmetic."""
    model, images, tokens = example(name)
    model.eval()
    _, exact = gradients(model, model.encode_image(images), model.encode_text(tokens))
    kinds = []

    def watched(image_features, text_features, scale):
        kinds.extend([image_features.dtype, text_features.dtype, scale.dtype])
        return loss_of_share(image_features, text_features, scale)

    monkeypatch.setattr(large_batches, "loss_of_share", watched)
    backward(Towers(model.float(), "bfloat16"), images.float(), tokens, 4, SCALER)
    assert kinds == 3 * [torch.float32], "similarities of a large batch are not for eight bits"
    assert {p.grad.dtype for p in model.parameters()} == {torch.float32}
    rounded = flat(p.grad for p in model.parameters())
    cosine = F.cosine_similarity(rounded, flat(exact.values()), dim=0)
    assert 0.99 < cosine < 1 - 1e-9, "near, and not the same arithmetic"


@pytest.mark.parametrize("piece, graphs", [(16, [True]), (4, 4 * [False] + 4 * [True])])
def test_pieces_are_run_without_a_graph_first(monkeypatch, piece, graphs):
    """Else all their activations would be there at once; a batch in one piece is run once."""
    model, images, tokens = example("tiny-ViT")
    encode_image = CLIP.encode_image
    seen = []

    def watched(self, x):
        seen.append(torch.is_grad_enabled())
        return encode_image(self, x)

    monkeypatch.setattr(CLIP, "encode_image", watched)
    backward(Towers(model), images, tokens, piece, SCALER)
    assert seen == graphs


def test_accumulating_the_losses_of_pieces_is_something_else():
    """Why `backward` is long: pieces that know only their own pairs have easier losses, other gradients."""
    model, images, tokens = example("tiny-ViT")
    image_features = model.encode_image(images)
    text_features = model.encode_text(tokens)
    loss, whole = gradients(model, image_features, text_features)
    losses = []
    for image_piece, text_piece in zip(image_features.split(4), text_features.split(4)):
        losses.append(contrastive_loss(image_piece, text_piece, model.logit_scale))
    plain = torch.autograd.grad(sum(losses) / 4, list(model.parameters()))
    assert sum(losses).item() / 4 < loss - 1
    assert F.cosine_similarity(flat(plain), flat(whole.values()), dim=0) < 0.95


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_losses_of_shares_have_the_loss_of_the_whole_as_their_mean(monkeypatch, processes):
    image_features = torch.randn(8, 5)
    text_features = torch.randn(8, 5)
    scale = torch.tensor(1.5)
    losses = []
    for rank in range(processes):
        monkeypatch.setattr(large_batches, "this_process", lambda: (rank, processes))
        losses.append(loss_of_share(image_features, text_features, scale).item())
    whole = contrastive_loss(image_features, text_features, scale).item()
    assert sum(losses) / processes == pytest.approx(whole, abs=1e-5)


def test_a_batch_of_one_pair_is_refused():
    model, tokenizer = tiny("tiny-ViT")
    data = Fixed(*World().examples(1))
    with pytest.raises(ValueError, match="a batch of one pair has no wrong caption"):
        LargeBatches().train(data, model, tokenizer, steps=1, batch_size=1)


# ---- Training ------------------------------------------------------------------------------------


def test_training_in_pieces_is_the_same_training():
    """Losses and weights of four steps, those of the plain loop but for rounding."""
    plain, tokenizer = tiny("tiny-ViT")
    pieces, _ = tiny("tiny-ViT")
    options = {"tokenizer": tokenizer, "steps": 4, "batch_size": 16, "lr": 1e-3, "every": 1}
    rows = train(Scenes(), plain.double(), **options)
    again = LargeBatches(micro_batch=5).train(Scenes(), pieces.double(), **options)
    assert [row["loss"] for row in again] == pytest.approx([row["loss"] for row in rows], abs=1e-10)
    for (key, w), x in zip(plain.named_parameters(), pieces.parameters()):
        torch.testing.assert_close(w, x, atol=1e-8, rtol=0, msg=key)


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_mixed_precision_stays_near_float32_and_keeps_float32_weights(precision):
    """float16's gradients are scaled, and the scale is halved where that was too much."""
    losses = []
    states = []
    data = Fixed(*World().batch(1, 16))
    for kind in ("float32", precision):
        model, tokenizer = tiny()
        options = {"steps": 4, "batch_size": 16, "every": 4, "lr": 1e-4}
        row, = LargeBatches(precision=kind).train(data, model, tokenizer, **options, keep=states.append)
        losses.append(row["loss"])
        assert all(p.dtype == torch.float32 for p in model.parameters())
        scale = states[-1]["scaler"]["scale"]
        if kind == "float16":
            assert scale == 65536 / 2 ** row["skipped"] >= 32
        else:
            assert scale == 1
            assert row["skipped"] == 0
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], abs=0.05)


def keep_in(folder):
    """-> what keeps the state of step n in folder/n.pt."""
    return lambda state: torch.save(state, folder / f"{state['step']}.pt")


@pytest.mark.parametrize("name, precision, micro_batch", [
    ("tiny-RN", "float32", 2),
    ("tiny-ViT", "float16", None),
])
def test_resumed_run_equals_the_whole_one(tmp_path, name, precision, micro_batch):
    """To the last bit: weights, running statistics, the scale of float16's gradients, history."""
    whole, tokenizer = tiny(name)
    options = {"tokenizer": tokenizer, "steps": 4, "batch_size": 4, "every": 2}
    trainer = LargeBatches(micro_batch, precision)
    rows = trainer.train(Spoilt(whole, {0}), whole, **options, keep=keep_in(tmp_path))
    rest, _ = tiny(name, seed=5)
    state = torch.load(tmp_path / "2.pt", weights_only=True)
    trainer_of_rest = LargeBatches(micro_batch, precision)
    again = trainer_of_rest.train(Scenes(), rest, **options, state=state)
    assert same(whole.state_dict(), rest.state_dict())
    assert trainer_of_rest.scaler.state_dict() == trainer.scaler.state_dict()
    if precision == "float16":
        assert trainer.scaler.get_scale() == 32768, "halved by the step that was spoilt"
    assert len(rows) == len(again) == 2
    for a, b in zip(rows, again):
        assert {**a, "images_per_second": 0} == {**b, "images_per_second": 0}


def test_a_run_that_began_without_pieces_goes_on_in_pieces_and_the_reverse(tmp_path):
    """As one does that began in one process and goes on in several."""
    model, tokenizer = tiny("tiny-ViT")
    options = {"tokenizer": tokenizer, "steps": 4, "batch_size": 8, "every": 2}
    losses = []
    for first, then in ((train, train), (train, LargeBatches(3).train), (LargeBatches(3).train, train)):
        model, _ = tiny("tiny-ViT")
        first(Scenes(), model, **options, keep=keep_in(tmp_path))
        state = torch.load(tmp_path / "2.pt", weights_only=True)
        model, _ = tiny("tiny-ViT", seed=5)
        _, row = then(Scenes(), model, **options, state=state)
        losses.append(row["loss"])
    assert losses[1:] == pytest.approx(2 * losses[:1], abs=1e-4)


@pytest.mark.parametrize("name", ["tiny-RN", "tiny-ViT"])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(name):
    """Weights, moments and averages of batch norm stay, to the last bit; the next step goes on.

    One bad picture must not be the end of a run of days.
    """
    model, tokenizer = tiny(name)
    data = Spoilt(model, {2})
    states = []
    options = {"steps": 6, "batch_size": 8, "lr": 1e-3, "every": 2}
    history = LargeBatches().train(data, model, tokenizer, **options, keep=states.append)
    seen = []
    for weights in data.seen:
        seen.append({key: w for key, w in weights.items() if "num_batches_tracked" not in key})
    unchanged = [same(before, after) for before, after in zip(seen, seen[1:])]
    assert unchanged == [False, False, True, False, False]
    assert [row["skipped"] for row in history] == [0, 1, 0]
    assert all(math.isfinite(row["loss"]) for row in history)
    assert int(states[-1]["optimizer"]["state"][0]["step"]) == 5
    assert states[-1]["scaler"]["scale"] == 1
    assert all(w.isfinite().all() for w in states[-1]["model"].values())


def test_gradients_that_are_not_finite_stop_a_run_whose_loss_is():
    """A skipped step is one that taught nothing, whichever of the two was at fault."""
    model, tokenizer = tiny("tiny-ViT")
    model.visual.proj.register_hook(lambda gradient: gradient * math.nan)
    before = {key: w.clone() for key, w in model.state_dict().items()}
    with pytest.raises(ValueError, match="no finite loss in steps 1 to 2; try a lower --lr"):
        LargeBatches().train(Scenes(), model, tokenizer, steps=4, batch_size=8, every=2)
    assert same(before, model.state_dict())


def test_scale_is_clamped():
    model, tokenizer = tiny("tiny-ViT")
    model.logit_scale.data.fill_(math.log(500))
    data = Fixed(*World().examples(8))
    history = LargeBatches().train(data, model, tokenizer, steps=2, batch_size=8, every=1)
    assert history[0]["scale"] == pytest.approx(100, abs=1e-3)
    assert history[1]["scale"] <= 100.001


# ---- Checkpointing -------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["ViT", "ResNet"])
def test_checkpointing_changes_only_memory(config):
    """Equal loss, gradients and running statistics after a step, although blocks are run twice."""
    torch.manual_seed(0)
    plain = CLIP(config).train()
    sparing = checkpoint_blocks(CLIP(config).train())
    sparing.load_state_dict(plain.state_dict())
    images = torch.randn(4, 3, config.image_resolution, config.image_resolution)
    tokens = torch.randint(127, (4, 16))
    losses = []
    for model in (plain, sparing):
        loss = contrastive_loss(model.encode_image(images), model.encode_text(tokens), model.logit_scale)
        loss.backward()
        losses.append(loss)
    torch.testing.assert_close(*losses)
    for (key, a), b in zip(plain.named_parameters(), sparing.parameters()):
        torch.testing.assert_close(a.grad, b.grad, msg=f"gradient of {key}")
    for (key, a), b in zip(plain.named_buffers(), sparing.buffers()):
        if "running" in key:
            torch.testing.assert_close(a, b, msg=key)


@pytest.mark.parametrize("config", [VIT, RESNET], ids=["ViT", "ResNet"])
def test_checkpointing_keeps_less_for_the_gradient(config):
    """Of both encoders."""
    images = torch.randn(4, 3, config.image_resolution, config.image_resolution)
    tokens = torch.randint(127, (4, 16))

    def count_kept(encode, x):
        """How many numbers autograd keeps."""
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            encode(x)
        return sum(sizes)

    plain = CLIP(config).train()
    sparing = checkpoint_blocks(CLIP(config).train())
    assert count_kept(sparing.encode_text, tokens) < count_kept(plain.encode_text, tokens) / 3
    assert count_kept(sparing.encode_image, images) < count_kept(plain.encode_image, images) / 1.5


# ---- The command line ----------------------------------------------------------------------------


@pytest.mark.parametrize("argv", [
    ["--precision", "tf32"], ["--precision", "float16"], ["--checkpointing"], ["--micro-batch", "3"],
    ["--micro-batch", "3", "--precision", "bfloat16"], ["--micro-batch", "3", "--freeze", "image"],
])
def test_every_option_goes_through_the_command_line(tmp_path, monkeypatch, argv):
    """It reaches the training, and the run that has it differs from none but in what it should."""
    hurry(monkeypatch.setattr)
    expected = {"steps": 2, "batch_size": 8, "lr": 5e-3, "weight_decay": 0.2, "warmup": 50,
                "text_lr": train_tiny.TEXT_LR, "muon": True}
    if "--freeze" in argv:
        checkpoint(tmp_path / "given.pt")
        argv = [*argv, "--init", str(tmp_path / "given.pt")]
        expected.update(lr=1e-5, text_lr=1.0, muon=False)
    argv = [*argv, "--model", "tiny-ViT", "--steps", "2", "--batch-size", "8"]
    calls = []
    pieces = []
    kinds = set()
    multiplications = set()

    def watched_train(data, model, tokenizer, **options):
        calls.append((model, options))
        return train(data, model, tokenizer, **options)

    def watched_backward(towers, images, tokens, micro_batch, scaler):
        pieces.append(micro_batch)
        kinds.add(towers.dtype)
        multiplications.add(torch.get_float32_matmul_precision())
        return backward(towers, images, tokens, micro_batch, scaler)

    monkeypatch.setattr(train_tiny, "train", watched_train)
    monkeypatch.setattr(large_batches, "backward", watched_backward)
    assert main([*argv, "--weight-decay", "0.2", "--out", str(tmp_path)]) == 0
    (model, options), = calls
    assert {name: options[name] for name in expected} == expected
    assert multiplications == {"high" if "tf32" in argv else "medium"}
    assert torch.get_float32_matmul_precision() == "highest"
    precision = "float32"
    if "bfloat16" in argv or "float16" in argv:
        precision = argv[argv.index("--precision") + 1]
    assert kinds == {getattr(torch, precision)}
    assert pieces == 2 * [3 if "--micro-batch" in argv else 8]
    recomputed = any(isinstance(module, large_batches.CheckpointedBlock) for module in model.modules())
    assert recomputed == ("--checkpointing" in argv)
    load(tmp_path / "clip.pt")


@pytest.mark.parametrize("options", [["--micro-batch", "3"], ["--precision", "float16"], ["--checkpointing"],
                                     ["--fast"]])
def test_an_interrupted_run_keeps_its_options(tmp_path, monkeypatch, options):
    """It ends as if it had not been interrupted, to the last bit."""
    hurry(monkeypatch.setattr)
    # the choice between two ways is made by timing them; here it is always the same
    monkeypatch.setattr(fast, "quickest", lambda key, ways, arguments: ways[-1])
    argv = [*options, "--model", "tiny-ViT", "--steps", "4", "--batch-size", "4"]
    assert main([*argv, "--out", str(tmp_path / "whole")]) == 0
    with monkeypatch.context() as patch:
        at_step(patch, 3, lambda: signal.raise_signal(signal.SIGINT))
        assert main([*argv, "--out", str(tmp_path / "broken")]) == 130
    assert main(["--resume", "--out", str(tmp_path / "broken")]) == 0
    assert_same(tmp_path / "broken", tmp_path / "whole", lines=4)


@pytest.mark.parametrize("n, micro_batch, sizes", [
    (5, 2, [2, 3]), (6, 2, [2, 2, 2]), (65, 64, [65]), (66, 64, [64, 2]), (3, 2, [3]), (2, 8, [2]), (1, 2, [1]),
])
def test_no_piece_has_one_pair_alone(n, micro_batch, sizes):
    """Batch norm can't take it; all rows are in one piece, in their order."""
    pieces = large_batches.split(torch.arange(n), micro_batch)
    assert [len(piece) for piece in pieces] == sizes
    assert torch.cat(pieces).tolist() == list(range(n))


def test_a_micro_batch_that_leaves_one_pair_trains(tmp_path, monkeypatch):
    """With the ResNet, whose last maps have a single place: five pairs in pieces of two."""
    hurry(monkeypatch.setattr)
    argv = ["--steps", "2", "--batch-size", "5", "--micro-batch", "2", "--out", str(tmp_path)]
    assert main(argv) == 0
    load(tmp_path / "clip.pt")


def test_one_pair_for_each_process_is_refused_where_batch_norm_needs_two(monkeypatch):
    """One line says so; not where there is no batch norm, or where it stands still."""
    monkeypatch.setattr(torch.nn.parallel, "DistributedDataParallel", lambda towers: towers)
    monkeypatch.setattr(large_batches, "this_process", lambda: (0, 4))
    monkeypatch.setattr(train_tiny, "train", lambda *data, batch_size, **options: batch_size)
    model, tokenizer = tiny("tiny-RN")
    with pytest.raises(ValueError, match="one pair of a batch.*a larger --batch-size"):
        LargeBatches().train(World(), model, tokenizer, batch_size=7)
    assert LargeBatches().train(World(), model, tokenizer, batch_size=8) == 8
    train_tiny.freeze(model, "image")
    assert LargeBatches().train(World(), model, tokenizer, batch_size=7) == 4
    assert LargeBatches().train(World(), *tiny("tiny-ViT"), batch_size=7) == 4


def test_command_line_and_class_have_the_same_defaults():
    """What is written about the one is true of the other."""
    options = vars(train_tiny.parse([]))
    parameters = inspect.signature(LargeBatches).parameters
    for name in ("micro_batch", "precision", "checkpointing"):
        assert parameters[name].default == options[name], name
    assert parameters["compiled"].default == options["compile"]
    assert inspect.signature(LargeBatches.train).parameters["batch_size"].default == options["batch_size"]


@pytest.mark.slow
def test_compiled_training_is_the_same_training(tmp_path, monkeypatch):
    """Kernels that torch.compile writes, in text batches of several widths; needs a C++ compiler."""
    hurry(monkeypatch.setattr)
    losses = []
    for name, options in (("plain", []), ("compiled", ["--compile"])):
        argv = ["--model", "tiny-ViT", "--steps", "6", "--batch-size", "8", *options]
        assert main([*argv, "--out", str(tmp_path / name)]) == 0
        rows = (tmp_path / name / "log.jsonl").read_text().splitlines()[1:-1]
        losses.append([json.loads(row)["loss"] for row in rows])
    plain, compiled = losses
    assert plain == pytest.approx(compiled, abs=1e-3)
    assert plain != compiled
    load(tmp_path / "compiled/clip.pt")
