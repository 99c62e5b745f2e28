"""Chapter 6, the contrastive loss of Figure 3: written, differentiated, cut in pieces, and sixteen times wrong.

Shapes: B pairs, D_i and D_t the encoders' widths, E embedding. A loss is in nats.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F


# Exercise 6.1
def figure_3(I_f, T_f, W_i, W_t, t):
    """Figure 3 in numpy: I_f (B, D_i), T_f (B, D_t), W_i (D_i, E), W_t (D_t, E), t the log of the scale -> float.

    No torch here. Logits may be as large as 1,000, and exp(1000) is infinite."""
    # solution
    I_e, T_e = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (I_f @ W_i, T_f @ W_t))  # (B, E) twice
    logits = I_e @ T_e.T * np.exp(t)  # (B, B)

    def cross_entropy(axis):
        shifted = logits - logits.max(axis=axis, keepdims=True)
        return np.mean(np.log(np.exp(shifted).sum(axis=axis)) - np.diag(shifted))

    return float((cross_entropy(0) + cross_entropy(1)) / 2)
    # end


# Exercise 6.2
def contrastive_loss(image_features, text_features, logit_scale):
    """The same in torch: features (B, E) twice, of any length, logit_scale the log of the scale -> scalar.

    The chapter shows it: write it with the notebook closed, from Figure 3.
    ValueError for a batch of one pair, whose loss is always 0."""
    # solution
    if len(image_features) < 2:
        raise ValueError("a batch of one pair has no wrong caption; use at least two pairs")
    I_e, T_e = F.normalize(image_features, dim=-1), F.normalize(text_features, dim=-1)
    logits, labels = logit_scale.exp() * I_e @ T_e.T, torch.arange(len(I_e), device=I_e.device)  # (B, B), (B,)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2
    # end


# Exercise 6.3
def loss_gradient(logits):
    """Logits (B, B), numpy, images down, texts across -> (B, B): the derivative of the loss by each of them.

    By hand, not by torch: the softmax of the rows, that of the columns, and where the right answers are."""
    # solution
    rows, columns = (np.exp(logits - logits.max(axis=axis, keepdims=True)) for axis in (1, 0))
    rows, columns = rows / rows.sum(axis=1, keepdims=True), columns / columns.sum(axis=0, keepdims=True)
    return (rows + columns - 2 * np.eye(len(logits))) / (2 * len(logits))
    # end


# Exercise 6.4
def lowest_loss(B, scale):
    """The lowest loss that B pairs can reach at a given scale (not its log) -> float.

    Pairs then have the cosine 1, and all others the lowest that B unit vectors can have with each other at once, as
    the corners of a simplex do, if they have B - 1 dimensions or more: -1 / (B - 1)."""
    # solution
    return math.log1p((B - 1) * math.exp(-scale * B / (B - 1)))
    # end


# Exercise 6.5
def duplicate_floor(B, captions):
    """What the loss comes down to where the captions of a batch of B are drawn from `captions` equally likely ones,
    when each image finds its caption and can't tell equal ones apart -> float.

    With k equal captions besides its own an image pays ln(1 + k); k is binomial, of B - 1 draws."""
    # solution
    n, p = B - 1, 1 / captions
    return sum(math.comb(n, k) * p ** k * (1 - p) ** (n - k) * math.log(1 + k) for k in range(B))
    # end


# Exercise 6.6
def sharded_loss(I_e, T_e, scale, rank, world):
    """The part of the loss that process `rank` of `world` computes (Section 2.5): unit features (B, E) of all, the
    scale -> scalar. Its pairs are the rank-th of `world` equal parts; the mean over the ranks is the batch's loss.

    It computes B/world rows of similarities for its images and B/world for its texts, never all B x B."""
    # solution
    b = len(I_e) // world
    mine = slice(rank * b, (rank + 1) * b)
    labels = torch.arange(len(I_e), device=I_e.device)[mine]
    return (F.cross_entropy(scale * I_e[mine] @ T_e.T, labels) + F.cross_entropy(scale * T_e[mine] @ I_e.T, labels)) / 2
    # end


# ---- Sixteen wrong losses: each is like contrastive_loss, but for one mistake ----------------------------------------


def cosines(images, texts):
    return F.normalize(images, dim=-1) @ F.normalize(texts, dim=-1).T  # (B, B)


def both_ways(logits):
    labels = torch.arange(len(logits))
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def loss_a(images, texts, logit_scale):
    return both_ways(logit_scale * cosines(images, texts))


def loss_b(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    return F.cross_entropy(logits, torch.arange(len(logits)))


def loss_c(images, texts, logit_scale):
    return both_ways(logit_scale.exp() * images @ texts.T)


def loss_d(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    return both_ways(logits.softmax(dim=-1))


def loss_e(images, texts, logit_scale):
    return both_ways(cosines(images, texts) / logit_scale.exp())


def loss_f(images, texts, logit_scale):
    return both_ways(logit_scale.exp() * cosines(images, texts.detach()))


def loss_g(images, texts, logit_scale):
    return len(images) * both_ways(logit_scale.exp() * cosines(images, texts))


def loss_h(images, texts, logit_scale):
    logits, labels = logit_scale.exp() * cosines(images, texts), torch.zeros(len(images), dtype=torch.long)
    return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.T, labels)) / 2


def loss_i(images, texts, logit_scale):
    I_e, T_e = F.normalize(images, dim=0), F.normalize(texts, dim=0)
    return both_ways(logit_scale.exp() * I_e @ T_e.T)


def loss_j(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    others = logits.masked_fill(torch.eye(len(logits), dtype=torch.bool), -math.inf)
    return (others.logsumexp(0) + others.logsumexp(1) - 2 * logits.diag()).mean() / 2


def loss_k(images, texts, logit_scale):
    return both_ways(math.exp(logit_scale) * cosines(images, texts))


def loss_l(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    i_to_t = -torch.log(logits.exp().diag() / logits.exp().sum(dim=1)).mean()
    t_to_i = -torch.log(logits.exp().diag() / logits.exp().sum(dim=0)).mean()
    return (i_to_t + t_to_i) / 2


def loss_m(images, texts, logit_scale):
    scale = logit_scale.exp()
    return both_ways((scale * F.normalize(images, dim=-1)) @ (scale * F.normalize(texts, dim=-1)).T)


def loss_n(images, texts, logit_scale):
    return both_ways(logit_scale.exp() * F.normalize(images, dim=-1) @ texts.T)


def loss_o(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    return (F.cross_entropy(logits, logits.argmax(1)) + F.cross_entropy(logits.T, logits.argmax(0))) / 2


def loss_p(images, texts, logit_scale):
    logits = logit_scale.exp() * cosines(images, texts)
    targets = (logit_scale.exp() * (cosines(images, images) + cosines(texts, texts)) / 2).softmax(dim=-1)
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
    18: "the loss is the same for any order of the texts"}


# Exercise 6.7
def diagnose():
    """-> {"a": number, "b": number, ...}: for each of loss_a to loss_p the entry of DIAGNOSES that fits. Two of the
    entries fit no loss.

    Try them on features that are all alike, that are right, that are long; at a scale of 100; look at gradients."""
    # solution
    return dict(a=3, b=8, c=6, d=13, e=10, f=12, g=2, h=16, i=5, j=14, k=11, l=15, m=4, n=7, o=1, p=9)
    # end


# Exercise 6.8
def predict_guess():
    """Eight pairs get features that are all alike. What do contrastive_loss, loss_g and loss_j return?

    Think first -> list of three floats, correct to 0.01."""
    # solution
    return [math.log(8), 8 * math.log(8), math.log(7)]
    # end


# Exercise 6.9
def cross_entropy(logits):
    """Logits (B, N), numpy, the right answer of row i being i -> mean over rows of -log softmax (float).

    Repair it for float32 logits of 100 and more. Making them float64 would only move the limit to 700."""
    # solution
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float(np.mean(np.log(np.exp(shifted).sum(axis=1)) - np.diagonal(shifted)))
    # given
    # share = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    # return float(-np.log(np.diagonal(share)).mean())
    # end


# Exercise 6.10
def join_gathered(gathered, own, rank):
    """What torch.distributed.all_gather brought, a list of (b, E) without gradients, and this process's own features
    (b, E), with one -> (world b, E), in the order of the ranks, through which `own` gets its gradient.

    As it stands training runs, the loss is right, and nothing is learned. Repair it."""
    # solution
    return torch.cat([*gathered[:rank], own, *gathered[rank + 1:]])
    # given
    # return torch.cat(gathered)
    # end
