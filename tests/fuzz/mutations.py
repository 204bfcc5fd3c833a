"""Ways to break a file. Each is a function of the bytes, of another file's, and of a generator."""

from collections.abc import Callable
from random import Random

HEADER_BYTES = 2048
"""Where containers tell what is in them, mostly."""

Mutation = Callable[[bytes, bytes, Random], bytes]


def flip_bits(content: bytes, _other: bytes, random: Random) -> bytes:
    """One bit to a few hundred, anywhere."""
    changed = bytearray(content)
    for _ in range(int(2 ** random.uniform(0, 9))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def flip_header_bits(content: bytes, _other: bytes, random: Random) -> bytes:
    """A few bits where the file says what is in it: at its start, or at its end as MP4 may."""
    changed = bytearray(content)
    length = min(HEADER_BYTES, len(changed))
    start = random.choice((0, len(changed) - length))
    for _ in range(int(2 ** random.uniform(0, 5))):
        changed[start + random.randrange(length)] ^= 1 << random.randrange(8)
    return bytes(changed)


def write_number(content: bytes, _other: bytes, random: Random) -> bytes:
    """A number that programs stumble over, in one place or a few of the header."""
    changed = bytearray(content)
    length = min(HEADER_BYTES, len(changed))
    start = random.choice((0, len(changed) - length))
    for _ in range(random.randint(1, 3)):
        number = random.choice((0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 31))
        size = random.choice((1, 2, 4, 8))
        place = start + random.randrange(max(1, length - size))
        changed[place : place + size] = (number & ((1 << 8 * size) - 1)).to_bytes(size)
    return bytes(changed)


def truncate(content: bytes, _other: bytes, random: Random) -> bytes:
    """Cut off, now and then to nothing."""
    return content[: int(len(content) * random.random() ** 2)]


def lose_a_piece(content: bytes, _other: bytes, random: Random) -> bytes:
    """As after a bad copy: a piece is missing."""
    start = random.randrange(len(content))
    return content[:start] + content[start + random.randrange(1, 5000) :]


def zero_a_piece(content: bytes, _other: bytes, random: Random) -> bytes:
    """As after a bad sector."""
    start = random.randrange(len(content))
    length = min(random.randrange(1, 5000), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def repeat_a_piece(content: bytes, _other: bytes, random: Random) -> bytes:
    """A piece twice, the second time somewhere else."""
    start, place = random.randrange(len(content)), random.randrange(len(content))
    piece = content[start : start + random.randrange(1, 5000)]
    return content[:place] + piece + content[place:]


def splice_header(content: bytes, other: bytes, random: Random) -> bytes:
    """The start of another file before the rest of this one."""
    length = random.randrange(1, HEADER_BYTES)
    return other[:length] + content[random.choice((0, length)) :]


def splice_piece(content: bytes, other: bytes, random: Random) -> bytes:
    """A piece of another file in the place of one of this."""
    start, place = random.randrange(len(other)), random.randrange(len(content))
    piece = other[start : start + random.randrange(1, 5000)]
    return content[:place] + piece + content[place + len(piece) :]


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    flip_header_bits,
    write_number,
    truncate,
    lose_a_piece,
    zero_a_piece,
    repeat_a_piece,
    splice_header,
    splice_piece,
)


def mutate(content: bytes, other: bytes, random: Random) -> tuple[str, bytes]:
    """One way or two, and their names."""
    names = []
    for _ in range(random.choice((1, 1, 2))):
        mutation = random.choice(MUTATIONS)
        names.append(mutation.__name__)
        content = mutation(content, other, random) or b"\0"
    return "+".join(names), content
