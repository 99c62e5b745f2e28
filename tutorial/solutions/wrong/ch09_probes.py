"""Typical wrong answers to chapter 9; each docstring is what the grader must say."""


def drawn(labels, shots, rng, replace=False):
    places = [rng.choice(np.flatnonzero(labels == c), shots, replace) for c in np.unique(labels)]
    return np.concatenate(places)


def few_shot__replaced(labels, shots, seed):
    """drawn twice"""
    return drawn(labels, shots, np.random.default_rng(seed), replace=True)


def few_shot__first(labels, shots, seed):
    """always the same"""
    places = [np.flatnonzero(labels == c)[:shots] for c in np.unique(labels)]
    return np.concatenate(places)


def few_shot__of_all(labels, shots, seed):
    """not two of each class"""
    classes = len(np.unique(labels))
    return np.random.default_rng(seed).permutation(len(labels))[:shots * classes]


def few_shot__no_seed(labels, shots, seed):
    """the same seed"""
    return drawn(labels, shots, np.random.default_rng())


def examples_to_match__linear(shots, values, target):
    """over the logarithm"""
    if target > max(values):
        return math.inf
    return float(np.interp(target, values, shots))


def examples_to_match__next(shots, values, target):
    """not the next"""
    for n, value in zip(shots, values):
        if value >= target:
            return n
    return math.inf


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
    shares = [np.mean(labels[predicted == c] == c) for c in np.unique(predicted)]
    return float(np.mean(shares))


def mean_per_class__all_classes(predicted, labels):
    """must not count as 0"""
    accuracies = [np.mean(predicted[labels == c] == c) for c in np.unique(labels)]
    return sum(accuracies) / (labels.max() + 1)


def curve(relevant, order):
    """How many relevant ones there are down to each place, and the precision there."""
    hits = np.cumsum(relevant[order])
    return hits, hits / np.arange(1, len(hits) + 1)


def eleven_points__mean_precision(scores, relevant):
    """eleven recalls"""
    order = np.argsort(-scores)
    _, precision = curve(relevant, order)
    return float(np.mean(precision[relevant[order] == 1]))


def eleven_points__ten(scores, relevant):
    """recall 0 counts"""
    hits, precision = curve(relevant, np.argsort(-scores))
    highest = [precision[10 * hits >= tenths * hits[-1]].max() for tenths in range(1, 11)]
    return float(np.mean(highest))


def eleven_points__first(scores, relevant):
    """not the first at it"""
    hits, precision = curve(relevant, np.argsort(-scores))
    first = [precision[10 * hits >= tenths * hits[-1]][0] for tenths in range(11)]
    return float(np.mean(first))


def eleven_points__rounding(scores, relevant):
    """compare whole numbers"""
    hits, precision = curve(relevant, np.argsort(-scores))
    recalls = hits / hits[-1]
    highest = [precision[recalls >= recall].max() for recall in np.arange(11) * 0.1]
    return float(np.mean(highest))


def eleven_points__ascending(scores, relevant):
    """from high to low"""
    hits, precision = curve(relevant, np.argsort(scores))
    highest = [precision[10 * hits >= tenths * hits[-1]].max() for tenths in range(11)]
    return float(np.mean(highest))


def scaled(x, mean, std):
    return (x - mean) / std


def standardise__each_by_itself(train, test):
    """use the training set's"""
    train = scaled(train, train.mean(axis=0), train.std(axis=0))
    return train, scaled(test, test.mean(axis=0), test.std(axis=0))


def standardise__together(train, test):
    """must not decide"""
    both = np.concatenate([train, test])
    mean = both.mean(axis=0)
    std = both.std(axis=0)
    return scaled(train, mean, std), scaled(test, mean, std)


def standardise__mean_only(train, test):
    """deviation too"""
    mean = train.mean(axis=0)
    return scaled(train, mean, train.std(axis=0)), scaled(test, mean, test.std(axis=0))


def standardise__one_for_all(train, test):
    """axis=0"""
    return scaled(train, train.mean(), train.std()), scaled(test, train.mean(), train.std())
