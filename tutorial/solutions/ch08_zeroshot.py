"""Chapter 8, zero-shot: a classifier made of text (Section 3.1.2 and 3.1.4), its accuracy, and retrieval.

Shapes: B images, N classes, K templates, E embedding.
"""
import math

import torch
import torch.nn.functional as F


# Exercise 8.1
def prompts(classnames, templates):
    """N names, K templates with {} in them -> list of N K texts: all of the first class, then all of the second ...

    A name or a template may have braces of its own, so only {} as a whole is replaced."""
    # solution
    return [template.replace("{}", name) for name in classnames for template in templates]
    # end


# Exercise 8.2
def classifier_weights(text_features):
    """Features of all prompts (N, K, E), of any length -> weights (E, N): for each class the mean over its templates
    of the unit features, brought to unit length again (Section 3.1.4)."""
    # solution
    return F.normalize(F.normalize(text_features, dim=-1).mean(dim=1), dim=-1).T
    # end


# Exercise 8.3
def classify(image_features, weights, logit_scale):
    """Features (B, E) of any length, weights (E, N), log of the scale -> probabilities (B, N)."""
    # solution
    return (logit_scale.exp() * F.normalize(image_features, dim=-1) @ weights).softmax(dim=-1)
    # end


# Exercise 8.4
def top_k_accuracy(scores, labels, k):
    """Scores (B, N), labels (B,) -> share of rows whose label is among the k largest scores (float)."""
    # solution
    best = scores.topk(k, dim=-1).indices  # (B, k)
    return (best == labels[:, None]).any(dim=-1).float().mean().item()
    # end


# Exercise 8.5
def recall_at_k(scores, relevant, k):
    """Scores (queries, items), relevant bool of the same shape, each row with one or more True -> float.

    Table 13: the share of queries with at least one relevant item among their k best."""
    # solution
    best = scores.topk(k, dim=-1).indices  # (queries, k)
    return relevant.gather(1, best).any(dim=-1).float().mean().item()
    # end


# Exercise 8.6
def chance_recall(items, relevant, k):
    """The recall at k of a random order, for a query with `relevant` relevant ones among `items` -> float."""
    # solution
    return 1 - math.comb(items - relevant, k) / math.comb(items, k)
    # end


# Exercise 8.7
def ensemble_logits(image_features, text_features, logit_scale):
    """Unit features (B, E) and (N, K, E), log of the scale -> logits (B, N) of the ensemble of Section 3.1.4.

    It runs, and is a little worse than it should be, most of all where templates disagree."""
    # solution
    mean = F.normalize(text_features.mean(dim=1), dim=-1)  # (N, E)
    return logit_scale.exp() * image_features @ mean.T
    # given
    # logits = logit_scale.exp() * torch.einsum("be,nke->bnk", image_features, text_features)
    # return logits.mean(dim=-1)
    # end
