"""Chapter 6, the contrastive loss of Figure 3: written, derived, cut in pieces, and sixteen times wrong.

Shapes: B pairs, D_i and D_t the encoders' widths, E joint embedding. A loss is in nats.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F


# Exercise 6.1: write, difficulty 3 of 5, about 25 minutes
# hints: python tutorial/grade.py 6.1 --hint 1, then 2, 3
def figure_3(I_f, T_f, W_i, W_t, t):
    """Figure 3 in numpy, without torch -> the loss (float).

    I_f (B, D_i), T_f (B, D_t), W_i (D_i, E), W_t (D_t, E), t the logarithm of the scale. Logits may
    be as large as 1,000, and exp(1000) is infinite.
    """
    raise NotImplementedError("Exercise 6.1")


# Exercise 6.2: write, difficulty 2 of 5, about 15 minutes
# hints: python tutorial/grade.py 6.2 --hint 1, then 2, 3
def contrastive_loss(image_features, text_features, logit_scale):
    """The same in torch. Features (B, E) of any length, and the logarithm of the scale -> scalar.

    The chapter shows it: write it with the notebook closed, from Figure 3. ValueError for a batch
    of one pair, whose loss is always 0.
    """
    raise NotImplementedError("Exercise 6.2")


# Exercise 6.3: write, difficulty 3 of 5, about 25 minutes
# hints: python tutorial/grade.py 6.3 --hint 1, then 2, 3
def loss_gradient(logits):
    """Logits (B, B), numpy, images down, texts across -> (B, B), the derivative of the loss by each.

    By hand, not by torch: from the softmax of the rows, that of the columns, and the right answers.
    """
    raise NotImplementedError("Exercise 6.3")


# Exercise 6.4: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 6.4 --hint 1, then 2, 3
def lowest_loss(B, scale):
    """The lowest loss that B pairs can reach at a given scale (not its logarithm) -> float.

    Pairs then have the cosine 1, and all others the lowest that B unit vectors can have with each
    other at once, as the corners of a simplex do: -1 / (B - 1). (It takes B - 1 dimensions.)
    """
    raise NotImplementedError("Exercise 6.4")


# Exercise 6.5: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 6.5 --hint 1, then 2, 3
def duplicate_floor(B, captions):
    """What the loss of a batch of B comes down to where some captions are equal -> float.

    Captions are drawn from `captions` equally likely ones. Each image finds its caption, and can't
    tell equal ones apart: with k equal captions besides its own it pays ln(1 + k). k is binomial,
    of B - 1 draws.
    """
    raise NotImplementedError("Exercise 6.5")


# Exercise 6.6: write, difficulty 3 of 5, about 20 minutes
# hints: python tutorial/grade.py 6.6 --hint 1, then 2, 3
def sharded_loss(I_e, T_e, scale, rank, processes):
    """The share of the loss that process `rank` of several computes (Section 2.5) -> scalar.

    Unit features I_e and T_e (B, E) of all processes, and the scale. The process has the rank-th of
    equal parts of the pairs; the mean over the processes is the loss of the batch. It computes
    B/processes rows of similarities for its images and B/processes for its texts, never all B x B.
    """
    raise NotImplementedError("Exercise 6.6")


# ---- Sixteen wrong losses: each is like contrastive_loss, but for one mistake --------------------


def cosines(images, texts):
    """Features (B, E) of any length -> the cosine of every image with every text (B, B)."""
    return F.normalize(images, dim=1) @ F.normalize(texts, dim=1).T


def both_ways(logits):
    """The mean of both cross-entropies of logits (B, B), the right answers on the diagonal."""
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def wrong_a(images, texts, logit_scale):
    return both_ways(logit_scale * cosines(images, texts))


def wrong_b(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    return F.cross_entropy(logits, torch.arange(len(logits)))


def wrong_c(images, texts, logit_scale):
    return both_ways(logit_scale.exp() * images @ texts.T)


def wrong_d(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    return both_ways(logits.softmax(dim=1))


def wrong_e(images, texts, logit_scale):
    return both_ways(cosines(images, texts) / logit_scale.exp())


def wrong_f(images, texts, logit_scale):
    return both_ways(logit_scale.exp() * cosines(images, texts.detach()))


def wrong_g(images, texts, logit_scale):
    return len(images) * both_ways(logit_scale.exp() * cosines(images, texts))


def wrong_h(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    labels = torch.zeros(len(images), dtype=torch.long)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def wrong_i(images, texts, logit_scale):
    I_e = F.normalize(images, dim=0)
    T_e = F.normalize(texts, dim=0)
    return both_ways(logit_scale.exp() * I_e @ T_e.T)


def wrong_j(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    diagonal = torch.eye(len(logits), dtype=torch.bool)
    others = logits.masked_fill(diagonal, -math.inf)
    of_images = others.logsumexp(dim=1) - logits.diag()
    of_texts = others.logsumexp(dim=0) - logits.diag()
    return (of_images.mean() + of_texts.mean()) / 2


def wrong_k(images, texts, logit_scale):
    return both_ways(math.exp(logit_scale) * cosines(images, texts))


def wrong_l(images, texts, logit_scale):
    exponentials = (logit_scale.exp() * cosines(images, texts)).exp()
    of_images = -torch.log(exponentials.diag() / exponentials.sum(dim=1))
    of_texts = -torch.log(exponentials.diag() / exponentials.sum(dim=0))
    return (of_images.mean() + of_texts.mean()) / 2


def wrong_m(images, texts, logit_scale):
    I_e = logit_scale.exp() * F.normalize(images, dim=1)
    T_e = logit_scale.exp() * F.normalize(texts, dim=1)
    return both_ways(I_e @ T_e.T)


def wrong_n(images, texts, logit_scale):
    return both_ways(logit_scale.exp() * F.normalize(images, dim=1) @ texts.T)


def wrong_o(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    of_images = F.cross_entropy(logits, logits.argmax(dim=1))
    of_texts = F.cross_entropy(logits.T, logits.T.argmax(dim=1))
    return (of_images + of_texts) / 2


def wrong_p(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    alike = (cosines(images, images) + cosines(texts, texts)) / 2
    targets = (logit_scale.exp() * alike).softmax(dim=1)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


DIAGNOSES = {
    1: "what is most similar is taken for the truth, so that any error is learned",
    2: "each is right, but the sum over the batch is taken: the learning rate would depend on B",
    3: "the scale is applied as its log",
    4: "the scale is applied twice",
    5: "features are brought to unit length along the batch, not each by itself",
    6: "features are not brought to unit length",
    7: "only the images' features are brought to unit length",
    8: "only images choose texts; the other direction is missing",
    9: "the targets are made by the features themselves, which can all become equal",
    10: "the scale divides, as a temperature would",
    11: "the scale is never learned: no gradient reaches it",
    12: "the text encoder is never learned: no gradient reaches it",
    13: "a softmax stands before a cross-entropy that has its own",
    14: "the right answer is not in the denominator: the loss has no lower bound",
    15: "exponentials overflow at the scale that training reaches",
    16: "all pairs but the first have the wrong label",
    17: "the losses of both directions are added, not averaged",
    18: "the loss is the same for any order of the texts",
}


# Exercise 6.7: classify, difficulty 5 of 5, about 45 minutes
# hints: python tutorial/grade.py 6.7 --hint 1, then 2, 3
def diagnose():
    """-> {"a": number, "b": number, ...}: for each of wrong_a to wrong_p what fits in DIAGNOSES.

    Two of the entries fit none. Try the losses on features that are all alike, that are right, that
    are long; at a scale of 100; look at gradients.
    """
    raise NotImplementedError("Exercise 6.7")


# Exercise 6.8: predict, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 6.8 --hint 1, then 2, 3
def predict_guess():
    """Eight pairs get features that are all alike. What do contrastive_loss, wrong_g and wrong_j return?

    Think first; a list of three floats, correct to 0.01.
    """
    raise NotImplementedError("Exercise 6.8")


# Exercise 6.9: bug, difficulty 2 of 5, about 15 minutes
# hints: python tutorial/grade.py 6.9 --hint 1, then 2, 3
def cross_entropy(logits):
    """Logits (B, N), numpy -> mean over rows of -log softmax (float). The right answer of row i is i.

    Repair it for float32 logits of 100 and more. Float64 would only move the limit to 700.
    """
    exponentials = np.exp(logits)
    shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    return float(-np.log(np.diagonal(shares)).mean())


# Exercise 6.10: bug, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 6.10 --hint 1, then 2, 3
def join_gathered(gathered, own, rank):
    """The features of all processes, in the order of their ranks, through which `own` gets its gradient.

    gathered is what torch.distributed.all_gather brought: for each process a (b, E) without a
    gradient. own (b, E) are this process's features, with one. -> (processes b, E).
    As it stands training runs, the loss is right, and nothing is learned. Repair it.
    """
    return torch.cat(gathered)
