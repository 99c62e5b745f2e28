"""Typical wrong answers to chapter 12; each docstring is what the grader must say."""


def resized__rounded(width, height, R):
    """not rounded"""
    if width <= height:
        return R, round(R * height / width)
    return round(R * width / height), R


def resized__longer(width, height, R):
    """the shorter side becomes R"""
    if width >= height:
        return R, R * height // width
    return R * width // height, R


def resized__squeezed(width, height, R):
    """the proportion is kept"""
    return R, R


def crop_box__down(width, height, R):
    """to the even number, 56"""
    left = (width - R) // 2
    top = (height - R) // 2
    return left, top, left + R, top + R


def crop_box__up(width, height, R):
    """to the even number, 2"""
    left = (width - R + 1) // 2
    top = (height - R + 1) // 2
    return left, top, left + R, top + R


def crop_box__size(width, height, R):
    """not width and height"""
    return round((width - R) / 2), round((height - R) / 2), R, R


def normalised(levels):
    return (levels - np.float32(MEAN)) / np.float32(STD)


def to_input__bytes(pixels):
    """levels from 0 to 1"""
    return normalised(pixels.astype("float32")).transpose(2, 0, 1)


def to_input__reshape(pixels):
    """a reshape does not move"""
    return normalised(pixels.astype("float32") / 255).reshape(3, *pixels.shape[:2])


def to_input__columns(pixels):
    """rows and columns"""
    return normalised(pixels.astype("float32") / 255).T


def to_input__double(pixels):
    """float32 is wanted"""
    return ((pixels / 255 - np.array(MEAN)) / np.array(STD)).transpose(2, 0, 1)


def search__products(query, features, top):
    """divide by their lengths"""
    scores = features @ query
    places = np.argsort(-scores)[:top]
    return places.tolist(), scores[places].tolist()


def cosines_of(query, features):
    return features @ query / np.linalg.norm(features, axis=1) / np.linalg.norm(query)


def search__worst(query, features, top):
    """these are the worst"""
    cosines = cosines_of(query, features)
    places = np.argsort(cosines)[:top]
    return places.tolist(), cosines[places].tolist()


def search__turned(query, features, top):
    """turn the order round"""
    cosines = cosines_of(query, features)
    places = np.argsort(cosines)[-top:]
    return places.tolist(), cosines[places].tolist()


def search__length_of_the_query(query, features, top):
    """the query's length"""
    cosines = features @ query / np.linalg.norm(features, axis=1)
    places = np.argsort(-cosines)[:top]
    return places.tolist(), cosines[places].tolist()


def predict_index_size__numbers():
    """has 4 bytes"""
    return 512


def predict_index_size__double():
    """not 8"""
    return 4096


def predict_index_size__gigabytes():
    """not gigabytes"""
    return 2.048
