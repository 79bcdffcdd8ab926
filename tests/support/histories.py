"""Random whisper histories, from a `random.Random`: archives, batches of points, a clock that moves.

The law: what comes out never makes the whisper package run over the end of a ring, so files written
from one history must be equal; a batch with points of the future spans at most one ring.
"""

from __future__ import annotations

from random import Random

XFF = (0, 0.2, 0.3, 0.5, 0.7, 1)
METHODS = ("average", "sum", "last", "max", "min", "avg_zero", "absmax", "absmin")
Archives = list[tuple[int, int]]
Points = list[tuple[int, float]]


def archives(random: Random) -> Archives:
    """One to four archives that may form one file."""
    answer = [(random.choice((1, 2, 5, 10, 60)), random.randint(1, 12))]
    for _ in range(random.randint(0, 3)):
        ratio = random.randint(2, 5)
        step, points = answer[-1]
        points = max(points, ratio)
        answer[-1] = (step, points)
        answer.append((step * ratio, points // ratio + 1 + random.randint(0, 6)))
    return answer


def retention(files: Archives) -> int:
    return files[-1][0] * files[-1][1]


def value(random: Random) -> float:
    if random.random() < 0.05:
        return random.choice((float("nan"), float("inf"), -float("inf"), 1e308, 5e-324))
    return random.choice((random.uniform(-9, 9), float(random.randint(-3, 3)), 0.0, -0.0, 1e16 * random.random()))


def later(random: Random, files: Archives, now: int) -> int:
    """The next moment: the same, a little later, or so late that the rings have wrapped."""
    step = files[0][0]
    return now + random.choice((0, 1, step, 3 * step, random.randint(0, 2 * retention(files))))


def batch(random: Random, files: Archives, now: int) -> Points:
    """Points in no order: scattered over the retention, a back-fill, the latest slots, or some of the future."""
    step, points = files[0]
    size = random.randint(1, 25)
    kind = random.randrange(4)
    if kind == 0:
        stamps = [now - random.randint(0, retention(files) + 5) for _ in range(size)]
    elif kind == 1:
        start = now - random.randint(0, retention(files))
        stamps = [stamp for stamp in range(start, start + size * step, step) if stamp <= now]
    elif kind == 2:
        stamps = list(range(now - (size - 1) * step, now + 1, step))
    else:
        latest = now + random.randint(1, points * step)
        stamps = [latest - random.randint(0, (points - 1) * step) for _ in range(size)]
    if random.random() < 0.3:
        stamps += random.choices(stamps, k=3)
    random.shuffle(stamps)
    return [(stamp, value(random)) for stamp in stamps]


def question(random: Random, files: Archives, now: int) -> tuple[int, int]:
    """A from and an until, mostly within reach."""
    begin = now - random.randint(-5, retention(files) + 20)
    return begin, begin + random.randint(0, retention(files))
