"""Checks of chapter 6. The loss is worked out from its definition, in float64; no example is symmetric."""
import math

import numpy as np
import torch

from compare import Wrong, close, equal, expect

LOG_SCALE = math.log(5)


def example():
    """Six pairs of which half match, features of lengths other than 1, as numpy."""
    rng = np.random.default_rng(0)
    images, noise = rng.normal(size=(2, 6, 8))
    matches = np.arange(6) < 3
    return images, 3 * noise + 9 * images * matches[:, None]


def unit(x, axis=1):
    """Vectors along the axis, brought to unit length."""
    with np.errstate(invalid="ignore"):  # of a column that is zero everywhere
        return x / np.linalg.norm(x, axis=axis, keepdims=True)


def entropies(logits):
    """For each row minus the logarithm of the diagonal's share in it."""
    largest = logits.max(1)
    return np.log(np.exp(logits - largest[:, None]).sum(1)) + largest - np.diag(logits)


def loss(logits):
    return (entropies(logits).mean() + entropies(logits.T).mean()) / 2


def mistakes(I, T, t):
    """{message: what the loss is then}, of features before they are brought to unit length."""
    B = len(I)
    scale = math.exp(t)
    cosines = unit(I) @ unit(T).T
    logits = scale * cosines
    right = loss(logits)
    exponentials = np.exp(logits)
    shares = exponentials / exponentials.sum(1, keepdims=True)
    labels_zero = [np.log(np.exp(x).sum(1)) - x[:, 0] for x in (logits, logits.T)]
    return {
        "the scale was applied as a log: exponentiate it first": loss(t * cosines),
        "divided by the scale: it multiplies": loss(cosines / scale),
        "the scale was applied twice": loss(scale * logits),
        "the scale is missing": loss(cosines),
        "features must be brought to unit length first": loss(scale * I @ T.T),
        "only the images' features are of unit length": loss(scale * unit(I) @ T.T),
        "only the texts' features are of unit length": loss(scale * I @ unit(T).T),
        "each row must have unit length, not each column": loss(scale * unit(I, 0) @ unit(T, 0).T),
        "only images choose texts: average both directions": entropies(logits).mean(),
        "only texts choose images: average both directions": entropies(logits.T).mean(),
        "average the two directions, do not add them": 2 * right,
        "take the mean over the batch, not the sum": B * right,
        "the sum of both directions and all pairs is 2 B times too large": 2 * B * right,
        "the sign: minus the logarithm of the share": -right,
        "nats are wanted, not bits": right / math.log(2),
        "the natural logarithm is wanted, not that of base 10": right / math.log(10),
        "the largest logit must be taken from the right one as well":
            right - (logits.max(0) + logits.max(1)).mean() / 2,
        "cross-entropy has a softmax of its own": loss(shares),
        "the label of pair i is i: here all are 0": np.mean(labels_zero),
    }


def check_6_1(student):
    I_f, T_f = example()
    rng = np.random.default_rng(1)
    W_i, W_t = rng.normal(size=(2, 8, 5))
    for t in (LOG_SCALE, math.log(100)):
        scale = math.exp(t)
        right = loss(scale * unit(I_f @ W_i) @ unit(T_f @ W_t).T)
        known = mistakes(I_f @ W_i, T_f @ W_t, t)
        known["the projections W_i and W_t are missing"] = loss(scale * unit(I_f) @ unit(T_f).T)
        known["bring to unit length behind the projection, not before it"] = loss(
            scale * (unit(I_f) @ W_i) @ (unit(T_f) @ W_t).T)
        close(student.figure_3(I_f, T_f, W_i, W_t, t), right, known, f"scale {scale:.0f}")
    # both captions say the first picture; the exponentials of the logits are [[3, 3], [1, 1]]
    eye = np.eye(2)
    both_say_the_first = np.array([[1.0, 0], [1, 0]])
    by_hand = (math.log(2) + (math.log(4 / 3) + math.log(4)) / 2) / 2
    close(student.figure_3(eye, both_say_the_first, eye, 2 * eye, math.log(math.log(3))), by_hand,
          case="two pairs by hand")
    close(student.figure_3(eye, both_say_the_first, eye, eye, math.log(1000)), (math.log(2) + 500) / 2, {
        "take away the largest of each row, and of each column; that of all leaves some with nothing":
            -math.inf,
    }, "an image that fits no text, scale 1000")
    eye = np.eye(3)
    close(student.figure_3(eye, eye[[1, 2, 0]], eye, eye, math.log(1000)), 1000.0,
          case="every image matches the next caption, scale 1000")


def check_6_2(student):
    I, T = example()
    for log_scale in (LOG_SCALE, 0.5):
        scale = math.exp(log_scale)
        inputs = [torch.tensor(I), torch.tensor(T), torch.tensor(log_scale, dtype=torch.double)]
        got = student.contrastive_loss(*inputs)
        right = loss(scale * unit(I) @ unit(T).T)
        close(got, right, mistakes(I, T, log_scale), f"six pairs, scale {scale:.1f}")
    expect(isinstance(got, torch.Tensor), "return a tensor: a plain number has no gradient")
    compare_gradients(student, inputs)
    each_the_next = (torch.eye(8), torch.eye(8).roll(1, 0), torch.tensor(math.log(1000)))
    close(student.contrastive_loss(*each_the_next), 1000.0,
          case="each image matches the next caption, scale 1000", tolerance=1e-4)
    try:
        student.contrastive_loss(torch.ones(1, 4), torch.ones(1, 4), torch.tensor(0.0))
    except Wrong as wrong:
        expect(str(wrong).startswith("ValueError"), f"one pair must raise ValueError, not {wrong}")
    else:
        raise Wrong("one pair must raise ValueError: its loss is always 0")


def compare_gradients(student, inputs):
    """The gradient of the loss by each of its inputs, beside what a small step up and one down change."""
    def moved_loss(k, i, step):
        moved = [x.clone() for x in inputs]
        moved[k].view(-1)[i] += step
        I, T, t = moved
        return loss(math.exp(t) * unit(I.numpy()) @ unit(T.numpy()).T)

    _, *gradients = student.gradients("contrastive_loss", *inputs)
    for k, name in enumerate(("image features", "text features", "scale")):
        expect(gradients[k] is not None,
               f"no gradient reaches the {name}: was it detached, or made a plain number?")
        slope = torch.zeros_like(inputs[k])
        for i in range(slope.numel()):
            slope.view(-1)[i] = (moved_loss(k, i, 1e-5) - moved_loss(k, i, -1e-5)) / 2e-5
        close(gradients[k], slope, case=f"the gradient of the {name}", tolerance=1e-4)


def check_6_3(student):
    B = 3
    logits = np.random.default_rng(2).normal(size=(B, B))
    truth = np.eye(B)
    exponentials = np.exp(logits)
    rows = exponentials / exponentials.sum(1, keepdims=True)
    columns = exponentials / exponentials.sum(0, keepdims=True)
    right = (rows + columns - 2 * truth) / (2 * B)
    close(student.loss_gradient(logits), right, {
        "two directions are averaged: divide by 2 as well": 2 * right,
        "each direction is a mean over B pairs: divide by B as well": B * right,
        "the loss is a mean over B rows and B columns: divide by 2 B": 2 * B * right,
        "divide by 2 B, not by B²": right * 2 / B,
        "divide by 2 B, not by 2 B²": right / B,
        "the sign is the other way round: it is softmax minus truth": -right,
        "only the rows' softmax was taken": (rows - truth) / B,
        "only the columns' softmax was taken": (columns - truth) / B,
        "subtract the truth in both directions": (rows + columns - truth) / (2 * B),
        "this is the softmax; the truth must be subtracted": (rows + columns) / (2 * B),
        "the columns' softmax lies on its side: transpose it back": (rows + columns.T - 2 * truth) / (2 * B),
        "a softmax over each row, and one over each column; not one over all":
            (exponentials / exponentials.sum() - truth) / B,
    }, "three pairs")
    logits = np.array([[math.log(3), 0.0], [math.log(2), math.log(2)]])
    by_hand = np.array([[-0.65, 0.25 + 1 / 3], [0.9, -0.5 - 1 / 3]]) / 4
    close(student.loss_gradient(logits), by_hand, case="two pairs by hand")
    large = np.diag([1000.0, -1000.0, 500.0])
    by_hand = np.array([[0, 1, 0], [1, -4, 1], [0, 1, 0]]) / 12
    close(student.loss_gradient(large), by_hand, case="large logits")


def check_6_4(student):
    close(student.lowest_loss(5, 3.0), math.log(1 + 4 * math.exp(-3.75)), {
        "the others' cosine is -1 / (B - 1), not 0": math.log(1 + 4 * math.exp(-3)),
        "the others' cosine can't be -1 for all: five vectors have no opposite each":
            math.log(1 + 4 * math.exp(-6)),
        "the cosine 1 of the pair belongs into the exponent too": math.log(1 + 4 * math.exp(-0.75)),
        "the scale multiplies, it does not divide": math.log(1 + 4 * math.exp(-1.25 / 3)),
        "an image is compared with B - 1 others, not with B": math.log(1 + 5 * math.exp(-3.75)),
        "an image is compared with B - 1 others, not with one": math.log(1 + math.exp(-3.75)),
        "the scale is given, not its log": math.log1p(4 * math.exp(-1.25 * math.exp(3))),
    }, "five pairs, scale 3", 1e-9)
    close(student.lowest_loss(2, 1.0), math.log(1 + math.exp(-2)), case="two pairs, scale 1")
    tiny = 32767 * math.exp(-100 * 32768 / 32767)
    close(student.lowest_loss(32768, 100.0) * 1e38, tiny * 1e38, {
        "1 + a very small number is 1 in floating point: math.log1p": 0.0,
    }, "B 32768, scale 100, times 1e38", 1e-3)


def check_6_5(student):
    def own(k):
        return math.log(1 + k)

    def own_not_counted(k):
        return math.log(max(k, 1))

    def one_way(n, k):
        return 1

    def mean(n, cost, p=1 / 16, ways=math.comb):
        """The mean cost of k of n, each of which is there with probability p."""
        return sum(ways(n, k) * p ** k * (1 - p) ** (n - k) * cost(k) for k in range(n + 1))

    right = mean(63, own)
    close(student.duplicate_floor(64, 16), right, {
        "the mean of a logarithm is not the logarithm of a mean": math.log(1 + 63 / 16),
        "ln(B / C) is what equal shares would give: take the mean over k": math.log(4),
        "there are B - 1 other pairs, not B": mean(64, own),
        "its own caption counts too: ln(1 + k)": mean(63, own_not_counted),
        "p is one of the captions, not one of the batch": mean(63, own, p=1 / 64),
        "k equal ones can be chosen in math.comb(B - 1, k) ways": mean(63, own, ways=one_way),
        "the mean over the batch is wanted, not the sum": 64 * right,
        "nats are wanted: the natural logarithm": right / math.log(2),
    }, "64 pairs, 16 captions", 1e-6)
    close(student.duplicate_floor(2, 2), math.log(2) / 2, {
        "all B - 1 others may be equal: k goes as far as that": 0.0,
    }, "two pairs, two captions")


def check_6_6(student):
    I, T = example()
    I_e = unit(I)
    T_e = unit(T)
    features = [torch.tensor(I_e), torch.tensor(T_e)]
    cosines = I_e @ T_e.T
    logits = 5 * cosines

    def of_pairs(logits):
        """Of each pair the mean of both directions."""
        return (entropies(logits) + entropies(logits.T)) / 2

    def labels_from_zero(part):
        """With the labels 0, 1 for the two rows of a part."""
        both = [np.log(np.exp(x[part]).sum(1)) - np.diag(x[part]) for x in (logits, logits.T)]
        return np.mean(both)

    each = of_pairs(logits)
    parts = [each[0:2].mean(), each[2:4].mean(), each[4:6].mean()]
    for rank in (1, 0, 2):
        part = slice(2 * rank, 2 * rank + 2)
        known = {
            "its pairs must be compared with all texts, not with its own alone": loss(logits[part, part]),
            "labels count from the beginning of the batch, not of the part": labels_from_zero(part),
            "only the images of the part choose: its texts choose as well": entropies(logits)[part].mean(),
            "this is the whole batch's loss, not the part's": loss(logits),
            "the mean over ranks should be the loss: do not divide by their number": parts[rank] / 3,
            "average the two directions, do not add them": 2 * parts[rank],
            "parts lie in a row: rank 0 has the first B / processes pairs": each[rank::3].mean(),
            "the scale is missing": of_pairs(cosines)[part].mean(),
            "the scale is given, not its log": of_pairs(math.exp(5) * cosines)[part].mean(),
        }
        for other in range(3):
            if other != rank:
                known[f"this is the part of rank {other}; rank 0 has the first"] = parts[other]
        close(student.sharded_loss(*features, 5.0, rank, 3), parts[rank], known, f"rank {rank} of 3")
    operations = student.run("""
        from torch.utils.flop_counter import FlopCounterMode
        with FlopCounterMode(display=False) as counter:
            student.sharded_loss(*features, 5.0, 1, 3)
        return counter.get_total_flops()
        """, features=features)
    two_strips = 2 * 2 * 2 * 6 * 8  # two operations a multiply-add; 2 x 6 cosines of 8 numbers, twice
    expect(operations <= two_strips, "all B x B similarities were computed: 2 x B/processes x B are enough")


RIGHT = {"a": 3, "b": 8, "c": 6, "d": 13, "e": 10, "f": 12, "g": 2, "h": 16,
         "i": 5, "j": 14, "k": 11, "l": 15, "m": 4, "n": 7, "o": 1, "p": 9}
SYMPTOMS = {
    "a": "at logit_scale 0 all logits are 0",
    "b": "it can be small while each text prefers the same image",
    "c": "features twice as long change it",
    "d": "for perfect features it does not come near 0",
    "e": "at logit_scale 4 it is ln B, whatever the features",
    "f": "look at the gradients of the three inputs",
    "g": "for equal features, how many times ln B is it, for B = 4 and for B = 8?",
    "h": "for perfect features it is large",
    "i": "one more pair in the batch changes the cosines of all others",
    "j": "for perfect features it is below 0",
    "k": "look at the gradients of the three inputs",
    "l": "try logit_scale ln 100 with large cosines",
    "m": "it is what contrastive_loss is at another logit_scale",
    "n": "texts twice as long change it, images don't",
    "o": "exchange the texts: it stays small",
    "p": "for equal features, can it be lower than a perfect model's?",
}


def check_6_7(student):
    answer = student.diagnose()
    expect(isinstance(answer, dict), "return a dict from letters to numbers")
    bad = [letter for letter in RIGHT if answer.get(letter) != RIGHT[letter]]
    if not bad:
        return
    letter = bad[0]
    if letter not in answer:
        symptom = "it has no answer"
    elif answer[letter] not in range(1, 19):
        symptom = "its answer must be one of the numbers 1 to 18"
    else:
        symptom = SYMPTOMS[letter]
    right = len(RIGHT) - len(bad)
    raise Wrong(f"{right} of 16 are right; wrong_{letter} is not: {symptom}", share=right / 16 * 0.9)


def check_6_8(student):
    answer = student.predict_guess()
    right = [math.log(8), 8 * math.log(8), math.log(7)]
    expect(isinstance(answer, (list, tuple)) and len(answer) == 3, "return a list of three numbers")
    known = {
        "wrong_g sums over the batch": [right[0], right[0], right[2]],
        "wrong_j leaves out the right answer: seven are left": [right[0], right[1], right[0]],
        "a guess among eight costs ln 8, not 1 / 8": [1 / 8, 1, 1 / 7],
        "nats are wanted, not bits": [3, 24, math.log2(7)],
        "features that are all alike are no perfect features": [0, 0, 0],
    }
    for message, value in known.items():
        expect(not equal(answer, value, 0.003), message)
    for got, value, name in zip(answer, right, ("contrastive_loss", "wrong_g", "wrong_j")):
        close(got, value, case=name, tolerance=0.003, tell=False)


def check_6_9(student):
    logits = np.array([[1, 2, 0], [0, 3, 3]], "float32")
    right = (math.log(1 + math.e + 1 / math.e) + math.log(2 + math.exp(-3))) / 2
    over_columns = [np.log(np.exp(logits[:, i]).sum()) - logits[i, i] for i in (0, 1)]
    close(student.cross_entropy(logits), right, {
        "the softmax goes over each row": np.mean(over_columns),
        "take the mean over rows, not the sum": 2 * right,
        "the sign: minus the logarithm of the share": -right,
        "the largest logit must be taken from the right one as well": right - 2.5,
    }, "ordinary logits", 1e-4)
    for shift in (100, 1000, -1000):
        close(student.cross_entropy(logits + np.float32(shift)), right,
              case=f"the same logits, {shift:+}: nothing should change", tolerance=1e-3)
    close(student.cross_entropy(np.array([[0, 500], [500, 0]], "float32")), 500.0, {
        "the share became 0 before its logarithm: subtract logarithms instead": math.inf,
        "a small number added to the share hides the true loss": -math.log(1e-8),
    }, "wrong by 500")
    close(student.cross_entropy(np.array([[300, 0], [0, 1]], "float32")), math.log(1 + 1 / math.e) / 2, {
        "take away the largest of each row: the largest of all leaves the others with nothing": -math.inf,
    }, "rows of different size", 1e-4)


def check_6_10(student):
    gathered = [torch.full((2, 3), 1.0), torch.full((2, 3), 2.0), torch.full((2, 3), 3.0)]
    weight = torch.arange(18.0).view(6, 3)
    out, gradient = student.run("""
        own = (gathered[1] + 0.0).requires_grad_()
        out = student.join_gathered([x.clone() for x in gathered], own, 1)
        if out.requires_grad and out.shape == weight.shape:
            (out * weight).sum().backward()
        return out.detach(), own.grad
        """, gathered=gathered, weight=weight)
    first, second, third = gathered
    close(out, torch.cat(gathered), {
        "own features stand at the place of their rank, not first": torch.cat([second, first, third]),
        "own features replace their copy, they do not come on top":
            torch.cat([first, second, third, second]),
        "put own features at the place of their rank, not last": torch.cat([first, third, second]),
    }, "three processes, rank 1")
    expect(gradient is not None,
           "no gradient reaches `own`: what all_gather brought are copies, without a history")
    close(gradient, weight[2:4], case="the gradient of own features")
