"""tutorial/extras/fast.py: each of its short cuts gives what the plain formula gives, and is taken."""
import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from goldens import recipe
from torch import nn

import zeroshot
from clip_minimal import CLIP, Attention, CLIPConfig, Tokenizer, Transformer, contrastive_loss, load, save
from tutorial.extras import fast
from tutorial.extras.fast import accelerate

VIT = CLIPConfig(32, 32, 3, 128, 8, 128, 3, 16, 128)
RESNET = CLIPConfig(32, 64, (1, 2, 1, 1), 8, None, 128, 2, 16, 128)
GELU = CLIPConfig(32, 32, 1, 64, 16, 64, 1, 16, 128, quick_gelu=False)
START, END = 126, 127

both = pytest.mark.parametrize("config", [VIT, RESNET], ids=["ViT", "ResNet"])


@pytest.fixture(autouse=True)
def nothing_timed_yet(monkeypatch):
    monkeypatch.setattr(fast, "QUICKEST", {})


def plain_model(config, dtype=torch.float64):
    """In eval mode; all weights are random, and so are the averages of the batch norms."""
    model = CLIP(config)
    shapes = {key: tensor.shape for key, tensor in model.state_dict().items()}
    weights = {key: torch.from_numpy(array) for key, array in recipe.weights(shapes, seed=3).items()}
    model.load_state_dict({key: tensor.reshape(shapes[key]) for key, tensor in weights.items()})
    return model.to(dtype, memory_format=torch.channels_last).eval()


def make_images(config, n=3, dtype=torch.float64):
    return torch.from_numpy(recipe.images(2, n, config.image_resolution)).to(dtype)


def row(*ids, behind=()):
    """Start, ids, end, then whatever stands behind, then zeros: 16 tokens."""
    tokens = [START, *ids, END, *behind]
    return tokens + [0] * (16 - len(tokens))


TEXTS = torch.tensor([
    row(5, 6, 7),
    row(5, 6),  # the beginning of the first
    row(),  # the beginning of all
    row(5, 6, 7),  # the same as the first
    row(8, 6, 7),  # the same tokens behind another one
    row(8, 8, 6, 7),
    row(5, 7, 7),
    row(5, 6, 7, behind=[9, 9, 9]),  # the same up to its end
    row(5, 6, behind=[7, 7, END, 3]),  # an end token behind the first one
    row(5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18),  # of all sixteen
    row(19, 20, 21, 22, 23),
])


def assert_close(got, expected, bound=1e-10):
    """The largest error, relative to the largest value that was expected."""
    assert got.shape == expected.shape and got.dtype == expected.dtype
    error = ((got - expected).abs().max() / expected.abs().max()).item()
    assert error < bound, f"relative error {error:.1e}"


# ---- The whole model -----------------------------------------------------------------------------


@pytest.mark.parametrize("gradients", [False, True])
@pytest.mark.parametrize("dtype, bound", [(torch.float64, 1e-10), (torch.float32, 5e-6)])
@pytest.mark.parametrize("config", [VIT, RESNET, GELU], ids=["ViT", "ResNet", "GELU"])
def test_features_and_logits_are_those_of_the_plain_model(config, dtype, bound, gradients):
    """In float32, too, they are compared with what float64 gives."""
    reference = plain_model(config)
    images, tokens = make_images(config), TEXTS
    model = accelerate(plain_model(config, dtype))
    assert type(model) is fast.FastCLIP
    with torch.set_grad_enabled(gradients):
        assert_close(model.encode_image(images).double(), reference.encode_image(images), bound)
        assert_close(model.encode_text(tokens).double(), reference.encode_text(tokens), bound)
        logits, transposed = model(images, tokens)
        assert_close(logits.double(), reference(images, tokens)[0], bound)
        assert transposed.equal(logits.T)
        penultimate = model.visual.penultimate(images.to(dtype))
        assert_close(penultimate.double(), reference.visual.penultimate(images), bound)


def step(model, images, tokens):
    """One training step's loss and gradients."""
    loss = contrastive_loss(model.encode_image(images), model.encode_text(tokens), model.logit_scale)
    loss.backward()
    return loss.detach()


@pytest.mark.parametrize("way", [0, 1])
@both
def test_training_has_the_gradients_of_the_plain_model(monkeypatch, config, way):
    """Loss, gradient of each weight, averages of the batch norms, by either way of linear layers and attention."""
    monkeypatch.setattr(fast, "quickest", lambda key, ways, arguments: ways[way])
    plain, model = plain_model(config).train(), accelerate(plain_model(config).train())
    images, tokens = make_images(config, 6), TEXTS[[0, 1, 4, 5, 6, 9]]
    assert_close(step(model, images, tokens), step(plain, images, tokens))
    gradients = {name: parameter.grad for name, parameter in plain.named_parameters()}
    largest = max(gradient.abs().max() for gradient in gradients.values())
    for name, parameter in model.named_parameters():
        assert (parameter.grad - gradients[name]).abs().max() < 1e-10 * largest, name
    for (name, a), b in zip(plain.named_buffers(), model.buffers(), strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12), name


def test_batch_norms_of_a_frozen_encoder_stay_as_they_are():
    """Of a model in training mode they are not folded, whatever the mode of its image encoder."""
    model = plain_model(RESNET).train()
    model.visual.eval()
    accelerate(model)
    before = copy.deepcopy(model.visual.state_dict())
    step(model, make_images(RESNET, 3), TEXTS[:3])
    assert all(tensor.equal(before[name]) for name, tensor in model.visual.state_dict().items())
    assert sum(isinstance(module, nn.BatchNorm2d) for module in model.modules()) == 22
    images = make_images(RESNET)
    assert_close(model.encode_image(images), plain_model(RESNET).encode_image(images))


@pytest.mark.parametrize("training, config", [(True, VIT), (True, RESNET), (False, VIT)])
def test_the_state_dict_stays_as_it_is(training, config):
    plain = plain_model(config).train(training)
    before, model = plain.state_dict(), accelerate(plain_model(config).train(training))
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(after[name].equal(tensor) for name, tensor in before.items())
    assert [name for name, _ in model.named_parameters()] == [name for name, _ in plain.named_parameters()]


def test_in_eval_mode_batch_norms_are_folded_and_all_else_stays():
    """Each convolution gets a bias, and another kernel; the names of its batch norm are gone."""
    plain = plain_model(RESNET)
    before, after = plain.state_dict(), accelerate(plain_model(RESNET)).state_dict()
    gone, new = set(before) - set(after), set(after) - set(before)
    norms = {name for name, module in plain.named_modules() if isinstance(module, nn.BatchNorm2d)}
    convolutions = {name for name, module in plain.named_modules() if isinstance(module, nn.Conv2d)}
    assert len(norms) == len(convolutions) == 22
    assert {name.rsplit(".", 1)[0] for name in gone} == norms and len(gone) == 5 * 22
    assert new == {f"{name}.bias" for name in convolutions}
    for name in set(before) & set(after):
        if name.removesuffix(".weight") not in convolutions:
            assert after[name].equal(before[name]), name


@both
def test_a_model_in_training_mode_can_be_saved_and_loaded(tmp_path, config):
    """The file is the plain model's, and what is loaded is plain."""
    tokenizer = Tokenizer.train(["a red star"], 519)
    config = CLIPConfig(**{**vars(config), "vocab_size": len(tokenizer.vocab)})
    model = accelerate(plain_model(config, torch.float32).train())
    save(tmp_path / "clip.pt", model, tokenizer)
    loaded, _ = load(tmp_path / "clip.pt")
    assert type(loaded) is CLIP and loaded.config == config
    tokens = tokenizer(["a star", "red"], 16)
    with torch.no_grad():
        assert_close(model.eval().encode_text(tokens), loaded.encode_text(tokens), 5e-6)
        images = make_images(config, dtype=torch.float32)
        assert_close(model.encode_image(images), loaded.encode_image(images), 5e-6)


@both
def test_twice_does_no_harm(config):
    """And what was accelerated for training is folded by the second time, in eval mode."""
    reference, images = plain_model(config), make_images(config)
    once = accelerate(plain_model(config))
    features, texts = once.encode_image(images), once.encode_text(TEXTS)
    twice = accelerate(once)
    assert twice is once
    assert twice.encode_image(images).equal(features) and twice.encode_text(TEXTS).equal(texts)
    trained = accelerate(accelerate(plain_model(config).train()).eval())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in trained.modules())
    assert_close(trained.encode_image(images), reference.encode_image(images))
    assert_close(trained.encode_text(TEXTS), reference.encode_text(TEXTS))


def test_a_copy_of_an_accelerated_model_is_one():
    model = accelerate(plain_model(VIT))
    twin = copy.deepcopy(model)
    assert type(twin) is fast.FastCLIP and twin.encode_text(TEXTS).equal(model.encode_text(TEXTS))


class Doubled(CLIP):
    """A CLIP with a text encoder of its own."""

    def encode_text(self, tokens):
        return 2 * super().encode_text(tokens)


@pytest.mark.parametrize("gradients", [False, True])
def test_a_subclass_keeps_its_own_methods(gradients):
    plain, model = plain_model(VIT), plain_model(VIT)
    model.__class__ = Doubled
    accelerate(model)
    assert type(model) is Doubled and type(model.visual) is fast.FastVisionTransformer
    with torch.set_grad_enabled(gradients):
        assert_close(model.encode_text(TEXTS), 2 * plain.encode_text(TEXTS))
        assert_close(model.encode_image(make_images(VIT)), plain.encode_image(make_images(VIT)))


@pytest.mark.parametrize("dtype, bound", [(torch.float16, 0.9999), (torch.bfloat16, 0.999)])
@pytest.mark.parametrize("first", ["half", "accelerate", "autocast"])
@both
@torch.no_grad()
def test_half_precision_is_close_to_float32(config, first, dtype, bound):
    """Features turn by less than 0.9 degrees in float16, 2.6 in bfloat16, whichever comes first."""
    plain, model = plain_model(config, torch.float32), plain_model(config, torch.float32)
    images, tokens = make_images(config, dtype=torch.float32), TEXTS
    if first == "half":
        accelerate(model.to(dtype))
    elif first == "accelerate":
        accelerate(model).to(dtype)
    else:
        accelerate(model)
    with torch.autocast("cpu", dtype, enabled=first == "autocast"):
        got = model.encode_image(images), model.encode_text(tokens)
    for a, b in zip(got, (plain.encode_image(images), plain.encode_text(tokens))):
        assert a.dtype == dtype and F.cosine_similarity(a.float(), b, dim=1).min() > bound


def test_classifiers_are_those_of_the_plain_model():
    """By zeroshot.py, whose batches hold many texts with common beginnings."""
    names = ["cat", "dog", "red cat", "cat on a dog"]
    tokenizer = Tokenizer.train(names + zeroshot.TEMPLATES["ensemble"], 700)
    config = CLIPConfig(32, 32, 2, 128, 8, 128, 2, 24, len(tokenizer.vocab))
    plain = plain_model(config)
    classifier = zeroshot.zero_shot_classifier(plain, tokenizer, names, zeroshot.TEMPLATES["ensemble"])
    model = accelerate(plain)
    got = zeroshot.zero_shot_classifier(model, tokenizer, names, zeroshot.TEMPLATES["ensemble"])
    assert_close(got, classifier, 5e-6)  # features are brought to float32


@both
@torch.no_grad()
def test_no_tensor_is_made_on_another_device(config):
    """On "meta", where tensors have no numbers: to mix them with the CPU's is an error, as it is on a GPU.

    The tree of beginnings is made on the CPU, and then given to the model wherever that is."""
    model = accelerate(plain_model(config)).to("meta")
    tokens, end = TEXTS.sort(dim=0).values, torch.full((len(TEXTS),), 4)
    features = [model.encode_image(make_images(config).to("meta")), model.encode_rows(TEXTS.to("meta")),
                model.encode_nodes(tokens, end, torch.device("meta"))]
    assert [(x.device.type, len(x)) for x in features] == [("meta", 3), ("meta", 11), ("meta", 11)]


# ---- Texts as a tree of beginnings ---------------------------------------------------------------


def count_tokens(model):
    """-> a list that grows by the number of tokens of each call of the text encoder."""
    counts = []

    def count(module, inputs):
        counts.append(inputs[0].shape[:2].numel())

    model.transformer.register_forward_pre_hook(count)
    return counts


@pytest.mark.parametrize("size", [1, 2, 3, 5, 8, 20, 512])
@torch.no_grad()
def test_the_tree_gives_each_text_what_it_has_alone(size):
    plain, model = plain_model(VIT), accelerate(plain_model(VIT))
    alone = torch.cat([plain.encode_text(TEXTS[i:i + 1]) for i in range(len(TEXTS))])
    assert_close(model.encode_tree(TEXTS, size), alone)
    backwards = TEXTS.flip(0)
    assert_close(model.encode_tree(backwards, size), alone.flip(0))


@torch.no_grad()
def test_one_text_is_a_tree_too():
    plain, model = plain_model(VIT), accelerate(plain_model(VIT))
    for i in range(len(TEXTS)):
        assert_close(model.encode_text(TEXTS[i:i + 1]), plain.encode_text(TEXTS[i:i + 1]))


@torch.no_grad()
def test_ids_may_be_of_32_bits():
    """As OpenAI's tokenizer gives them."""
    model = accelerate(plain_model(VIT))
    assert model.encode_text(TEXTS.int()).equal(model.encode_text(TEXTS))


@pytest.mark.parametrize("seed", range(10))
@torch.no_grad()
def test_trees_of_random_texts(seed):
    """Of three letters, so that they share much; anything stands behind their ends, other end tokens too."""
    rng = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, (60, 9), generator=rng)
    tokens[:, 0] = START
    ends = torch.randint(1, 9, (60,), generator=rng)
    tokens[torch.arange(60), ends] = END
    tokens[torch.rand(60, 9, generator=rng) < 0.05] = END  # some end earlier, and some end twice
    plain, model = plain_model(GELU), accelerate(plain_model(GELU))
    size = [1, 4, 16, 64, 512][seed % 5]
    assert_close(model.encode_tree(tokens, size), plain.encode_text(tokens))


@torch.no_grad()
def test_the_end_token_is_the_models_own():
    """As in the plain model it need not be the largest id; a text without one ends at its first token."""
    plain, model = plain_model(VIT), accelerate(plain_model(VIT))
    plain.eot_token = model.eot_token = 6
    assert_close(model.encode_text(TEXTS), plain.encode_text(TEXTS))


@torch.no_grad()
def test_each_beginning_is_computed_once():
    """However often it occurs: what is computed is as many tokens as there are different beginnings."""
    model = accelerate(plain_model(VIT))
    counts = count_tokens(model)
    model.encode_text(TEXTS)
    beginnings = set()
    for tokens in TEXTS.tolist():
        for length in range(1, tokens.index(END) + 2):
            beginnings.add(tuple(tokens[:length]))
    assert counts == [len(beginnings)] == [36]


@torch.no_grad()
def test_large_trees_are_computed_in_parts():
    """A hundred texts of ten tokens that share their first one alone: 901 beginnings, some 64 at a time."""
    tokens = torch.randint(1, 120, (100, 10), generator=torch.Generator().manual_seed(0))
    tokens[:, 0] = START
    tokens[:, 1] = torch.arange(100)
    tokens[:, -1] = END
    model = accelerate(plain_model(GELU))
    counts = count_tokens(model)
    model.encode_tree(tokens, 64)
    assert sum(counts) == 901 + len(counts) - 1, "the start once in each part"
    assert 13 <= len(counts) <= 15 and max(counts) <= 64 + 10
    counts.clear()
    model.encode_text(tokens)
    assert sum(counts) == 901 + 1 and max(counts) <= 512 + 10


def test_new_nodes_and_parts_by_hand():
    """Four sorted texts; the third one ends where the second does, and the fourth begins otherwise."""
    tokens = torch.tensor([[1, 2, 9, 0], [1, 2, 3, 9], [1, 2, 3, 9], [1, 4, 9, 5]])
    end = torch.tensor([2, 3, 3, 2])
    new = fast.new_nodes(tokens, end).int().tolist()
    assert new == [[1, 1, 1, 0], [0, 0, 1, 1], [0, 0, 0, 0], [0, 1, 1, 0]]
    # up to each text there are 3, 5, 5 and 7 nodes
    assert fast.split_by_nodes(tokens, end, 100) == [slice(0, 4)]
    assert fast.split_by_nodes(tokens, end, 5) == [slice(0, 1), slice(1, 4)]
    assert fast.split_by_nodes(tokens, end, 3) == [slice(0, 3), slice(3, 4)]


def test_with_gradients_texts_are_rows():
    """A tree of beginnings is for inference: gradients come back through rows of all tokens."""
    model = accelerate(plain_model(VIT))
    counts = count_tokens(model)
    features = model.encode_text(TEXTS)
    assert features.requires_grad and counts == [11 * 16]


# ---- Attention, and the last block ---------------------------------------------------------------


def random_weights(module):
    torch.manual_seed(0)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.1)
    return module.double()


PLACES = torch.tensor([[0, 1], [5, 0], [2, 2], [3, 5]])


@pytest.mark.parametrize("causal", [False, True])
def test_attention_is_the_formula(causal):
    """For all tokens, and for two of each row."""
    plain = random_weights(Attention(128))
    module = accelerate(copy.deepcopy(plain))
    assert type(module) is fast.FastAttention
    x = torch.randn(4, 6, 128, dtype=torch.float64)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1) if causal else None
    expected = plain(x, mask)
    assert_close(module(x, mask), expected)
    assert_close(module(x, mask, PLACES), torch.stack([row[i] for row, i in zip(expected, PLACES)]))


@pytest.mark.parametrize("causal", [False, True])
def test_the_last_block_is_computed_for_the_wanted_tokens_alone(causal):
    """It gives them what it would give them among all."""
    plain = random_weights(Transformer(128, 3, F.gelu))
    model = accelerate(copy.deepcopy(plain))
    seen = []
    for block in model.resblocks:
        block.mlp.register_forward_hook(lambda module, inputs, output: seen.append(tuple(output.shape)))
    x = torch.randn(4, 6, 128, dtype=torch.float64)
    mask = torch.ones(6, 6, dtype=torch.bool).triu(1) if causal else None
    expected = plain(x, mask)
    assert_close(model(x, mask, PLACES), torch.stack([row[i] for row, i in zip(expected, PLACES)]))
    assert seen == [(4, 6, 128), (4, 6, 128), (4, 2, 128)]
    assert_close(model(x, mask), expected)


@both
def test_images_and_texts_ask_for_one_token_of_the_last_block(config):
    model = accelerate(plain_model(config))
    seen = []
    transformers = [model.transformer, getattr(model.visual, "transformer", model.transformer)]
    for transformer in transformers:
        transformer.resblocks[-1].mlp.register_forward_hook(lambda module, x, y: seen.append(tuple(y.shape)))
    if config is VIT:
        model.encode_image(make_images(VIT))
        assert seen == [(3, 1, 128)]
        seen.clear()
    model.encode_text(TEXTS)
    assert (11, 1, 128) in seen and len(set(seen)) == 1


def test_attention_in_one_call_does_not_keep_its_weights_for_the_gradient(monkeypatch):
    """A plain one keeps (B, H, T, T) numbers, this one no tensor so large, where it is the quicker way."""
    monkeypatch.setattr(fast, "quickest", lambda key, ways, arguments: ways[0])
    kept = []
    for module in (Attention(128), accelerate(Attention(128))):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            module(torch.randn(2, 400, 128), torch.ones(400, 400, dtype=torch.bool).triu(1))
        kept.append(max(sizes))
    assert kept[0] >= 2 * 2 * 400 * 400 and kept[1] < 2 * 2 * 400 * 400


# ---- Linear layers -------------------------------------------------------------------------------


@pytest.mark.parametrize("way", [F.linear, fast.linear_as_convolution, fast.linear])
def test_a_linear_layer_is_a_matrix_product_in_each_way(way):
    """Values and gradients of x @ W.T + b in float64, tokens one after the other in memory."""
    torch.manual_seed(0)
    shapes = [(17, 5, 8), (6, 8), (6,)]
    arguments = [torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    x, weight, bias = arguments
    y = way(x, weight, bias)
    expected = torch.einsum("btd,od->bto", x, weight) + bias
    assert_close(y, expected)
    assert y.is_contiguous()
    gradients = torch.autograd.grad(y.sin().sum(), arguments)
    for got, wanted in zip(gradients, torch.autograd.grad(expected.sin().sum(), arguments)):
        assert_close(got, wanted)


@pytest.mark.parametrize("shape", [(8,), (3, 8), (3, 4, 8), (3, 4, 5, 8)])
@pytest.mark.parametrize("bias", [False, True])
def test_linear_modules_of_any_shape(shape, bias):
    plain = nn.Linear(8, 6, bias=bias).double()
    module = accelerate(copy.deepcopy(plain))
    x = torch.randn(*shape, dtype=torch.float64)
    assert type(module) is fast.FastLinear
    assert_close(module(x), plain(x))


class Clock:
    """Time that passes only when something says so."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(fast.time, "perf_counter", lambda: self.now)


def way(clock, seconds, calls, name):
    """A function that takes so long, and writes down that it was called."""

    def function(x):
        clock.now += seconds
        calls.append(name)
        return 2 * x

    return function


@pytest.mark.parametrize("slower", [0, 1])
@torch.no_grad()
def test_the_quicker_way_is_kept(monkeypatch, slower):
    """Wherever in the list it stands. For a known key nothing is timed again, for another one it is."""
    clock, calls = Clock(monkeypatch), []
    slow, quick = way(clock, 3, calls, "slow"), way(clock, 1, calls, "quick")
    ways = [quick, slow]
    if slower == 0:
        ways = [slow, quick]
    assert fast.quickest("key", ways, [torch.ones(3)]) is quick
    assert calls.count("slow") == calls.count("quick") > 1
    calls.clear()
    assert fast.quickest("key", ways, [torch.ones(3)]) is quick and not calls
    assert fast.quickest("another", ways, [torch.ones(3)]) is quick and calls


@torch.no_grad()
def test_one_slow_call_does_not_decide(monkeypatch):
    """The first call of a way may take long, as it makes things ready."""
    clock, calls = Clock(monkeypatch), []
    always = way(clock, 3, calls, "always")

    def at_first(x):
        clock.now += 1 if "at first" in calls else 100
        calls.append("at first")
        return x

    assert fast.quickest("key", [always, at_first], [torch.ones(3)]) is at_first


class SlowGradient(torch.autograd.Function):
    """x + 0, whose gradient takes ten seconds of the clock."""

    @staticmethod
    def forward(context, x, clock):
        context.clock = clock
        return x + 0

    @staticmethod
    def backward(context, gradient):
        context.clock.now += 10
        return gradient, None


@pytest.mark.parametrize("training", [False, True])
def test_in_training_the_gradient_is_timed_too(monkeypatch, training):
    clock, calls = Clock(monkeypatch), []
    even = way(clock, 3, calls, "even")

    def uneven(x):
        clock.now += 1
        return SlowGradient.apply(x, clock)

    x = torch.ones(3, requires_grad=True)
    with torch.set_grad_enabled(training):
        assert fast.quickest("key", [even, uneven], [x]) is (even if training else uneven)
    assert x.grad is None, "timing leaves no trace"


def test_each_shape_is_timed_once(monkeypatch):
    """Shapes of about as many tokens are one; what else may change the times makes another one."""
    timed = []
    monkeypatch.setattr(fast, "time_of", lambda way, arguments: timed.append(way) or 1.0)

    def times(x, layer):
        timed.clear()
        fast.linear(x, layer.weight, layer.bias)
        return len(timed)

    layer = nn.Linear(8, 6)
    assert times(torch.ones(3, 10, 8), layer) == 2
    assert times(torch.ones(3, 10, 8), layer) == 0
    assert times(torch.ones(8, 4, 8), layer) == 0, "17 to 32 tokens"
    assert times(torch.ones(1, 17, 8), layer) == 0
    assert times(torch.ones(1, 16, 8), layer) == 2
    assert times(torch.ones(1, 33, 8), layer) == 2
    assert times(torch.ones(3, 10, 8), nn.Linear(8, 7)) == 2
    assert times(torch.ones(3, 10, 8).double(), layer.double()) == 2
    with torch.no_grad():
        assert times(torch.ones(3, 10, 8).double(), layer) == 2


def test_the_way_that_was_chosen_is_taken(monkeypatch):
    """Not only timed."""
    taken = []
    monkeypatch.setattr(fast, "time_of", lambda way, arguments: 1.0 if way is convolution else 2.0)
    real = fast.linear_as_convolution

    def convolution(x, weight, bias):
        taken.append(tuple(x.shape))
        return real(x, weight, bias)

    monkeypatch.setattr(fast, "linear_as_convolution", convolution)
    fast.linear(torch.ones(3, 10, 8), torch.ones(6, 8), torch.ones(6))
    assert taken == [(3, 10, 8)]


def test_attention_has_a_choice_in_training_alone(monkeypatch):
    """Both ways are timed once for about as many tokens, with the mask; without a gradient nothing is timed."""
    timed = []

    def time_of(way, arguments):
        timed.append((way, arguments[3]))
        return 2.0 if way is F.scaled_dot_product_attention else 1.0

    monkeypatch.setattr(fast, "time_of", time_of)
    q, k, v = torch.randn(3, 2, 1, 10, 64, requires_grad=True).unbind()
    may_look = torch.ones(10, 10, dtype=torch.bool).tril()
    with torch.no_grad():
        expected = fast.attention(q, k, v, may_look)
    assert not timed
    assert_close(fast.attention(q, k, v, may_look), expected, 1e-6)
    assert timed == [(F.scaled_dot_product_attention, may_look), (fast.attention_step_by_step, may_look)]
    fast.attention(q[:, :, :9], k[:, :, :9], v[:, :, :9], may_look[:9, :9])
    assert len(timed) == 2, "9 to 16 tokens"
    other_mask = torch.ones(10, 10, dtype=torch.bool)
    assert_close(fast.attention(q, k, v, other_mask), F.scaled_dot_product_attention(q, k, v), 1e-6)


# ---- Compilers and exporters ---------------------------------------------------------------------


class Tower(nn.Module):
    """An encoder as a module of its own, as exporters want it."""

    def __init__(self, model, name):
        super().__init__()
        self.model = model
        self.name = name

    def forward(self, x):
        return getattr(self.model, self.name)(x)


@pytest.fixture(params=["encode_image", "encode_text"])
def tower(request, config):
    """(accelerated encoder, inputs to trace with, a larger batch, its features from the plain encoder)."""
    plain = Tower(plain_model(config, torch.float32), request.param).eval()
    images = make_images(config, 5, torch.float32)
    inputs = TEXTS[:5] if request.param == "encode_text" else images
    with torch.no_grad():
        expected = plain(inputs)
    return Tower(accelerate(plain.model), request.param).eval(), inputs[:3], inputs, expected


def refuse(*_):
    raise AssertionError("nothing is timed while PyTorch records")


@both
@torch.no_grad()
def test_export_takes_any_batch(monkeypatch, tower):
    monkeypatch.setattr(fast, "quickest", refuse)
    module, x, other, expected = tower
    batch = torch.export.Dim("batch", min=2, max=64)
    exported = torch.export.export(module, (x,), dynamic_shapes=({0: batch},)).module()
    assert_close(exported(other), expected, 5e-6)


@both
@torch.no_grad()
def test_a_torchscript_trace_takes_any_batch(monkeypatch, tower):
    monkeypatch.setattr(fast, "quickest", refuse)
    module, x, other, expected = tower
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, x, check_trace=False)
    assert_close(traced(other), expected, 5e-6)


@pytest.mark.slow
@both
@torch.no_grad()
def test_compile_without_graph_breaks(monkeypatch, tower):
    monkeypatch.setattr(fast, "quickest", refuse)
    module, x, other, expected = tower
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, dynamic=True, backend="aot_eager")
    assert_close(compiled(x), expected[:3], 5e-6)
    assert_close(compiled(other), expected, 5e-6)
