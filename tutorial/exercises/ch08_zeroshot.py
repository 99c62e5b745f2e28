"""Chapter 8, zero-shot (Sections 3.1.2 and 3.1.4): a classifier made of text, accuracy, and retrieval.

Shapes: B images, N classes, K templates, E joint embedding.
"""
import math

import torch
import torch.nn.functional as F


# Exercise 8.1: write, difficulty 1 of 5, about 5 minutes
# hints: python tutorial/grade.py 8.1 --hint 1, then 2, 3
def prompts(classnames, templates):
    """N names, K templates with {} in them -> list of N K texts.

    All of the first class come first, then all of the second, and so on. A name or a template may
    have braces of its own, so only {} as a whole is replaced.
    """
    raise NotImplementedError("Exercise 8.1")


# Exercise 8.2: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 8.2 --hint 1, then 2, 3
def classifier_weights(text_features):
    """Features of all prompts (N, K, E), of any length -> weights (E, N), a column for each class.

    The weights of a class are the mean over its templates of the unit features, brought to unit
    length again (Section 3.1.4).
    """
    raise NotImplementedError("Exercise 8.2")


# Exercise 8.3: write, difficulty 1 of 5, about 10 minutes
# hints: python tutorial/grade.py 8.3 --hint 1, then 2, 3
def classify(image_features, weights, logit_scale):
    """Features (B, E) of any length, weights (E, N), logarithm of the scale -> probabilities (B, N)."""
    raise NotImplementedError("Exercise 8.3")


# Exercise 8.4: write, difficulty 2 of 5, about 10 minutes
# hints: python tutorial/grade.py 8.4 --hint 1, then 2, 3
def top_k_accuracy(scores, labels, k):
    """Scores (B, N), labels (B,) -> share of rows whose label is among the k largest scores (float)."""
    raise NotImplementedError("Exercise 8.4")


# Exercise 8.5: write, difficulty 3 of 5, about 15 minutes
# hints: python tutorial/grade.py 8.5 --hint 1, then 2, 3
def recall_at_k(scores, relevant, k):
    """The share of queries with at least one relevant item among their k best, as in Table 13 (float).

    scores (queries, items); relevant is bool, of the same shape, each row with one or more True.
    """
    raise NotImplementedError("Exercise 8.5")


# Exercise 8.6: write, difficulty 3 of 5, about 15 minutes
# hints: python tutorial/grade.py 8.6 --hint 1, then 2, 3
def chance_recall(items, relevant, k):
    """The recall at k of a random order, for a query with `relevant` right ones of `items` (float)."""
    raise NotImplementedError("Exercise 8.6")


# Exercise 8.7: bug, difficulty 2 of 5, about 15 minutes
# hints: python tutorial/grade.py 8.7 --hint 1, then 2, 3
def ensemble_logits(image_features, text_features, logit_scale):
    """The logits (B, N) of the ensemble of Section 3.1.4.

    Unit features (B, E) of images and (N, K, E) of prompts, and the logarithm of the scale. It runs,
    and is a little worse than it should be, most of all where templates disagree.
    """
    logits = []  # for each template (B, N)
    for features in text_features.unbind(dim=1):  # (N, E)
        logits.append(logit_scale.exp() * image_features @ features.T)
    return torch.stack(logits).mean(dim=0)
