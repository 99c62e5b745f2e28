"""Checks of chapter 5. Modules are made in the student's process, with weights from here."""
import torch
import torch.nn.functional as F

from check_03_text import normal
from compare import close

MODULE = """
    torch.manual_seed(0)
    module = getattr(student, name)(*arguments)
    module.load_state_dict(weights)
    module.train(training)
    x.requires_grad_()
    y = module(x)
    y.square().sum().backward()
    return y.detach(), x.grad
"""


def check_5_1(student):
    x = torch.tensor([[[[1.0, 3, 0, 0], [5, 7, 0, 8], [1, 1, 2, 2], [1, 1, 2, 2]]]])
    close(student.shrink(x, torch.full((1, 1, 1, 1), 3.0), 2), [[[[12, 6], [3, 6]]]], {
        "three of four pixels are skipped: average them first": [[[[3, 0], [3, 6]]]],
        "the average is wanted, not the largest": [[[[21, 24], [3, 6]]]],
        "the convolution is missing": [[[[4, 2], [1, 2]]]],
        "the sum of four pixels is not their average": [[[[48, 24], [12, 24]]]],
    }, "four by four pixels")
    x = normal(2, 3, 6, 6)
    weight = normal(5, 3, 1, 1)
    mean = x.view(2, 3, 2, 3, 2, 3).mean((3, 5))  # (2, 3, 2, 2)
    right = torch.einsum("bchw,dc->bdhw", mean, weight[:, :, 0, 0])
    close(student.shrink(x, weight, 3), right, {
        "the stride need not be 2": F.conv2d(F.avg_pool2d(x, 2), weight),
    }, "stride 3", 1e-4)


def bottleneck(weights, x, stride, mistake=None):
    """The block by its definition, with the running statistics; or with one of BOTTLENECK_MISTAKES."""
    def norm(x, name):
        if mistake == "batch norm is missing" and name != "downsample.1":
            return x
        kinds = ("running_mean", "running_var", "weight", "bias")
        mean, variance, gain, bias = [weights[f"{name}.{kind}"].view(-1, 1, 1) for kind in kinds]
        return (x - mean) / (variance + 1e-5).sqrt() * gain + bias

    early = mistake == "the pool comes behind conv2, which sees the full resolution"
    # the three convolutions
    y = norm(F.conv2d(x, weights["conv1.weight"]), "bn1").relu()
    if early:
        y = F.avg_pool2d(y, stride)
    y = norm(F.conv2d(y, weights["conv2.weight"], padding=1), "bn2")
    if mistake != "there is a ReLU behind the second batch norm":
        y = y.relu()
    if not early:
        y = F.avg_pool2d(y, stride)
    y = norm(F.conv2d(y, weights["conv3.weight"]), "bn3")
    # the shortcut
    if "downsample.0.weight" in weights:
        x = norm(F.conv2d(F.avg_pool2d(x, stride), weights["downsample.0.weight"]), "downsample.1")
    # the sum
    if mistake == "the last ReLU comes behind the sum with the shortcut":
        return x + y.relu()
    if mistake == "the last ReLU is missing":
        return x + y
    if mistake == "the shortcut is missing":
        return y.relu()
    return (x + y).relu()


BOTTLENECK_MISTAKES = [
    "the pool comes behind conv2, which sees the full resolution",
    "there is a ReLU behind the second batch norm",
    "the last ReLU comes behind the sum with the shortcut",
    "the last ReLU is missing",
    "the shortcut is missing",
    "batch norm is missing",
]


def bottleneck_weights(channels, stride):
    """Of a block with 2 planes -> {name: tensor}."""
    weights = {
        "conv1.weight": normal(2, channels, 1, 1),
        "conv2.weight": normal(2, 2, 3, 3),
        "conv3.weight": normal(8, 2, 1, 1),
    }
    norms = {"bn1": 2, "bn2": 2, "bn3": 8}
    if stride > 1 or channels != 8:
        weights["downsample.0.weight"] = normal(8, channels, 1, 1)
        norms["downsample.1"] = 8
    for name, n in norms.items():
        weights[f"{name}.weight"] = normal(n, seed=0).abs()
        weights[f"{name}.bias"] = normal(n, seed=1).abs()
        weights[f"{name}.running_mean"] = normal(n, seed=2).abs()
        weights[f"{name}.running_var"] = normal(n, seed=3).abs() + 0.5
        weights[f"{name}.num_batches_tracked"] = torch.tensor(0)
    return weights


def check_5_2(student):
    for channels, stride in ((3, 2), (8, 1), (8, 2)):
        weights = bottleneck_weights(channels, stride)
        x = normal(2, channels, 4, 4).requires_grad_()
        right = bottleneck(weights, x, stride)
        slope, = torch.autograd.grad(right.square().sum(), x, retain_graph=True)
        known = {mistake: bottleneck(weights, x, stride, mistake) for mistake in BOTTLENECK_MISTAKES}
        got, got_slope = student.run(MODULE, name="Bottleneck", arguments=[channels, 2, stride],
                                     weights=weights, training=False, x=x)
        close(got, right, known, f"{channels} channels, stride {stride}", 1e-4)
        close(got_slope, slope, case=f"the gradient, {channels} channels, stride {stride}", tolerance=1e-3)


def attention_pool(weights, x, heads, mistake=None):
    """By loops over images and heads; or with one of POOL_MISTAKES."""
    def project(name, y):
        return y @ weights[f"{name}_proj.weight"].T + weights[f"{name}_proj.bias"]

    C = x.shape[1]
    head_width = C // heads
    root = head_width ** 0.5
    if mistake == "divide the scores by the square root of a head's width":
        root = 1
    if mistake == "a head's width is C / heads: the root of that one":
        root = C ** 0.5
    positions = weights["positional_embedding"]
    features = []
    for places in x.flatten(2).transpose(1, 2):  # (HW, C)
        # the tokens
        first = places.mean(0)
        if mistake == "the query is the mean over all places, not the maximum":
            first = places.max(0).values
        tokens = torch.cat([first[None], places]) + positions
        if mistake == "the positions are missing":
            tokens = tokens - positions
        if mistake == "the mean has a position too, the first":
            tokens = torch.cat([first[None], tokens[1:]])
        # queries, keys and values
        asking = tokens[0]
        if mistake == "the query has its position added as well":
            asking = first
        if mistake == "the query is the mean of the places, not of all tokens behind it":
            asking = tokens.mean(0)
        if mistake == "the mean is among the keys and values too":
            tokens = tokens[1:]
        q = project("q", asking)  # (C,)
        k = project("k", tokens)  # (1 + HW, C)
        v = project("v", tokens)  # (1 + HW, C)
        # head by head
        found = []
        for h in range(heads):
            channels = slice(h * head_width, (h + 1) * head_width)
            scores = k[:, channels] @ q[channels] / root
            found.append(scores.softmax(0) @ v[:, channels])
        features.append(project("c", torch.cat(found)))
    return torch.stack(features)


POOL_MISTAKES = [
    "the query is the mean over all places, not the maximum",
    "the positions are missing",
    "the mean has a position too, the first",
    "the query has its position added as well",
    "the query is the mean of the places, not of all tokens behind it",
    "the mean is among the keys and values too",
    "divide the scores by the square root of a head's width",
    "a head's width is C / heads: the root of that one",
]


def check_5_3(student):
    weights = {"positional_embedding": normal(7, 6)}
    for i, name in enumerate(("k_proj", "q_proj", "v_proj")):
        weights[f"{name}.weight"] = normal(6, 6, seed=i)
        weights[f"{name}.bias"] = normal(6, seed=i)
    weights["c_proj.weight"] = normal(4, 6)
    weights["c_proj.bias"] = normal(4)
    x = normal(2, 6, 2, 3).requires_grad_()
    right = attention_pool(weights, x, 3)
    slope, = torch.autograd.grad(right.square().sum(), x, retain_graph=True)
    known = {mistake: attention_pool(weights, x, 3, mistake) for mistake in POOL_MISTAKES}
    # a map need not be square
    places = "module.positional_embedding = torch.nn.Parameter(torch.zeros(7, 6))\n    "
    source = MODULE.replace("module.load", places + "module.load")
    got, got_slope = student.run(source, name="AttentionPool2d", arguments=[1, 6, 4, 2], weights=weights,
                                 training=True, x=x)
    close(got, right, known, "2 x 3 places, three heads", 1e-4)
    close(got_slope, slope, case="the gradient", tolerance=1e-3)


def check_5_4(student):
    close(student.predict_tokens_in_pool(), 82, {
        "the mean is a token too": 81,
        "there are five strides of 2, not four": 325,
        "this is the side of the map: count its places, and the mean": 9,
        "that is the default resolution of 224": 50,
        "strides of 2 halve each side": 290,
    }, tell=False)
