"""Checks of chapter 7."""
import math

import numpy as np
import torch

from check_06_loss import loss, unit
from compare import close, equal, expect

# of 8 steps, peak 0.4, warm-up 4: the cosines are those of 0, 45, 90 and 135 degrees
RISING = [0.1, 0.2, 0.3, 0.4]
FALLING = [0.4, 0.4 * (2 + 2 ** 0.5) / 4, 0.2, 0.4 * (2 - 2 ** 0.5) / 4]
RATES = [*RISING, *FALLING]


def check_7_1(student):
    rates = student.run("return [student.learning_rate(step, 8, 0.4, 4) for step in range(8)]")
    whole_cosine = [0.2 * (1 + math.cos(math.pi * step / 8)) for step in range(8)]
    close(rates, RATES, {
        "the first step would have the rate 0: it is peak / warmup": [0, 0.1, 0.2, 0.3, *FALLING],
        "the cosine begins where warm-up ends, and takes the steps that are left":
            [*RISING, *whole_cosine[4:]],
        "half a cosine ends at 0, a quarter is steep at its end":
            [*RISING, *[0.4 * math.cos(math.pi / 2 * k / 4) for k in range(4)]],
        "after warm-up it falls along a cosine, not a line": [*RISING, 0.4, 0.3, 0.2, 0.1],
        "cos takes radians": [*RISING, *[0.2 * (1 + math.cos(180 * k / 4)) for k in range(4)]],
        "it must go from peak to 0: (1 + cos) / 2":
            [*RISING, *[0.4 * math.cos(math.pi * k / 4) for k in range(4)]],
        "warm-up is missing": whole_cosine,
    }, "8 steps, peak 0.4, warm-up 4")
    last = (1 + math.cos(math.pi * 989 / 990)) / 2
    close(student.learning_rate(999, 1000, 1.0, 10), last, case="the last of 1,000 steps")


def check_7_2(student):
    steps, rates, labels, lines = student.run("""
        axis = student.draw_schedule(8, 0.4, 4).axes[0]
        line = axis.lines[0]
        labels = [axis.get_xlabel(), axis.get_ylabel()]
        x, y = np.asarray(line.get_data(), float)
        return x, y, labels, len(axis.lines)
        """)
    expect(lines == 1, f"one line was asked for, there are {lines}")
    close(steps, list(range(8)), {
        "steps count from 0": list(range(1, 9)),
        "the last step is steps - 1": list(range(9)),
    }, "the line's steps")
    close(rates, RATES, {
        "the share of the peak was drawn, not the rate": [rate / 0.4 for rate in RATES],
        "the logarithm was drawn, not the rate": [math.log10(rate) for rate in RATES],
    }, "the line's rates")
    expect(all(labels), "label both axes")


SHAPES = {
    "conv1.weight": (4, 3, 2, 2), "bn1.weight": (4,), "bn1.bias": (4,), "token_embedding.weight": (9, 4),
    "positional_embedding": (5, 4), "attn.in_proj_weight": (12, 4), "attn.in_proj_bias": (12,),
    "ln_1.weight": (4,), "class_embedding": (4,), "logit_scale": (), "text_projection": (4, 2),
}


def check_7_3(student):
    matrices = [name for name, shape in SHAPES.items() if len(shape) > 1]

    def groups(with_decay):
        """-> these names, and all others."""
        return [with_decay, [name for name in SHAPES if name not in with_decay]]

    right = groups(matrices)
    parameters = {name: torch.zeros(shape) for name, shape in SHAPES.items()}
    close(student.decay_groups(parameters), right, {
        "gains (bn1.weight, ln_1.weight) and the scale must not decay either":
            groups([name for name in SHAPES if "bias" not in name]),
        "names that end in .weight are not all there is: in_proj_weight, text_projection":
            groups([name for name in matrices if name.endswith(".weight")]),
        "bn1.weight and ln_1.weight are gains: they must not decay":
            groups([name for name in SHAPES if name.endswith("weight")]),
        "everything decays here": groups(list(SHAPES)),
        "with decay come first, without second": right[::-1],
        "embeddings have two axes: here they decay":
            groups([name for name in matrices if "embedding" not in name]),
    }, "decay_groups")


def check_7_4(student):
    p = np.array([2.0, -1.0])
    grad = np.array([0.5, 4.0])
    m = np.array([0.1, 0.2])
    v = np.array([0.3, 0.4])
    settings = {"lr": 0.1, "beta1": 0.9, "beta2": 0.8, "eps": 0.01, "decay": 0.5}

    def step(grad=grad, t=3, decayed=0.1 * 0.5 * p, eps_inside=False, corrected=True):
        new_m = 0.9 * m + 0.1 * grad
        new_v = 0.8 * v + 0.2 * grad ** 2
        m_hat = new_m
        v_hat = new_v
        if corrected:
            m_hat = new_m / (1 - 0.9 ** t)
            v_hat = new_v / (1 - 0.8 ** t)
        root = np.sqrt(v_hat) + 0.01
        if eps_inside:
            root = np.sqrt(v_hat + 0.01)
        return [p - 0.1 * m_hat / root - decayed, new_m, new_v]

    got = student.run("return student.adamw_step(p, grad, m, v, 3, **settings)", p=p, grad=grad, m=m, v=v,
                      settings=settings)
    betas_swapped = [0.8 * m + 0.2 * grad, 0.9 * v + 0.1 * grad ** 2]
    expect(not equal(got[1:], betas_swapped), "beta1 is the gradient's, beta2 that of its square")
    known = {
        "decay was added to the gradient: that is Adam with L2, not AdamW": step(grad + 0.5 * p, decayed=0),
        "eps is added to the root, not under it": step(eps_inside=True),
        "m and v start at 0: divide them by 1 - beta^t": step(corrected=False),
        "t counts from 1": step(t=4),
        "there is no decay": step(decayed=0),
        "decay is multiplied by the learning rate": step(decayed=0.5 * p),
    }
    for message, value in known.items():
        expect(not all(map(equal, got, value)), message)
    for name, x, y in zip(("p", "m", "v"), got, step()):
        close(x, y, case=f"new {name} at step 3")


def check_7_5(student):
    def after(value):
        return student.run("""
            scale = torch.nn.Parameter(torch.tensor(value))
            student.clamp_scale(scale)
            return scale
            """, value=value)

    close(after(6.0), math.log(100), {
        "the parameter is the log of the scale: its highest value is ln 100": 6.0,
        "the scale is clamped, but its log is what the parameter holds": 100.0,
    }, "logit_scale 6.0, a scale of 403")
    close(after(2.5), 2.5, {"a low scale may stay: this is a floor": math.log(100)}, "logit_scale 2.5")
    close(after(-1.0), -1.0, {"a low scale may stay": 0.0}, "logit_scale -1")
    still_learned = student.run("""
        scale = torch.nn.Parameter(torch.tensor(2.0))
        student.clamp_scale(scale)
        (3 * scale.exp()).backward()
        return scale.grad is not None and scale.requires_grad
        """)
    expect(still_learned, "the scale must still be learned afterwards")


def check_7_6(student):
    close(student.predict_accumulated_loss(), math.log(64), {
        "each piece is compared with itself alone: 64 captions, not 1,024": math.log(1024),
        "the mean over the pieces, not the sum": 16 * math.log(64),
        "each loss is already a mean over its pairs": math.log(64) / 16,
        "nats are wanted, not bits": 6.0,
        "a guess among 64 costs ln 64, not 1/64": 1 / 64,
    }, tolerance=0.0025, tell=False)


CACHED = """
    weights = [w.clone().requires_grad_() for w in weights]
    scale = torch.tensor(log_scale, dtype=torch.double, requires_grad=True)
    seen = []
    def encode_image(x):
        seen.append((len(x), torch.is_grad_enabled()))
        return torch.tanh(x @ weights[0]) @ weights[1]
    def encode_text(x):
        seen.append((len(x), torch.is_grad_enabled()))
        return torch.sin(x @ weights[2])
    loss = student.cached_gradients(encode_image, encode_text, scale, images, texts, 3)
    has_graph = torch.is_tensor(loss) and loss.requires_grad
    gradients = []
    for x in [*weights, scale]:
        gradients.append(torch.zeros(1) if x.grad is None else x.grad)
    return float(loss), seen, has_graph, gradients
"""


def check_7_7(student):
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.normal(size=(7, 5)))
    texts = torch.from_numpy(rng.normal(size=(7, 4)))
    weights = [torch.from_numpy(rng.normal(size=shape)) for shape in ((5, 6), (6, 3), (4, 3))]
    log_scale = 1.2

    def by_pieces(size, share):
        """The gradients where each piece of n pairs has a loss of its own, times share(n)."""
        scale = torch.tensor(log_scale, dtype=torch.double)
        leaves = [x.clone().requires_grad_() for x in (*weights, scale)]
        for x, y in zip(images.split(size), texts.split(size)):
            I_f = torch.tanh(x @ leaves[0]) @ leaves[1]
            T_f = torch.sin(y @ leaves[2])
            cosines = (I_f / I_f.norm(dim=1, keepdim=True)) @ (T_f / T_f.norm(dim=1, keepdim=True)).T
            logits = leaves[3].exp() * cosines
            value = (logits.logsumexp(0) + logits.logsumexp(1) - 2 * logits.diag()).mean() / 2
            (value * share(len(x))).backward()
        return [x.grad for x in leaves]

    value, seen, has_graph, gradients = student.run(
        CACHED, weights=weights, log_scale=log_scale, images=images, texts=texts)
    for n, with_graph in seen:
        expect(n <= 3 or not with_graph, "more than micro_batch pairs went through an encoder with a graph")
    for share in (lambda n: 1, lambda n: 1 / 3, lambda n: n / 7):
        own_losses = by_pieces(3, share)
        expect(not equal(gradients[0], own_losses[0]),
               "these are gradients of each piece's own loss: its pairs must be compared with all others")
    right = by_pieces(7, lambda n: 1)
    # the scale
    expect(gradients[3].ndim == 0 and bool(gradients[3] != 0), "no gradient has reached logit_scale")
    close(gradients[3], right[3], {"the scale's gradient was added more than once": 3 * right[3]},
          "the gradient of logit_scale")
    # the image encoder
    for i, name in enumerate(("first", "second")):
        expect(bool(gradients[i].abs().sum() > 0), "no gradient has reached the image encoder")
        close(gradients[i], right[i], {
            "the gradients must add up over the pieces, not be averaged": right[i] / 3,
        }, f"the image encoder's {name} weights")
    # the text encoder
    expect(bool(gradients[2].abs().sum() > 0), "no gradient has reached the text encoder")
    close(gradients[2], right[2], case="the text encoder's weights")
    # the loss
    I_f = np.tanh(images @ weights[0]) @ weights[1]
    T_f = np.sin(texts @ weights[2])
    logits = math.exp(log_scale) * unit(I_f.numpy()) @ unit(T_f.numpy()).T
    close(value, loss(logits), case="the loss returned")
    expect(not has_graph, "return the loss without its graph: detach it")
