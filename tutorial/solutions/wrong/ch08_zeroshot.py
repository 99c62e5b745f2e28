"""Typical wrong answers to chapter 8; each docstring is what the grader must say."""


def prompts__templates_first(classnames, templates):
    """all of the first class come first"""
    return [template.replace("{}", name) for template in templates for name in classnames]


def prompts__format(classnames, templates):
    """other braces are text"""
    return [template.format(name) for name in classnames for template in templates]


def prompts__nested(classnames, templates):
    """not a list of lists"""
    return [[template.replace("{}", name) for template in templates] for name in classnames]


def classifier_weights__mean_first(text_features):
    """unit length first"""
    return F.normalize(text_features.mean(dim=1), dim=1).T


def classifier_weights__not_again(text_features):
    """to unit length again"""
    return F.normalize(text_features, dim=2).mean(dim=1).T


def classifier_weights__not_transposed(text_features):
    """transpose"""
    means = F.normalize(text_features, dim=2).mean(dim=1)
    return F.normalize(means, dim=1)


def classifier_weights__over_classes(text_features):
    """over the templates"""
    means = F.normalize(text_features, dim=2).mean(dim=0)
    return F.normalize(means, dim=1).T


def classify__any_length(image_features, weights, logit_scale):
    """images' features to unit length"""
    logits = logit_scale.exp() * image_features @ weights
    return logits.softmax(dim=1)


def classify__log_scale(image_features, weights, logit_scale):
    """exponentiate it first"""
    logits = logit_scale * F.normalize(image_features, dim=1) @ weights
    return logits.softmax(dim=1)


def classify__over_images(image_features, weights, logit_scale):
    """over the classes"""
    logits = logit_scale.exp() * F.normalize(image_features, dim=1) @ weights
    return logits.softmax(dim=0)


def hits(scores, labels, k):
    """(B, k), True where the label is."""
    return scores.topk(k, dim=1).indices == labels[:, None]


def top_k_accuracy__number(scores, labels, k):
    """not a number"""
    return hits(scores, labels, k).any(dim=1).float().sum().item()


def top_k_accuracy__smallest(scores, labels, k):
    """not the smallest"""
    return hits(-scores, labels, k).any(dim=1).float().mean().item()


def top_k_accuracy__best_only(scores, labels, k):
    """k is ignored"""
    return (scores.argmax(dim=1) == labels).float().mean().item()


def top_k_accuracy__divided(scores, labels, k):
    """do not divide by k"""
    return hits(scores, labels, k).float().mean().item()


def relevant_of_best(scores, relevant, k):
    """(queries, k), True where one of the k best is relevant."""
    return relevant.gather(1, scores.topk(k, dim=1).indices)


def recall_at_k__share(scores, relevant, k):
    """not which share"""
    found = relevant_of_best(scores, relevant, k).sum(dim=1)
    return (found / relevant.sum(dim=1)).mean().item()


def recall_at_k__precision(scores, relevant, k):
    """that is precision"""
    return relevant_of_best(scores, relevant, k).float().mean().item()


def recall_at_k__diagonal(scores, relevant, k):
    """see `relevant`"""
    return hits(scores, torch.arange(len(scores)), k).any(dim=1).float().mean().item()


def recall_at_k__all(scores, relevant, k):
    """at least one, not all"""
    return relevant_of_best(scores, relevant, k).all(dim=1).float().mean().item()


def chance_recall__replaced(items, relevant, k):
    """without replacement"""
    return 1 - (1 - relevant / items) ** k


def chance_recall__added(items, relevant, k):
    """do not add up"""
    return k * relevant / items


def chance_recall__none(items, relevant, k):
    """the chance of none"""
    return math.comb(items - relevant, k) / math.comb(items, k)


def logits_of_templates(image_features, text_features, logit_scale):
    """(B, N, K)."""
    return logit_scale.exp() * torch.einsum("be,nke->bnk", image_features, text_features)


def ensemble_logits__mean_of_logits(image_features, text_features, logit_scale):
    """gets a shorter vector"""
    return logits_of_templates(image_features, text_features, logit_scale).mean(dim=2)


def ensemble_logits__best(image_features, text_features, logit_scale):
    """another ensemble"""
    return logits_of_templates(image_features, text_features, logit_scale).amax(dim=2)


def ensemble_logits__probabilities(image_features, text_features, logit_scale):
    """not what Section 3.1.4 averages"""
    logits = logits_of_templates(image_features, text_features, logit_scale)
    return logits.softmax(dim=1).mean(dim=2)
