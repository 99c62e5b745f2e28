"""Chapter 6, the contrastive loss of Figure 3: written, derived, cut in pieces, and sixteen times wrong.

Shapes: B pairs, D_i and D_t the encoders' widths, E joint embedding. A loss is in nats.
"""
import math

import numpy as np
import torch
import torch.nn.functional as F


# Exercise 6.1
def figure_3(I_f, T_f, W_i, W_t, t):
    """Figure 3 in numpy, without torch -> the loss (float).

    I_f (B, D_i), T_f (B, D_t), W_i (D_i, E), W_t (D_t, E), t the logarithm of the scale. Logits may
    be as large as 1,000, and exp(1000) is infinite.
    """
    # solution
    # joint multimodal embedding: vectors of unit length
    I_e = I_f @ W_i  # (B, E)
    I_e = I_e / np.linalg.norm(I_e, axis=1, keepdims=True)
    T_e = T_f @ W_t  # (B, E)
    T_e = T_e / np.linalg.norm(T_e, axis=1, keepdims=True)
    # scaled cosine similarity of every image with every text
    logits = I_e @ T_e.T * np.exp(t)  # (B, B)

    def cross_entropy_loss(rows):
        """The right answer of row i is i."""
        shifted = rows - rows.max(axis=1, keepdims=True)  # the loss stays the same, and exp is 1 at most
        return np.mean(np.log(np.exp(shifted).sum(axis=1)) - np.diag(shifted))

    loss_i = cross_entropy_loss(logits)  # each image chooses among all texts
    loss_t = cross_entropy_loss(logits.T)  # each text chooses among all images
    return float((loss_i + loss_t) / 2)
    # end


# Exercise 6.2
def contrastive_loss(image_features, text_features, logit_scale):
    """The same in torch. Features (B, E) of any length, and the logarithm of the scale -> scalar.

    The chapter shows it: write it with the notebook closed, from Figure 3. ValueError for a batch
    of one pair, whose loss is always 0.
    """
    # solution
    n = len(image_features)
    if n < 2:
        raise ValueError("a batch of one pair has no wrong caption: its loss is always 0")
    # joint multimodal embedding: vectors of unit length
    I_e = F.normalize(image_features, dim=1)  # (B, E)
    T_e = F.normalize(text_features, dim=1)  # (B, E)
    # scaled cosine similarity of every image with every text
    logits = I_e @ T_e.T * logit_scale.exp()  # (B, B)
    # the right answers stand on the diagonal: text i for image i, and image i for text i
    labels = torch.arange(n, device=logits.device)
    loss_i = F.cross_entropy(logits, labels)  # each image chooses among all texts
    loss_t = F.cross_entropy(logits.T, labels)  # each text chooses among all images
    return (loss_i + loss_t) / 2
    # end


# Exercise 6.3
def loss_gradient(logits):
    """Logits (B, B), numpy, images down, texts across -> (B, B), the derivative of the loss by each.

    By hand, not by torch: from the softmax of the rows, that of the columns, and the right answers.
    """
    # solution
    n = len(logits)
    rows = np.exp(logits - logits.max(axis=1, keepdims=True))
    rows = rows / rows.sum(axis=1, keepdims=True)  # each image's probabilities of the texts
    columns = np.exp(logits - logits.max(axis=0, keepdims=True))
    columns = columns / columns.sum(axis=0, keepdims=True)  # each text's probabilities of the images
    truth = np.eye(n)
    return (rows - truth + columns - truth) / (2 * n)
    # end


# Exercise 6.4
def lowest_loss(B, scale):
    """The lowest loss that B pairs can reach at a given scale (not its logarithm) -> float.

    Pairs then have the cosine 1, and all others the lowest that B unit vectors can have with each
    other at once, as the corners of a simplex do: -1 / (B - 1). (It takes B - 1 dimensions.)
    """
    # solution
    own = scale
    other = -scale / (B - 1)
    return math.log1p((B - 1) * math.exp(other - own))
    # end


# Exercise 6.5
def duplicate_floor(B, captions):
    """What the loss of a batch of B comes down to where some captions are equal -> float.

    Captions are drawn from `captions` equally likely ones. Each image finds its caption, and can't
    tell equal ones apart: with k equal captions besides its own it pays ln(1 + k). k is binomial,
    of B - 1 draws.
    """
    # solution
    p = 1 / captions
    floor = 0.0
    for k in range(B):
        chance = math.comb(B - 1, k) * p ** k * (1 - p) ** (B - 1 - k)
        floor += chance * math.log(1 + k)
    return floor
    # end


# Exercise 6.6
def sharded_loss(I_e, T_e, scale, rank, processes):
    """The share of the loss that process `rank` of several computes (Section 2.5) -> scalar.

    Unit features I_e and T_e (B, E) of all processes, and the scale. The process has the rank-th of
    equal parts of the pairs; the mean over the processes is the loss of the batch. It computes
    B/processes rows of similarities for its images and B/processes for its texts, never all B x B.
    """
    # solution
    b = len(I_e) // processes
    labels = torch.arange(rank * b, (rank + 1) * b, device=I_e.device)  # (b,), its pairs in the batch
    loss_i = F.cross_entropy(scale * I_e[labels] @ T_e.T, labels)
    loss_t = F.cross_entropy(scale * T_e[labels] @ I_e.T, labels)
    return (loss_i + loss_t) / 2
    # end


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


# Exercise 6.7
def diagnose():
    """-> {"a": number, "b": number, ...}: for each of wrong_a to wrong_p what fits in DIAGNOSES.

    Two of the entries fit none. Try the losses on features that are all alike, that are right, that
    are long; at a scale of 100; look at gradients.
    """
    # solution
    return {"a": 3, "b": 8, "c": 6, "d": 13, "e": 10, "f": 12, "g": 2, "h": 16,
            "i": 5, "j": 14, "k": 11, "l": 15, "m": 4, "n": 7, "o": 1, "p": 9}
    # end


# Exercise 6.8
def predict_guess():
    """Eight pairs get features that are all alike. What do contrastive_loss, wrong_g and wrong_j return?

    Think first; a list of three floats, correct to 0.01.
    """
    # solution
    return [math.log(8), 8 * math.log(8), math.log(7)]
    # end


# Exercise 6.9
def cross_entropy(logits):
    """Logits (B, N), numpy -> mean over rows of -log softmax (float). The right answer of row i is i.

    Repair it for float32 logits of 100 and more. Float64 would only move the limit to 700.
    """
    # solution
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - np.diagonal(shifted)
    return float(losses.mean())
    # given
    # exponentials = np.exp(logits)
    # shares = exponentials / exponentials.sum(axis=1, keepdims=True)
    # return float(-np.log(np.diagonal(shares)).mean())
    # end


# Exercise 6.10
def join_gathered(gathered, own, rank):
    """The features of all processes, in the order of their ranks, through which `own` gets its gradient.

    gathered is what torch.distributed.all_gather brought: for each process a (b, E) without a
    gradient. own (b, E) are this process's features, with one. -> (processes b, E).
    As it stands training runs, the loss is right, and nothing is learned. Repair it.
    """
    # solution
    return torch.cat([*gathered[:rank], own, *gathered[rank + 1:]])
    # given
    # return torch.cat(gathered)
    # end
