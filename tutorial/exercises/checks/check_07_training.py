"""Checks of chapter 7."""
import math

import numpy as np
import torch

from check_06_loss import loss, unit
from compare import close, equal, expect

# Of 8 steps, peak 0.4, warm-up 4; the cosines of 0, 45, 90 and 135 degrees.
RATES = [0.1, 0.2, 0.3, 0.4, 0.4, 0.4 * (2 + 2 ** 0.5) / 4, 0.2, 0.4 * (2 - 2 ** 0.5) / 4]


def falling(start, whole):
    """The rates of steps 4 to 7 with another cosine."""
    return RATES[:4] + [0.2 * (1 + math.cos(math.pi * (step - start) / whole)) for step in range(4, 8)]


def check_7_1(student):
    rates = student.run("return [student.learning_rate(step, 8, 0.4, 4) for step in range(8)]")
    close(rates, RATES, {
        "the first step would have the rate 0: it is peak / warmup": [0, 0.1, 0.2, 0.3, *RATES[4:]],
        "the cosine begins where warm-up ends, and takes the steps that are left": falling(0, 8),
        "half a cosine ends at 0, a quarter is steep at its end":
            RATES[:4] + [0.4 * math.cos(math.pi / 2 * k / 4) for k in range(4)],
        "after warm-up it falls along a cosine, not a line": RATES[:4] + [0.4, 0.3, 0.2, 0.1],
        "cos takes radians": RATES[:4] + [0.2 * (1 + math.cos(180 * k / 4)) for k in range(4)],
        "it must go from peak to 0: (1 + cos) / 2": RATES[:4] + [0.4 * math.cos(math.pi * k / 4) for k in range(4)],
        "warm-up is missing": [0.2 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]},
        "8 steps, peak 0.4, warm-up 4")
    close(student.learning_rate(999, 1000, 1.0, 10), (1 + math.cos(math.pi * 989 / 990)) / 2, {},
          "the last of 1,000 steps")


def check_7_2(student):
    x, y, labels, n = student.run("""
        axis = student.draw_schedule(8, 0.4, 4).axes[0]
        line = axis.lines[0]
        labels = [axis.get_xlabel(), axis.get_ylabel()]
        return np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float), labels, len(axis.lines)
        """)
    expect(n == 1, f"one line was asked for, there are {n}")
    close(x, list(range(8)), {"steps count from 0": list(range(1, 9)),
                              "the last step is steps - 1": list(range(9))}, "the line's steps")
    close(y, RATES, {"the share of the peak was drawn, not the rate": [r / 0.4 for r in RATES],
                     "the logarithm was drawn, not the rate": [math.log10(r) for r in RATES]}, "the line's rates")
    expect(all(labels), "label both axes")


def check_7_3(student):
    shapes = {"conv1.weight": (4, 3, 2, 2), "bn1.weight": (4,), "bn1.bias": (4,), "token_embedding.weight": (9, 4),
              "positional_embedding": (5, 4), "attn.in_proj_weight": (12, 4), "attn.in_proj_bias": (12,),
              "ln_1.weight": (4,),
              "class_embedding": (4,), "logit_scale": (), "text_projection": (4, 2)}
    right = [[n for n, s in shapes.items() if len(s) > 1], [n for n, s in shapes.items() if len(s) < 2]]

    def where(condition):
        return [[n for n in shapes if condition(n)], [n for n in shapes if not condition(n)]]

    close(student.decay_groups({name: torch.zeros(shape) for name, shape in shapes.items()}), right, {
        "gains (bn1.weight, ln_1.weight) and the scale must not decay either": where(lambda n: "bias" not in n),
        "names that end in .weight are not all there is: in_proj_weight, text_projection": where(
            lambda n: n.endswith(".weight") and len(shapes[n]) > 1),
        "bn1.weight and ln_1.weight are gains: they must not decay": where(lambda n: n.endswith("weight")),
        "everything decays here": [list(shapes), []],
        "with decay come first, without second": right[::-1],
        "embeddings have two axes: here they decay": where(lambda n: len(shapes[n]) > 1 and "embedding" not in n)},
        "decay_groups")


def check_7_4(student):
    p, g, m, v = np.array([2.0, -1.0]), np.array([0.5, 4.0]), np.array([0.1, 0.2]), np.array([0.3, 0.4])
    settings = dict(lr=0.1, beta1=0.9, beta2=0.8, eps=0.01, decay=0.5)

    def step(g=g, t=3, decoupled=True, inside=False, corrected=True, before=False, lr_decay=0.1):
        m1, v1 = 0.9 * m + 0.1 * g, 0.8 * v + 0.2 * g ** 2
        mh, vh = (m1 / (1 - 0.9 ** t), v1 / (1 - 0.8 ** t)) if corrected else (m1, v1)
        change = mh / np.sqrt(vh + 0.01) if inside else mh / (np.sqrt(vh) + 0.01)
        return [p - 0.1 * change - lr_decay * 0.5 * p * decoupled, m1, v1]

    swapped = [0.8 * m + 0.2 * g, 0.9 * v + 0.1 * g ** 2]
    got = student.run("return student.adamw_step(p, g, m, v, 3, **settings)", p=p, g=g, m=m, v=v, settings=settings)
    known = {"decay was added to the gradient: that is Adam with L2, not AdamW": step(g + 0.5 * p, decoupled=False),
             "eps is added to the root, not under it": step(inside=True),
             "m and v start at 0: divide them by 1 - beta^t": step(corrected=False),
             "t counts from 1": step(t=4), "there is no decay": step(decoupled=False),
             "decay is multiplied by the learning rate": step(lr_decay=1)}
    expect(not equal(got[1:], swapped), "beta1 is the gradient's, beta2 that of its square")
    for message, value in known.items():
        expect(not all(map(equal, got, value)), message)
    for name, x, y in zip(("p", "m", "v"), got, step()):
        close(x, y, {}, f"new {name} at step 3")


def check_7_5(student):
    def after(value):
        return student.run("""
            scale = torch.nn.Parameter(torch.tensor(value))
            student.clamp_scale(scale)
            return scale, scale.requires_grad
            """, value=value)[0]

    close(after(6.0), math.log(100), {
        "the parameter is the log of the scale: its highest value is ln 100": 6.0,
        "the scale is clamped, but its log is what the parameter holds": 100.0}, "logit_scale 6.0, a scale of 403")
    close(after(2.5), 2.5, {"a low scale may stay: this is a floor": math.log(100)}, "logit_scale 2.5")
    close(after(-1.0), -1.0, {"a low scale may stay": 0.0}, "logit_scale -1")
    expect(student.run("""
        scale = torch.nn.Parameter(torch.tensor(2.0))
        student.clamp_scale(scale)
        (3 * scale.exp()).backward()
        return scale.grad is not None and scale.requires_grad"""), "the scale must still be learned afterwards")


def check_7_6(student):
    close(student.predict_accumulated_loss(), math.log(64), {
        "each piece is compared with itself alone: 64 captions, not 1,024": math.log(1024),
        "the mean over the pieces, not the sum": 16 * math.log(64),
        "each loss is already a mean over its pairs": math.log(64) / 16,
        "nats are wanted, not bits": 6.0, "a guess among 64 costs ln 64, not 1/64": 1 / 64}, tolerance=0.0025,
        tell=False)


SOURCE = """
    weights = [w.clone().requires_grad_() for w in weights]
    scale = torch.tensor(log_scale, dtype=torch.double, requires_grad=True)
    seen = []
    def encode_image(x):
        seen.append((len(x), torch.is_grad_enabled()))
        return torch.tanh(x @ weights[0]) @ weights[1]
    def encode_text(x):
        seen.append((len(x), torch.is_grad_enabled()))
        return torch.sin(x @ weights[2])
    loss = student.cached_gradients(encode_image, encode_text, scale, images, texts, piece)
    graph = torch.is_tensor(loss) and loss.requires_grad
    return [float(loss), seen, graph, *(torch.zeros(1) if x.grad is None else x.grad for x in [*weights, scale])]
"""


def check_7_7(student):
    rng = np.random.default_rng(0)
    images, texts, *weights = (torch.from_numpy(rng.normal(size=s)) for s in ((7, 5), (7, 4), (5, 6), (6, 3), (4, 3)))
    log_scale = 1.2

    def by_pieces(size, share):
        """Gradients if each piece had its own loss, with that share in the whole: a function of its number of pairs."""
        leaves = [x.clone().requires_grad_() for x in (*weights, torch.tensor(log_scale, dtype=torch.double))]
        for x, y in zip(images.split(size), texts.split(size)):
            I, T = torch.tanh(x @ leaves[0]) @ leaves[1], torch.sin(y @ leaves[2])
            logits = leaves[3].exp() * (I / I.norm(dim=1, keepdim=True)) @ (T / T.norm(dim=1, keepdim=True)).T
            value = (logits.logsumexp(0) + logits.logsumexp(1) - 2 * logits.diag()).mean() / 2
            (value * share(len(x))).backward()
        return [x.grad for x in leaves]

    I, T = np.tanh(images @ weights[0]) @ weights[1], np.sin(texts @ weights[2])
    value, seen, graph, *grads = student.run(
        SOURCE, weights=weights, log_scale=log_scale, images=images, texts=texts, piece=3)
    right = by_pieces(7, lambda n: 1)
    expect(all(n <= 3 or not grad for n, grad in seen), "more than `piece` pairs went through an encoder with a graph")
    for share in (lambda n: 1, lambda n: 1 / 3, lambda n: n / 7):
        expect(not equal(grads[0], by_pieces(3, share)[0]),
               "these are gradients of each piece's own loss: its pairs must be compared with all others")
    expect(grads[3].ndim == 0 and bool(grads[3] != 0), "no gradient has reached logit_scale")
    close(grads[3], right[3], {"the scale's gradient was added more than once": 3 * right[3]},
          "the gradient of logit_scale")
    for name, x, y in zip(("first", "second"), grads, right):
        expect(bool(x.abs().sum() > 0), "no gradient has reached the image encoder")
        close(x, y, {"the gradients must add up over the pieces, not be averaged": y / 3},
              f"the image encoder's {name} weights")
    expect(bool(grads[2].abs().sum() > 0), "no gradient has reached the text encoder")
    close(grads[2], right[2], {}, "the text encoder's weights")
    close(value, loss(math.exp(log_scale) * unit(I.numpy()) @ unit(T.numpy()).T), {}, "the loss returned")
    expect(not graph, "return the loss without its graph: detach it")
