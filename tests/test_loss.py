"""The contrastive loss of the paper's Figure 3: its value, its gradient, and that no known mistake looks like it."""
import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from clip_minimal import contrastive_loss

GOLDEN = np.load(Path(__file__).parent / "goldens" / "loss.npz")


@pytest.mark.parametrize("case", [0, 1, 2, 3, 5])
def test_value_and_gradients_equal_open_clip(case):
    """Log scales ln(1 / 0.07), 0, ln(100), -1 with eight pairs, and one batch of five."""
    golden = {key.split("/")[1]: torch.from_numpy(GOLDEN[key]) for key in GOLDEN if key.startswith(f"case{case}/")}
    inputs = [golden[key].requires_grad_() for key in ("image", "text", "log_scale")]
    loss = contrastive_loss(*inputs)
    assert loss.item() == pytest.approx(golden["loss"].item(), abs=1e-10)
    loss.backward()
    for tensor, key in zip(inputs, ("d_image", "d_text", "d_log_scale")):
        torch.testing.assert_close(tensor.grad, golden[key], atol=1e-10, rtol=0, msg=key)


def test_two_by_two_by_hand():
    """Both captions say the first picture; exp of the logits is [[3, 3], [1, 1]].

    Each row finds its caption with 1/2; the columns find their picture with 3/4 and 1/4."""
    images, texts = torch.tensor([[1.0, 0], [0, 1]]), torch.tensor([[1.0, 0], [1, 0]])
    expected = (math.log(2) + (math.log(4 / 3) + math.log(4)) / 2) / 2
    assert contrastive_loss(images, texts, torch.tensor(math.log(math.log(3)))).item() == pytest.approx(expected)


@pytest.mark.parametrize("batch", [2, 7, 256])
def test_features_that_tell_nothing_apart_cost_ln_batch(batch):
    same = torch.ones(batch, 4)
    assert contrastive_loss(same, 3 * same, torch.tensor(4.6)).item() == pytest.approx(math.log(batch), abs=1e-5)


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match="one pair"):
        contrastive_loss(torch.randn(1, 4), torch.randn(1, 4), torch.tensor(0.0))


def test_length_of_the_features_does_not_matter():
    images, texts, log_scale = example()
    lengths = torch.linspace(0.01, 50, len(images), dtype=torch.float64)[:, None]
    torch.testing.assert_close(contrastive_loss(images * lengths, texts / lengths, log_scale),
                               contrastive_loss(images, texts, log_scale))


def test_images_and_texts_may_change_places():
    images, texts, log_scale = example()
    torch.testing.assert_close(contrastive_loss(texts, images, log_scale), contrastive_loss(images, texts, log_scale))


@pytest.mark.parametrize("scale", [100, 1e4])
def test_large_logits_stay_finite_in_float32(scale):
    """Every picture matches the next one's caption perfectly and its own not at all: the loss is the scale."""
    images, log_scale = torch.eye(8, requires_grad=True), torch.tensor(math.log(scale), requires_grad=True)
    loss = contrastive_loss(images, torch.eye(8).roll(1, 0), log_scale)
    assert loss.item() == pytest.approx(scale, rel=1e-5)
    loss.backward()
    assert images.grad.isfinite().all() and log_scale.grad.item() == pytest.approx(scale, rel=1e-5)


# ---- Mistakes --------------------------------------------------------------------------------------------------------
# All from unnormalised features and the log of the scale, as contrastive_loss.


def example():
    """Six pairs of which half match, features of lengths other than 1, and a scale of 5."""
    rng = np.random.default_rng(0)
    images, noise = rng.normal(size=(2, 6, 8))
    texts = 3 * noise + 9 * images * (np.arange(6) < 3)[:, None]
    return torch.from_numpy(images), torch.from_numpy(texts), torch.tensor(math.log(5), dtype=torch.float64)


def cosines(images, texts):
    return images / images.norm(dim=1, keepdim=True) @ (texts / texts.norm(dim=1, keepdim=True)).T


def rows(logits):
    """-log of the share that the diagonal has in its row, by the definition."""
    return [-torch.log(torch.exp(row[i]) / sum(torch.exp(x) for x in row)) for i, row in enumerate(logits)]


def symmetric(logits):
    return (sum(rows(logits)) + sum(rows(logits.T))) / (2 * len(logits))


def correct(images, texts, log_scale):
    return symmetric(log_scale.exp() * cosines(images, texts))


def images_only(images, texts, log_scale):
    logits = log_scale.exp() * cosines(images, texts)
    return sum(rows(logits)) / len(logits)


def texts_only(images, texts, log_scale):
    return images_only(texts, images, log_scale)


def directions_added(images, texts, log_scale):
    return 2 * correct(images, texts, log_scale)


def summed_over_the_batch(images, texts, log_scale):
    return len(images) * correct(images, texts, log_scale)


def same_direction_twice(images, texts, log_scale):
    """logits.T forgotten: softmax over the rows both times."""
    return images_only(images, texts, log_scale)


def log_scale_not_exponentiated(images, texts, log_scale):
    return symmetric(log_scale * cosines(images, texts))


def scale_applied_twice(images, texts, log_scale):
    return symmetric(log_scale.exp() ** 2 * cosines(images, texts))


def divided_by_the_scale(images, texts, log_scale):
    return symmetric(cosines(images, texts) / log_scale.exp())


def no_scale(images, texts, log_scale):
    return symmetric(cosines(images, texts))


def not_normalised(images, texts, log_scale):
    return symmetric(log_scale.exp() * images @ texts.T)


def only_images_normalised(images, texts, log_scale):
    return symmetric(log_scale.exp() * images / images.norm(dim=1, keepdim=True) @ texts.T)


def normalised_over_the_batch(images, texts, log_scale):
    return symmetric(log_scale.exp() * (images / images.norm(dim=0)) @ (texts / texts.norm(dim=0)).T)


def soft_targets(images, texts, log_scale):
    """Targets from how similar the pictures, and the captions, are among themselves."""
    logits = log_scale.exp() * cosines(images, texts)
    targets = ((cosines(images, images) + cosines(texts, texts)) / 2 * log_scale.exp()).softmax(dim=1)
    return -(targets * logits.log_softmax(1) + targets * logits.T.log_softmax(1)).sum() / (2 * len(logits))


def positive_left_out_of_the_denominator(images, texts, log_scale):
    logits = log_scale.exp() * cosines(images, texts)
    others = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -math.inf)
    return (others.logsumexp(0) + others.logsumexp(1) - 2 * logits.diag()).mean() / 2


def every_label_zero(images, texts, log_scale):
    logits, zeros = log_scale.exp() * cosines(images, texts), torch.zeros(len(images), dtype=torch.long)
    return (F.cross_entropy(logits, zeros) + F.cross_entropy(logits.T, zeros)) / 2


def softmax_before_cross_entropy(images, texts, log_scale):
    logits = log_scale.exp() * cosines(images, texts)
    return (symmetric(logits.softmax(1)) + symmetric(logits.T.softmax(1))) / 2


MISTAKES = [images_only, texts_only, directions_added, summed_over_the_batch, same_direction_twice,
            log_scale_not_exponentiated, scale_applied_twice, divided_by_the_scale, no_scale, not_normalised,
            only_images_normalised, normalised_over_the_batch, soft_targets, positive_left_out_of_the_denominator,
            every_label_zero, softmax_before_cross_entropy]


def test_the_definition_agrees():
    assert contrastive_loss(*example()).item() == pytest.approx(correct(*example()).item(), abs=1e-12)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.__name__)
def test_a_mistake_gives_another_loss(mistake):
    assert abs(contrastive_loss(*example()) - mistake(*example())) > 0.01


def test_exponentials_without_the_maximum_subtracted_overflow():
    """The definition, taken literally in float32, fails at the scale of 100 that training reaches."""
    images, texts, log_scale = torch.eye(4), torch.eye(4).roll(1, 0), torch.tensor(math.log(100))
    assert not correct(images, texts, log_scale).isfinite()
    assert contrastive_loss(images, texts, log_scale).item() == pytest.approx(100, rel=1e-5)
