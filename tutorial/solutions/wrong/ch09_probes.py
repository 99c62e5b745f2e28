"""Typical wrong answers to chapter 9; each docstring is what the grader must say."""


def few_shot__replaced(labels, shots, seed):
    """drawn twice"""
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.choice(np.flatnonzero(labels == c), shots) for c in np.unique(labels)])


def few_shot__first(labels, shots, seed):
    """always the same"""
    return np.concatenate([np.flatnonzero(labels == c)[:shots] for c in np.unique(labels)])


def few_shot__of_all(labels, shots, seed):
    """not two of each class"""
    return np.random.default_rng(seed).permutation(len(labels))[:shots * len(np.unique(labels))]


def few_shot__no_seed(labels, shots, seed):
    """the same seed"""
    rng = np.random.default_rng()
    return np.concatenate([rng.choice(np.flatnonzero(labels == c), shots, replace=False) for c in np.unique(labels)])


def examples_to_match__linear(shots, values, target):
    """over the logarithm"""
    return float(np.interp(target, values, shots)) if target <= max(values) else math.inf


def examples_to_match__next(shots, values, target):
    """not the next"""
    return next((n for n, value in zip(shots, values) if value >= target), math.inf)


def examples_to_match__logarithm(shots, values, target):
    """exponentiate it"""
    return float(np.interp(target, values, np.log2(shots)))


def examples_to_match__not_infinite(shots, values, target):
    """infinite"""
    return float(np.exp(np.interp(target, values, np.log(shots))))


def mean_per_class__accuracy(predicted, labels):
    """over all images"""
    return float(np.mean(predicted == labels))


def mean_per_class__precision(predicted, labels):
    """that is precision"""
    return float(np.mean([np.mean(labels[predicted == c] == c) for c in np.unique(predicted)]))


def mean_per_class__all_classes(predicted, labels):
    """must not count as 0"""
    return sum(np.mean(predicted[labels == c] == c) for c in np.unique(labels)) / (labels.max() + 1)


def eleven_points__mean_precision(scores, relevant):
    """eleven recalls"""
    hits = np.cumsum(relevant[np.argsort(-scores)])
    return float(np.mean((hits / np.arange(1, len(hits) + 1))[relevant[np.argsort(-scores)] == 1]))


def eleven_points__ten(scores, relevant):
    """recall 0 counts"""
    hits = np.cumsum(relevant[np.argsort(-scores)])
    precision = hits / np.arange(1, len(hits) + 1)
    return float(np.mean([precision[10 * hits >= r * hits[-1]].max() for r in range(1, 11)]))


def eleven_points__first(scores, relevant):
    """not the first at it"""
    hits = np.cumsum(relevant[np.argsort(-scores)])
    precision = hits / np.arange(1, len(hits) + 1)
    return float(np.mean([precision[10 * hits >= r * hits[-1]][0] for r in range(11)]))


def eleven_points__rounding(scores, relevant):
    """compare whole numbers"""
    hits = np.cumsum(relevant[np.argsort(-scores)])
    precision = hits / np.arange(1, len(hits) + 1)
    return float(np.mean([precision[hits / hits[-1] >= r].max() for r in np.arange(11) * 0.1]))


def eleven_points__ascending(scores, relevant):
    """from high to low"""
    hits = np.cumsum(relevant[np.argsort(scores)])
    precision = hits / np.arange(1, len(hits) + 1)
    return float(np.mean([precision[10 * hits >= r * hits[-1]].max() for r in range(11)]))


def standardise__each_by_itself(train, test):
    """use the training set's"""
    return (train - train.mean(axis=0)) / train.std(axis=0), (test - test.mean(axis=0)) / test.std(axis=0)


def standardise__together(train, test):
    """must not decide"""
    both = np.concatenate([train, test])
    return (train - both.mean(axis=0)) / both.std(axis=0), (test - both.mean(axis=0)) / both.std(axis=0)


def standardise__mean_only(train, test):
    """deviation too"""
    return (train - train.mean(axis=0)) / train.std(axis=0), (test - train.mean(axis=0)) / test.std(axis=0)


def standardise__one_for_all(train, test):
    """axis=0"""
    return (train - train.mean()) / train.std(), (test - train.mean()) / train.std()
