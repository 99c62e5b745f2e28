"""The objectives of Figure 2 and the changes of convirt.py: against arithmetic by hand and slow, obvious versions."""
import math
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import convirt
import figure2
import lab
import objectives
import zeroshot
from clip_minimal import CLIPConfig, Tokenizer, contrastive_loss
from lab import Lab
from train_tiny import make_optimizer

CONFIG = CLIPConfig(64, 48, (1, 1, 1, 1), 4, None, 64, 2, 8, 12)  # of 12 tokens 10 starts and 11 ends
TOKENS = torch.tensor([[10, 3, 4, 11, 0], [10, 4, 3, 11, 0], [10, 5, 5, 7, 11], [10, 2, 11, 0, 0]])


@pytest.fixture(params=[objectives.LanguageModel, objectives.BagOfWordsPrediction, objectives.Contrastive,
                        objectives.BagOfWordsContrastive])
def model(request):
    return make(request.param)


def make(kind, seed=0, **shape):
    torch.manual_seed(seed)
    model = kind(replace(CONFIG, **shape)).eval()
    for name, parameter in model.named_parameters():
        if "embedding" in name and not name.startswith("visual"):
            torch.nn.init.normal_(parameter)  # large enough for words to matter
    return model


IMAGES = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_log_likelihood_is_that_of_one_token_after_the_other():
    model = make(objectives.LanguageModel)
    features = torch.randn(4, 64)
    for feature, row, value in zip(features, TOKENS.tolist(), model.log_likelihood(features, TOKENS)):
        total = 0
        text = row[1:row.index(11) + 1]
        for i, token in enumerate(text):
            x = torch.cat([feature[None], model.token_embedding.weight[text[:i]]])  # (i + 1, D)
            x = x + model.positional_embedding[:i + 1]
            later_tokens = torch.ones(i + 1, i + 1, dtype=torch.bool).triu(1)
            x = model.transformer(x[None], later_tokens)[0, i]  # (D,), the last place so far
            logits = model.token_embedding.weight @ (model.ln_final(x) @ model.text_projection)
            total += logits.log_softmax(0)[token]
        assert value.item() == pytest.approx(total.item(), abs=1e-4)


@torch.no_grad()
def test_likelihoods_of_all_texts_add_up_to_one():
    """Of all texts of at most one token before the end, and of the beginnings of longer ones."""
    model, feature = make(objectives.LanguageModel), torch.randn(1, 64)
    short = torch.tensor([[10, 11, 0]] + [[10, i, 11] for i in range(11)])
    longer = torch.tensor([[10, i, j, 11] for i in range(11) for j in range(11)])
    whole = model.log_likelihood(feature.expand(len(short), -1), short).exp().sum()
    x = model.log_likelihood(feature.expand(len(longer), -1), longer).exp().sum()
    assert 0 < whole < whole + x < 1


@torch.no_grad()
def test_corrected_scores_are_logarithms_of_a_ratio():
    """With two other images: p(text | image) / ((p(text | first) + p(text | second)) / 2)."""
    model = make(objectives.LanguageModel)
    corrected = model.corrected_scores(IMAGES[:2], TOKENS, IMAGES[2:])
    given = [model.log_likelihood(model.encode_image(IMAGES[i:i + 1]).expand(4, -1), TOKENS).exp() for i in range(4)]
    for i in range(2):
        expected = (given[i] / ((given[2] + given[3]) / 2)).log()
        assert torch.allclose(corrected[i], expected, atol=1e-4)


@torch.no_grad()
def test_the_experiment_corrects_the_language_model_alone(monkeypatch):
    """A text that is likely whatever is shown wins without the correction, and not with it."""
    labels = torch.tensor([0, 1, 2, 3])
    likelihoods = torch.eye(4) - torch.tensor([0, 5., 5., 5.])
    for kind, expected in ((objectives.LanguageModel, 1), (objectives.BagOfWordsPrediction, 0.25)):
        model = make(kind)
        monkeypatch.setattr(kind, "scores", lambda model, images, tokens: likelihoods)
        assert figure2.look(model, TOKENS, IMAGES, labels, IMAGES) == expected and model.training


def test_words_without_a_picture():
    """They are no words of the world, one token each, at the end of each caption; pictures stay as they are."""
    assert len(set(figure2.UNSEEN)) == len(figure2.UNSEEN) >= 100
    world = figure2.World(3)
    captions = world.texts()
    assert not set(" ".join(captions).lower().split()) & set(figure2.UNSEEN)
    tokenizer = figure2.make_tokenizer(3)
    assert all(len(tokenizer.encode(" " + word)) == 1 for word in figure2.UNSEEN)
    longer = figure2.add_words(captions, 10, world.rng(figure2.ADDED))
    assert max(len(tokenizer.encode(text)) for text in longer) <= 62, "the context has room for all"
    plain, wordy = figure2.Wordy(3, 0, 600), figure2.Wordy(3, 5, 600)
    assert plain.names_until == wordy.names_until
    images, short = plain.batch(1, 40)
    same, long = wordy.batch(1, 40)
    assert torch.equal(images, same) and long == wordy.batch(1, 40)[1], "the same for the same step"
    world = figure2.World(3)
    figure2.take_turns(world, 600)
    assert short == world.batch(1, 40)[1], "no word, no change"
    for a, b in zip(short, long):
        assert b.startswith(a + " ") and len(b[len(a):].split()) == 5
        assert set(b[len(a):].split()) <= set(figure2.UNSEEN)
    added = {b[len(a):] for a, b in zip(short, long)}
    assert len(added) > 35, "each caption has its own"
    later = wordy.batch(2, 40)[1]
    assert not any(text.endswith(words) for text in later for words in added), "and so has each step"


def test_all_objectives_get_the_same_number_of_pictures(tmp_path, monkeypatch):
    """The rows of each training end at the same horizon, and each amount of words is there for each objective."""
    monkeypatch.setattr(figure2, "curve", lambda lab, seed, name, amount: [[100, 0.1], [153_600, 0.2 + amount / 100]])
    rows = figure2.measure(Lab(tmp_path))
    assert len(rows) == 3 * 3 * 3 * 2
    for name in figure2.OBJECTIVES:
        for amount in (0, 5, 10):
            assert figure2.curve_of(rows, name, amount, 2) == ([100, 153_600], [0.1, 0.2 + amount / 100])


def test_medians_of_factors_in_words():
    assert figure2.told([(2.0, False), (3.0, False), (9.0, False)]) == "3.0"
    assert figure2.told([(2.0, False), (3.0, True), (9.0, False)]) == "at least 3.0"
    assert figure2.told([(2.0, False), (math.nan, False)]) == "not reached"


def test_shares_by_hand():
    expected = torch.zeros(4, 12)
    expected[0, [3, 4]] = expected[1, [3, 4]] = expected[2, [5, 7]] = 1 / 2
    expected[3, 2] = 1
    assert torch.equal(objectives.shares(TOKENS, 12), expected)


@torch.no_grad()
def test_prediction_of_words_by_hand():
    """Logits that are the log of 1 to 12: word i has probability (i + 1) / 78."""
    model = make(objectives.BagOfWordsPrediction)
    model.words.weight.zero_()
    model.words.bias.copy_(torch.arange(1, 13).log())
    means = [math.log(4 / 78 * 5 / 78) / 2] * 2 + [math.log(6 / 78 * 8 / 78) / 2, math.log(3 / 78)]
    assert torch.allclose(model.scores(IMAGES, TOKENS), torch.tensor(means).expand(4, 4), atol=1e-5)
    assert model.loss(IMAGES, TOKENS).item() == pytest.approx(-np.mean(means), rel=1e-5)


@torch.no_grad()
def test_bag_of_words_contrastive_is_a_mean_without_order():
    model = make(objectives.BagOfWordsContrastive)
    features, words = model.encode_text(TOKENS), model.token_embedding.weight
    assert torch.equal(features[0], features[1])
    assert torch.allclose(features[0], (words[3] + words[4]) / 2 @ model.text_projection, atol=1e-5)
    assert torch.allclose(features[3], words[2] @ model.text_projection, atol=1e-5)
    ordered = make(objectives.Contrastive).encode_text(TOKENS)
    assert not torch.allclose(ordered[0], ordered[1], atol=1e-2)


@torch.no_grad()
def test_a_score_is_the_same_in_any_company(model):
    scores = model.scores(IMAGES, TOKENS)
    assert scores.shape == (4, 4)
    for i in range(4):
        for j in range(4):
            one = model.scores(IMAGES[i:i + 1], TOKENS[j:j + 1, :TOKENS[j].tolist().index(11) + 1])
            assert scores[i, j].item() == pytest.approx(one.item(), abs=1e-4)


@pytest.mark.parametrize("value, scale", [(0.0, 1), (math.log(20), 20), (9.0, 100)])
def test_contrastive_scale_ends_at_a_hundred(value, scale):
    model = make(objectives.Contrastive)
    model.logit_scale.data.fill_(value)
    I_f, T_f = model.encode_image(IMAGES), model.encode_text(TOKENS)
    expected = contrastive_loss(I_f, T_f, torch.tensor(math.log(scale)))
    assert model.loss(IMAGES, TOKENS).item() == pytest.approx(expected.item(), rel=1e-4)


def test_each_objective_learns_which_text_is_whose(model):
    """Four images and their texts, of which two are one another's reverse."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        model.loss(IMAGES, TOKENS).backward()
        optimizer.step()
    best = model.scores(IMAGES, TOKENS).argmax(dim=1).tolist()
    bag = isinstance(model, (objectives.BagOfWordsPrediction, objectives.BagOfWordsContrastive))
    assert [0 if i == 1 and bag else i for i in best] == [0, 0 if bag else 1, 2, 3]


def test_factor_on_made_up_curves():
    images = [100, 200, 400, 800]
    slow, fast, never = [0.0, 0.1, 0.2, 0.3], [0.1, 0.2, 0.3, 0.4], [0.01, 0.02, 0.01, 0.02]
    assert figure2.factor((images, slow), (images, fast)) == (pytest.approx(2), False), "800 against 400, for 30 %"
    assert figure2.factor((images, fast), (images, slow)) == (pytest.approx(1 / 2), False)
    assert figure2.factor((images, slow), (images, slow)) == (1, False)
    longer = [2 * n for n in images]
    assert figure2.factor((longer, never), (images, slow)) == (pytest.approx(8), True), "not in 1,600, but in 200"
    assert math.isnan(figure2.factor((images, slow), (images, never))[0])


# ---- What CLIP leaves out of ConVIRT ---------------------------------------------------------------------------------


class Rigged:
    """Random numbers that are told in advance."""

    def __init__(self, *draws):
        self.draws = list(draws)

    def uniform(self, low, high, size):
        return np.array(np.broadcast_to(self.draws.pop(0), size))

    def random(self, n):
        return np.array(self.draws)


def test_augmentation_of_nothing_and_of_a_known_square():
    images = torch.randn(2, 3, 48, 48)
    same, captions = convirt.augment(images, ["a", "b"], Rigged(1.0, 0.0))
    assert torch.allclose(same, images, atol=1e-4) and captions == ["a", "b"]
    dot = torch.zeros(1, 1, 48, 48)
    dot[:, :, 40:42, 4:6] = 1  # its middle at (5, 41), in pixels from the left and the top
    moved, _ = convirt.augment(dot, ["a"], Rigged(0.75, [[-1.0, 1.0, 0.0, 0.0]]))  # the square at the bottom left
    y, x = ((moved[0, 0].sum(d) * (torch.arange(48) + 0.5)).sum() / moved.sum() for d in (1, 0))
    assert (x.item(), y.item()) == pytest.approx((5 / 0.75, (41 - 12) / 0.75), abs=0.1)
    brighter, _ = convirt.augment(images, ["a"], Rigged(1.0, [[0.0, 0.0, 1.0, -1.0]]))
    assert torch.allclose(brighter.mean((1, 2, 3)), images.mean((1, 2, 3)) + 0.25, atol=1e-4)
    assert torch.allclose(brighter.std((1, 2, 3)), 0.75 * images.std((1, 2, 3)), atol=1e-4)


def test_a_mirrored_square():
    """The left half of the top, seen from behind: what was 5 pixels from its left edge is now 5 from the right one."""
    dot = torch.zeros(1, 1, 48, 48)
    dot[:, :, 7:9, 4:6] = 1  # its middle at (5, 8)
    seen = lab.squares(dot, torch.tensor([0.5]), torch.tensor([[-1.0, -1.0]]), torch.tensor([-1]))
    y, x = ((seen[0, 0].sum(d) * (torch.arange(48) + 0.5)).sum() / seen.sum() for d in (1, 0))
    assert (x.item(), y.item()) == pytest.approx((48 - 2 * 5, 2 * 8), abs=0.1)


def test_loss_of_views_by_hand():
    """Two images, their views equal and at a right angle to the others': 1 of three others is the same image."""
    outputs = torch.tensor([[2.0, 0], [0, 3], [1, 0], [0, 1]])
    assert lab.nt_xent(outputs, 0.5).item() == pytest.approx(math.log(math.exp(2) + 2) - 2)
    assert lab.nt_xent(torch.ones(6, 4)).item() == pytest.approx(math.log(5)), "a guess"


@pytest.mark.parametrize("caption, expected", [
    ("a red sun", ["a red sun"]),
    ("on the beach, a red sun above a cat", ["on the beach", "a red sun", "above a cat"]),
    ("a drawing of a star of David to the left of an at sign at night",
     ["a drawing of a star of David", "to the left of an at sign", "at night"]),
    ("a sun in the top left corner in the sky", ["a sun", "in the top left corner", "in the sky"]),
    ("two pairs of scissors on a wall", ["two pairs of scissors", "on a wall"])])
def test_phrases_of_a_caption(caption, expected):
    assert convirt.PHRASE.split(caption) == expected
    n = len(expected)
    drawn = [convirt.phrases(None, [caption], Rigged((i + 0.5) / n))[1][0] for i in range(n)]
    assert drawn == expected


def test_non_linear_heads_and_a_scale_that_stays():
    model = make(convirt.NonLinear)
    plain = convirt.CLIP.encode_text(model, TOKENS).clamp(min=0)
    assert torch.allclose(model.encode_text(TOKENS), plain @ model.text_head.weight.T + model.text_head.bias, atol=1e-5)
    plain = convirt.CLIP.encode_image(model, IMAGES).clamp(min=0)
    expected = plain @ model.visual.head.weight.T + model.visual.head.bias
    assert torch.allclose(model.encode_image(IMAGES), expected, atol=1e-5)
    for kind, moves in ((convirt.CLIP, True), (convirt.FixedScale, False)):
        model = make(kind)
        contrastive_loss(model.encode_image(IMAGES), model.encode_text(TOKENS), model.logit_scale).backward()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0)
        optimizer.step()
        assert (model.logit_scale.item() != pytest.approx(math.log(1 / 0.07))) == moves


def test_non_linear_heads_learn_at_the_rates_of_their_encoders():
    model = make(convirt.NonLinear)
    factors = {}
    for group in make_optimizer(model, 1e-3, 0.1, text_lr=0.2).param_groups:
        for parameter in group["params"]:
            factors[parameter] = group["factor"]
    assert factors[model.visual.head.weight] == factors[model.visual.head.bias] == 1
    assert factors[model.text_head.weight] == factors[model.text_head.bias] == 0.2


def test_non_linear_heads_are_measured_with_their_heads(monkeypatch):
    """Heads that give the same vector whatever they read: `evaluate` compares that vector alone."""
    tokenizer = Tokenizer.train(convirt.World().texts()[:200], 600)
    model = make(convirt.NonLinear, vocab_size=len(tokenizer.vocab), context_length=32)
    texts = ["a red sun", "a cat", "a sun at night"]
    alone = [model.encode_text(tokenizer(text, 32, pad=False)) for text in texts]
    alone = torch.nn.functional.normalize(torch.cat(alone), dim=1)
    assert torch.allclose(zeroshot.encode_texts(model, tokenizer, texts), alone, atol=1e-5)
    vector = torch.eye(64)[0]
    for head in (model.visual.head, model.text_head):
        head.weight.data.zero_()
        head.bias.data.copy_(vector)
    compared = []

    def recorded(image_features, text_features, relevant, ks):
        compared.extend([image_features, text_features])
        return {"image to text R@1": (0.25, 0.2)}

    monkeypatch.setattr(zeroshot, "retrieval", recorded)
    monkeypatch.setattr(convirt, "changed_model", lambda lab, seed, **options: (model, tokenizer))
    results = convirt.trial(Lab(Path("unused"), 0.02), 0, "non-linear heads")
    assert results["image to text R@1"] == (0.25, 0.2)
    for features in compared:
        assert torch.equal(features, vector.expand(20, -1)), "of 20 scenes, the budget's share"


def test_a_changed_world_changes_training_alone():
    plain = convirt.World(3)
    world = convirt.Changed(3, convirt.phrases)
    images, captions = world.batch(10, 64)
    full = plain.batch(10, 64)
    assert torch.equal(images, full[0]) and all(short in long for short, long in zip(captions, full[1]))
    assert captions != full[1] and captions == world.batch(10, 64)[1], "the same for the same step"
    assert world.examples(5)[1] == plain.examples(5)[1]


def test_a_trained_encoder_is_what_training_begins_with(tmp_path, monkeypatch):
    """All weights but the projection are the encoder's, which learned from the same few batches again and again."""
    monkeypatch.setattr(convirt, "LABEL_BATCHES", 2)
    seen = []

    def fit(encoder, loss, steps, text_lr):
        assert text_lr == 1, "the whole encoder learns at the same rate"
        seen.extend(loss(step).item() for step in range(4))
        torch.nn.init.constant_(encoder.layer1[0].bn3.bias, 7)

    monkeypatch.setattr(convirt, "fit", fit)
    lab = Lab(tmp_path, 0.02)
    encoder = convirt.trained_encoder(lab, 0)
    assert seen[2:] == pytest.approx(seen[:2], rel=1e-4) and seen[0] != seen[1]
    model = convirt.CLIP(replace(convirt.CONFIGS["tiny-RN"], vocab_size=600))
    projection = model.visual.attnpool.c_proj.weight.clone()
    convirt.begin_with(model, encoder)
    assert (model.visual.layer1[0].bn3.bias == 7).all()
    assert torch.equal(model.visual.attnpool.q_proj.weight, encoder.attnpool.q_proj.weight)
    assert torch.equal(model.visual.attnpool.c_proj.weight, projection)


def test_runs_are_those_of_the_default(tmp_path, monkeypatch):
    """The default run's steps with Muon at the rates and turns that train_tiny.py has by itself."""
    calls = []

    def train(world, model, tokenizer, steps, batch_size, **options):
        plain = convirt.World(1)
        assert (world.names_alone_until, world.names_until) == (plain.names_alone_until, plain.names_until)
        calls.append((type(model), steps, batch_size, options))

    monkeypatch.setattr(convirt, "train", train)
    monkeypatch.setattr(lab, "make_tokenizer", lambda seed: Tokenizer([]))
    convirt.changed_model(Lab(tmp_path), 1, kind=convirt.NonLinear)
    assert calls == [(convirt.NonLinear, 680, 256, {"warmup": 50, "every": 170})]


def test_interval_of_an_effect():
    """Of 1, 2 and 3: standard deviation 1, standard error 1 / sqrt(3), times Student's 4.30."""
    mean, half = convirt.mean_and_interval(np.array([1.0, 2.0, 3.0]))
    assert (mean, half) == (2, pytest.approx(4.30 / 3 ** 0.5))
    assert math.isnan(convirt.mean_and_interval(np.array([1.0]))[1])


def test_effects_compare_the_same_seeds():
    rows = [{"change": name, "seed": seed, "measure": key, "value": (50 + 10 * seed + (name != "CLIP")) / 100, "chance": 0}
            for seed in (0, 1, 2) for name in convirt.CHANGES for key in convirt.MEASURES]
    axis = convirt.draw(rows).axes[0]
    dots = [line.get_xdata() for line in axis.lines if line.get_label() == "a seed"]
    assert np.allclose(dots, 1), "one point each, though seeds are ten apart"
