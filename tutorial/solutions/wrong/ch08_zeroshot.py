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
    return F.normalize(text_features.mean(dim=1), dim=-1).T


def classifier_weights__not_again(text_features):
    """to unit length again"""
    return F.normalize(text_features, dim=-1).mean(dim=1).T


def classifier_weights__not_transposed(text_features):
    """transpose"""
    return F.normalize(F.normalize(text_features, dim=-1).mean(dim=1), dim=-1)


def classifier_weights__over_classes(text_features):
    """over the templates"""
    return F.normalize(F.normalize(text_features, dim=-1).mean(dim=0), dim=-1).T


def classify__any_length(image_features, weights, logit_scale):
    """images' features to unit length"""
    return (logit_scale.exp() * image_features @ weights).softmax(dim=-1)


def classify__log_scale(image_features, weights, logit_scale):
    """exponentiate it first"""
    return (logit_scale * F.normalize(image_features, dim=-1) @ weights).softmax(dim=-1)


def classify__over_images(image_features, weights, logit_scale):
    """over the classes"""
    return (logit_scale.exp() * F.normalize(image_features, dim=-1) @ weights).softmax(dim=0)


def top_k_accuracy__number(scores, labels, k):
    """not a number"""
    return (scores.topk(k, dim=-1).indices == labels[:, None]).any(dim=-1).float().sum().item()


def top_k_accuracy__smallest(scores, labels, k):
    """not the smallest"""
    return (scores.argsort(dim=-1)[:, :k] == labels[:, None]).any(dim=-1).float().mean().item()


def top_k_accuracy__best_only(scores, labels, k):
    """k is ignored"""
    return (scores.argmax(dim=-1) == labels).float().mean().item()


def top_k_accuracy__divided(scores, labels, k):
    """do not divide by k"""
    return (scores.topk(k, dim=-1).indices == labels[:, None]).float().mean().item()


def recall_at_k__share(scores, relevant, k):
    """not which share"""
    found = relevant.gather(1, scores.topk(k, dim=-1).indices).sum(dim=-1)
    return (found / relevant.sum(dim=-1)).mean().item()


def recall_at_k__precision(scores, relevant, k):
    """that is precision"""
    return relevant.gather(1, scores.topk(k, dim=-1).indices).float().mean().item()


def recall_at_k__diagonal(scores, relevant, k):
    """see `relevant`"""
    best = scores.topk(k, dim=-1).indices
    return (best == torch.arange(len(scores))[:, None]).any(dim=-1).float().mean().item()


def recall_at_k__all(scores, relevant, k):
    """at least one, not all"""
    return relevant.gather(1, scores.topk(k, dim=-1).indices).all(dim=-1).float().mean().item()


def chance_recall__replaced(items, relevant, k):
    """without replacement"""
    return 1 - (1 - relevant / items) ** k


def chance_recall__added(items, relevant, k):
    """do not add up"""
    return k * relevant / items


def chance_recall__none(items, relevant, k):
    """the chance of none"""
    return math.comb(items - relevant, k) / math.comb(items, k)


def ensemble_logits__mean_of_logits(image_features, text_features, logit_scale):
    """gets a shorter vector"""
    return (logit_scale.exp() * torch.einsum("be,nke->bnk", image_features, text_features)).mean(dim=-1)


def ensemble_logits__best(image_features, text_features, logit_scale):
    """another ensemble"""
    return (logit_scale.exp() * torch.einsum("be,nke->bnk", image_features, text_features)).amax(dim=-1)


def ensemble_logits__probabilities(image_features, text_features, logit_scale):
    """not what Section 3.1.4 averages"""
    logits = logit_scale.exp() * torch.einsum("be,nke->bnk", image_features, text_features)
    return logits.softmax(dim=1).mean(dim=-1)
