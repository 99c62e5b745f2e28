"""Checks of chapter 5. Modules are made in the student's process, with weights from here."""
import torch
import torch.nn.functional as F

from check_03_text import numbers
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
        "the sum of four pixels is not their average": [[[[48, 24], [12, 24]]]]}, "four by four pixels")
    x, weight = numbers(2, 3, 6, 6), numbers(5, 3, 1, 1)
    mean = x.view(2, 3, 2, 3, 2, 3).mean((3, 5))
    close(student.shrink(x, weight, 3), torch.einsum("bchw,dc->bdhw", mean, weight[:, :, 0, 0]), {
        "the stride need not be 2": F.conv2d(F.avg_pool2d(x, 2), weight)}, "stride 3", 1e-4)


def bottleneck(w, x, stride, how=""):
    """The block by its definition, with batch norm of running statistics; `how` names a mistake."""
    def layer(x, i, pad=0):
        x = F.conv2d(x, w[f"conv{i}.weight"], padding=pad)
        return x if how == "norm" else norm(x, f"bn{i}")

    def norm(x, n):
        keys = "running_mean", "running_var", "weight", "bias"
        mean, var, gain, bias = (w[f"{n}.{key}"].view(-1, 1, 1) for key in keys)
        return (x - mean) / (var + 1e-5).sqrt() * gain + bias

    y = layer(x, 1).relu()
    y = F.avg_pool2d(y, stride) if how == "early" else y
    y = layer(y, 2, 1)
    y = y if how == "relu" else y.relu()
    y = layer(y if how == "early" else F.avg_pool2d(y, stride), 3)
    short = x
    if "downsample.0.weight" in w:
        short = norm(F.conv2d(F.avg_pool2d(x, stride), w["downsample.0.weight"]), "downsample.1")
    if how == "before":
        return y.relu() + short
    return y + short if how == "no last" else y.relu() if how == "no shortcut" else (y + short).relu()


def check_5_2(student):
    for channels, stride in ((3, 2), (8, 1), (8, 2)):
        shapes = {"conv1.weight": (2, channels, 1, 1), "conv2.weight": (2, 2, 3, 3), "conv3.weight": (8, 2, 1, 1)}
        norms = {"bn1": 2, "bn2": 2, "bn3": 8}
        if (channels, stride) != (8, 1):
            shapes["downsample.0.weight"], norms["downsample.1"] = (8, channels, 1, 1), 8
        w = {name: numbers(*shape) for name, shape in shapes.items()}
        for name, n in norms.items():
            w |= {f"{name}.{key}": numbers(n, seed=i).abs() + 0.5 * (key == "running_var")
                  for i, key in enumerate(("weight", "bias", "running_mean", "running_var"))}
            w[f"{name}.num_batches_tracked"] = torch.tensor(0)
        x = numbers(2, channels, 4, 4).requires_grad_()
        right = bottleneck(w, x, stride)
        slope, = torch.autograd.grad(right.square().sum(), x, retain_graph=True)
        got = student.run(MODULE, name="Bottleneck", arguments=[channels, 2, stride], weights=w, training=False, x=x)
        close(got[0], right, {
            message: bottleneck(w, x, stride, how) for message, how in {
                "the pool comes behind conv2, which sees the full resolution": "early",
                "there is a ReLU behind the second batch norm": "relu",
                "the last ReLU comes behind the sum with the shortcut": "before",
                "the last ReLU is missing": "no last",
                "the shortcut is missing": "no shortcut",
                "batch norm is missing": "norm"}.items()}, f"{channels} channels, stride {stride}", 1e-4)
        close(got[1], slope, {}, f"the gradient, {channels} channels, stride {stride}", 1e-3)


def attention_pool(w, x, heads, how=""):
    """By loops over images and heads; `how` names a mistake."""
    B, C = x.shape[:2]
    width, out = C // heads, []
    for places in x.flatten(2).transpose(1, 2):  # (HW, C)
        first = places.max(0).values if how == "max" else places.mean(0)
        positions = w["positional_embedding"]
        tokens = torch.cat([first[None], places])
        tokens = tokens if how == "no positions" else tokens + positions
        tokens = torch.cat([first[None], places + positions[1:]]) if how == "not first" else tokens
        ask = tokens.mean(0) if how == "all" else first if how == "bare" else tokens[0]
        q, k, v = (y @ w[f"{name}_proj.weight"].T + w[f"{name}_proj.bias"]
                   for name, y in (("q", ask), ("k", tokens), ("v", tokens)))
        k, v = (k[1:], v[1:]) if how == "places" else (k, v)
        found = []
        for h in range(heads):
            at = slice(h * width, (h + 1) * width)
            scores = k[:, at] @ q[at] / (1 if how == "root" else (C if how == "width" else width) ** 0.5)
            found.append(scores.softmax(0) @ v[:, at])
        out.append(torch.cat(found) @ w["c_proj.weight"].T + w["c_proj.bias"])
    return torch.stack(out)


def check_5_3(student):
    w = {"positional_embedding": numbers(7, 6)}
    for i, name in enumerate("kqv"):
        w |= {f"{name}_proj.weight": numbers(6, 6, seed=i), f"{name}_proj.bias": numbers(6, seed=i)}
    w |= {"c_proj.weight": numbers(4, 6), "c_proj.bias": numbers(4)}
    x = numbers(2, 6, 2, 3).requires_grad_()
    places = "module.positional_embedding = torch.nn.Parameter(torch.zeros(7, 6))\n    "  # a map need not be square
    source = MODULE.replace("module.load", places + "module.load")
    right = attention_pool(w, x, 3)
    slope, = torch.autograd.grad(right.square().sum(), x, retain_graph=True)
    got = student.run(source, name="AttentionPool2d", arguments=[1, 6, 4, 2], weights=w, training=True, x=x)
    close(got[0], right, {
        message: attention_pool(w, x, 3, how) for message, how in {
            "the query is the mean over all places, not the maximum": "max",
            "the positions are missing": "no positions",
            "the mean has a position too, the first": "not first",
            "the query has its position added as well": "bare",
            "the query is the mean of the places, not of all tokens behind it": "all",
            "the mean is among the keys and values too": "places",
            "divide the scores by the square root of a head's width": "root",
            "a head's width is C / heads: the root of that one": "width"}.items()}, "2 x 3 places, three heads", 1e-4)
    close(got[1], slope, {}, "the gradient", 1e-3)


def check_5_4(student):
    close(student.predict_tokens_in_pool(), 82, {
        "the mean is a token too": 81, "there are five strides of 2, not four": 325,
        "this is the side of the map: count its places, and the mean": 9,
        "that is the default resolution of 224": 50, "strides of 2 halve each side": 290}, tell=False)
