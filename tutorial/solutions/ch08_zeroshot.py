"""Chapter 8, zero-shot (Sections 3.1.2 and 3.1.4): a classifier made of text, accuracy, and retrieval.

Shapes: B images, N classes, K templates, E joint embedding.
"""
import math

import torch
import torch.nn.functional as F


# Exercise 8.1
def prompts(classnames, templates):
    """N names, K templates with {} in them -> list of N K texts.

    All of the first class come first, then all of the second, and so on. A name or a template may
    have braces of its own, so only {} as a whole is replaced.
    """
    # solution
    texts = []
    for name in classnames:
        for template in templates:
            texts.append(template.replace("{}", name))
    return texts
    # end


# Exercise 8.2
def classifier_weights(text_features):
    """Features of all prompts (N, K, E), of any length -> weights (E, N), a column for each class.

    The weights of a class are the mean over its templates of the unit features, brought to unit
    length again (Section 3.1.4).
    """
    # solution
    features = F.normalize(text_features, dim=2)  # (N, K, E)
    means = features.mean(dim=1)  # (N, E)
    return F.normalize(means, dim=1).T  # (E, N)
    # end


# Exercise 8.3
def classify(image_features, weights, logit_scale):
    """Features (B, E) of any length, weights (E, N), logarithm of the scale -> probabilities (B, N)."""
    # solution
    image_features = F.normalize(image_features, dim=1)  # (B, E)
    logits = logit_scale.exp() * image_features @ weights  # (B, N), scaled cosine similarities
    return logits.softmax(dim=1)
    # end


# Exercise 8.4
def top_k_accuracy(scores, labels, k):
    """Scores (B, N), labels (B,) -> share of rows whose label is among the k largest scores (float)."""
    # solution
    best = scores.topk(k, dim=1).indices  # (B, k)
    hit = (best == labels[:, None]).any(dim=1)  # (B,)
    return hit.float().mean().item()
    # end


# Exercise 8.5
def recall_at_k(scores, relevant, k):
    """The share of queries with at least one relevant item among their k best, as in Table 13 (float).

    scores (queries, items); relevant is bool, of the same shape, each row with one or more True.
    """
    # solution
    best = scores.topk(k, dim=1).indices  # (queries, k)
    hit = relevant.gather(1, best).any(dim=1)  # (queries,)
    return hit.float().mean().item()
    # end


# Exercise 8.6
def chance_recall(items, relevant, k):
    """The recall at k of a random order, for a query with `relevant` right ones of `items` (float)."""
    # solution
    miss = math.comb(items - relevant, k) / math.comb(items, k)  # the chance that none of k is relevant
    return 1 - miss
    # end


# Exercise 8.7
def ensemble_logits(image_features, text_features, logit_scale):
    """The logits (B, N) of the ensemble of Section 3.1.4.

    Unit features (B, E) of images and (N, K, E) of prompts, and the logarithm of the scale. It runs,
    and is a little worse than it should be, most of all where templates disagree.
    """
    # solution
    means = F.normalize(text_features.mean(dim=1), dim=1)  # (N, E)
    return logit_scale.exp() * image_features @ means.T  # (B, N)
    # given
    # logits = []  # for each template (B, N)
    # for features in text_features.unbind(dim=1):  # (N, E)
    #     logits.append(logit_scale.exp() * image_features @ features.T)
    # return torch.stack(logits).mean(dim=0)
    # end
