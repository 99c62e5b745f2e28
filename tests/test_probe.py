"""Linear probes and the metrics of Table 9, against solutions by hand, slow versions and scikit-learn."""
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).resolve().parent.parent / "tutorial/experiments"))
import tasks
import zeroshot
from clip_minimal import CLIP, CLIPConfig
from tutorial.extras.fast import accelerate

RESNET, VIT = CLIPConfig(24, 64, (1, 1, 1, 1), 4, None, 64, 1, 8, 600), CLIPConfig(24, 32, 2, 64, 8, 64, 1, 8, 600)


def data(n=120, D=6, N=3, seed=0):
    rng = torch.Generator().manual_seed(seed)
    features = torch.randn(n, D, generator=rng)
    return features, (features[:, :N] + torch.randn(n, N, generator=rng)).argmax(dim=-1)


# ---- Metrics ---------------------------------------------------------------------------------------------------------


def test_mean_per_class_by_hand():
    """Class 0 is right 3 times of 4, class 2 once of 1, class 1 does not occur."""
    scores = torch.eye(3)[[0, 0, 0, 1, 2]]
    assert tasks.mean_per_class(scores, torch.tensor([0, 0, 0, 0, 2])) == pytest.approx((3 / 4 + 1) / 2)


def test_average_precision_by_hand():
    """Right, wrong, right, wrong, wrong, right: precisions 1, 2/3, 1/2 at recalls 1/3, 2/3, 1; so recalls 0 to 0.3 get
    1, 0.4 to 0.6 get 2/3, 0.7 to 1 get 1/2."""
    scores = torch.tensor([[0.9], [0.8], [0.7], [0.6], [0.5], [0.4]])
    labels = torch.tensor([[1], [0], [1], [0], [0], [1]])
    expected = (4 * 1 + 3 * 2 / 3 + 4 * 1 / 2) / 11
    assert tasks.mean_average_precision(scores, labels) == pytest.approx(expected)
    both = tasks.mean_average_precision(torch.cat([scores, -scores], 1), torch.cat([labels, labels], 1))
    reverse = (4 * 1 + 3 * 1 / 2 + 4 * 1 / 2) / 11  # precisions 1, 2/4, 3/6
    assert both == pytest.approx((expected + reverse) / 2)


def test_average_precision_of_ties_does_not_depend_on_their_order():
    """All equal: one threshold finds everything, at a precision of 1/4, wherever the one right answer stands."""
    for label in torch.eye(4, dtype=torch.long):
        assert tasks.mean_average_precision(torch.ones(4, 1), label[:, None]) == pytest.approx(1 / 4)


def slow_average_precision(scores, labels):
    """Every threshold, every recall, one after the other, in fractions that do not round."""
    points = []
    for threshold in scores:
        found = [label for score, label in zip(scores, labels) if score >= threshold]
        points.append((sum(found), sum(found) / len(found)))
    return sum(max(p for hits, p in points if 10 * hits >= k * sum(labels)) for k in range(11)) / 11


@pytest.mark.parametrize("levels", [3, 10, 1000])
def test_average_precision_against_a_slow_version(levels):
    rng = np.random.default_rng(levels)
    scores, labels = rng.integers(levels, size=(40, 5)), rng.integers(2, size=(40, 5))
    expected = np.mean([slow_average_precision(*column) for column in zip(scores.T.tolist(), labels.T.tolist())])
    got = tasks.mean_average_precision(torch.from_numpy(scores).float(), torch.from_numpy(labels))
    assert got == pytest.approx(expected)


def test_roc_auc_by_hand():
    """Margins 1, 2 of class 1 against 0, 1, 3 of class 0: of six comparisons three are won and one is even."""
    scores = torch.tensor([[0., 1.], [0., 2.], [5., 5.], [1., 2.], [-3., 0.]])
    assert tasks.roc_auc(scores, torch.tensor([1, 1, 0, 0, 0])) == pytest.approx((3 + 0.5) / 6)


def test_roc_auc_against_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = torch.Generator().manual_seed(0)
    scores, labels = torch.randint(8, (200, 2), generator=rng).float(), torch.randint(2, (200,), generator=rng)
    expected = metrics.roc_auc_score(labels, scores[:, 1] - scores[:, 0])
    assert tasks.roc_auc(scores, labels) == pytest.approx(expected)


# ---- Features --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config, width", [(RESNET, 128), (VIT, 64)])
@pytest.mark.parametrize("fast", [False, True])
def test_features_before_the_projection_project_to_those_of_the_encoder(config, width, fast):
    torch.manual_seed(0)
    model = CLIP(config).eval()
    if fast:
        accelerate(model)
    images = torch.randn(5, 3, config.image_resolution, config.image_resolution)
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    features = zeroshot.encode_penultimate(model, images, batch_size=2)
    assert features.shape == (5, width) and not features.requires_grad
    if config is VIT:
        projected = features @ model.visual.proj
    else:
        projected = model.visual.attnpool.c_proj(features)
    assert torch.allclose(projected, model.encode_image(images), atol=1e-5)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())


@pytest.mark.parametrize("config", [RESNET, VIT])
def test_features_of_a_model_in_half_precision(config):
    """Images may come in float32, and features do: they turn by less than 0.9 degrees."""
    torch.manual_seed(0)
    model = CLIP(config).eval()
    images = torch.randn(5, 3, config.image_resolution, config.image_resolution)
    expected = zeroshot.encode_penultimate(model, images)
    got = zeroshot.encode_penultimate(model.half(), images)
    assert got.dtype == torch.float32 and torch.cosine_similarity(got, expected).min() > 0.9999


# ---- Logistic regression ---------------------------------------------------------------------------------------------


def test_two_points_by_hand():
    """Features 1 and -1 of classes 1 and 0. By symmetry weights (-w, w), no bias: 2 ln(1 + exp(-2w)) + strength w²,
    least where strength w = 2 / (1 + exp(2w)). Yes or no to one class: strength w = 2 / (1 + exp(w))."""
    features, labels = torch.tensor([[1.], [-1.]]), torch.tensor([1, 0])
    W, b = zeroshot.logistic_regression(features, labels, 4 / (1 + math.e))
    assert torch.allclose(W, torch.tensor([[-0.5, 0.5]]).double(), atol=1e-3) and torch.allclose(b, b * 0, atol=1e-3)
    W, b = zeroshot.logistic_regression(features, labels[:, None], 2 / (1 + math.e))
    assert torch.allclose(W, torch.tensor([[1.]]).double(), atol=1e-3) and torch.allclose(b, b * 0, atol=1e-3)


@pytest.mark.parametrize("strength", [1e-3, 1, 100])
@pytest.mark.parametrize("many", [False, True])
def test_weights_are_where_the_slope_is_zero(strength, many):
    """The derivatives written out: what was predicted minus what is, times the features, plus the penalty's."""
    features, labels = data()
    features = features + torch.arange(6)  # means that are not zero
    if many:
        labels = torch.stack([labels == 0, labels >= 1, features[:, 5] > 5], 1).long()
    W, b = zeroshot.logistic_regression(features, labels, strength)
    scores, x = features.double() @ W + b, features.double()
    error = scores.sigmoid() - labels if many else scores.softmax(dim=-1) - torch.eye(3)[labels]
    assert (x.T @ error + strength * W).abs().max() / len(x) < 1e-4 * 6, "with means of 0 to 5"
    assert error.sum(dim=0).abs().max() / len(x) < 1e-4, "the bias has no penalty"


@pytest.mark.parametrize("unit", [1e-4, 1, 1e3])
@pytest.mark.parametrize("many", [False, True])
def test_the_unit_of_the_features_does_not_matter(unit, many):
    """Features u times as large have weights 1 / u as large, if the penalty is u² times as strong."""
    features, labels = data()
    if many:
        labels = torch.stack([labels == 0, labels >= 1], 1).long()
    W, b = zeroshot.logistic_regression(features, labels, 0.1)
    other, other_b = zeroshot.logistic_regression(unit * features.double(), labels, 0.1 * unit ** 2)
    assert torch.allclose(unit * other, W, atol=1e-5 * W.abs().max()) and torch.allclose(other_b, b, atol=1e-4)


@pytest.mark.parametrize("strength", [1e-6, 1e-3, 1])
@pytest.mark.parametrize("n", [40, 300])
def test_correlated_features_of_all_sizes_are_no_obstacle(monkeypatch, strength, n):
    """Twenty classes, sixty correlated features from 1e-3 to 10, fewer or more images than features: at the end
    the slope along each direction of the features is zero, and it took fewer than 500 looks at the loss."""
    looks, step = [], torch.optim.LBFGS.step
    monkeypatch.setattr(torch.optim.LBFGS, "step",
                        lambda self, loss: step(self, lambda: looks.append(1) or loss()))
    rng = torch.Generator().manual_seed(0)
    mix = torch.randn(60, 60, generator=rng).double()
    independent = torch.randn(n, 60, generator=rng).double() * torch.logspace(-3, 1, 60).double()
    features, labels = independent @ mix + 3, torch.arange(n) % 20
    W, b = zeroshot.logistic_regression(features, labels, strength)
    x, error = features - features.mean(dim=0), (features @ W + b).softmax(dim=-1) - torch.eye(20)[labels]
    lengths, directions = torch.linalg.svd(x, full_matrices=False)[1:]
    slope = directions @ (x.T @ error + strength * W) / (lengths ** 2 + 20 * strength).sqrt()[:, None]
    assert slope.abs().max() / n ** 0.5 < 4e-5 and error.sum(dim=0).abs().max() / n < 4e-5
    assert len(looks) < 500


@pytest.mark.parametrize("strength", [0.01, 1, 100])
def test_logistic_regression_against_scikit_learn(strength):
    linear_model = pytest.importorskip("sklearn.linear_model")
    features, labels = data()
    features = features + torch.arange(6)
    W, b = zeroshot.logistic_regression(features, labels, strength)
    peer = linear_model.LogisticRegression(C=1 / strength, max_iter=1000, tol=1e-8).fit(features.double(), labels)
    assert np.allclose(W.T, peer.coef_, atol=5e-3) and np.allclose(b, peer.intercept_, atol=5e-3)
    many = torch.stack([labels == 0, labels >= 1], 1).long()
    W, b = zeroshot.logistic_regression(features, many, strength)
    for i in (0, 1):
        peer = linear_model.LogisticRegression(C=1 / strength, max_iter=1000, tol=1e-8)
        peer.fit(features.double(), many[:, i])
        assert np.allclose(W[:, i], peer.coef_, atol=5e-3) and np.allclose(b[i], peer.intercept_, atol=5e-3)


# ---- Appendix A's search ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peak", [-48, -47, -29, 0, 7, 33, 48])
def test_search_climbs_to_the_peak_in_eighths_of_a_decade(monkeypatch, peak):
    """With a metric that falls off on both sides of a known strength, that one of the 97 is found in at most 16 fits,
    the first seven two decades apart, and the last is made of both splits."""
    fits = []

    def fit(features, labels, strength):
        fits.append((8 * math.log10(strength), len(features), len(labels)))
        return torch.full((1, 1), fits[-1][0]).double(), torch.ones(1).double()

    monkeypatch.setattr(zeroshot, "logistic_regression", fit)
    W, b, strength = zeroshot.linear_probe(torch.ones(3, 1), torch.zeros(3), torch.ones(2, 1), torch.zeros(2),
                                           metric=lambda scores, labels: -abs(scores[0, 0].item() - 1 - peak))
    assert strength == pytest.approx(10 ** (peak / 8)) and W.item() == pytest.approx(peak)
    assert [round(i) for i, *_ in fits[:7]] == [-48, -32, -16, 0, 16, 32, 48]
    assert len(fits) <= 16 and all(-48.01 < i < 48.01 for i, *_ in fits), "from 1e-6 to 1e6"
    assert [sizes for _, *sizes in fits] == [[3, 3]] * (len(fits) - 1) + [[5, 5]]


def test_of_equally_good_strengths_the_strongest():
    features, labels = data()
    *_, strength = zeroshot.linear_probe(features, labels, features, labels, metric=lambda scores, labels: 0.5)
    assert strength == pytest.approx(1e6)


def test_perfect_features_are_separated_and_random_ones_are_not():
    rng = torch.Generator().manual_seed(0)
    labels = torch.arange(400) % 4
    for features, low, high in ((torch.eye(4)[labels], 1, 1), (torch.randn(400, 4, generator=rng), 0.15, 0.35)):
        W, b, _ = zeroshot.linear_probe(features[:100], labels[:100], features[100:200], labels[100:200])
        assert low <= zeroshot.accuracy(features[200:].double() @ W + b, labels[200:]) <= high


def test_many_labels_are_probed_one_by_one():
    features, _ = data(300)
    labels = torch.stack([features[:, 0] > 0, features[:, 1] + features[:, 2] > 0.5], 1).long()
    W, b, _ = zeroshot.linear_probe(features[:100], labels[:100], features[100:200], labels[100:200],
                                    tasks.mean_average_precision)
    assert tasks.mean_average_precision(features[200:].double() @ W + b, labels[200:]) > 0.97
