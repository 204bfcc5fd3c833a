"""Mutations that corrupt a file: functions of its bytes, another file's bytes, and a generator."""

from collections.abc import Callable
from random import Random

HEADER_BYTES = 2048
"""Containers describe their content within this many bytes, mostly."""

Mutation = Callable[[bytes, bytes, Random], bytes]


def flip_bits(content: bytes, _other: bytes, random: Random) -> bytes:
    """Flip one to a few hundred bits, anywhere."""
    changed = bytearray(content)
    for _ in range(int(2 ** random.uniform(0, 9))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def flip_header_bits(content: bytes, _other: bytes, random: Random) -> bytes:
    """Flip a few bits of the header, at the start of the file or, as in some MP4, at its end."""
    changed = bytearray(content)
    length = min(HEADER_BYTES, len(changed))
    start = random.choice((0, len(changed) - length))
    for _ in range(int(2 ** random.uniform(0, 5))):
        changed[start + random.randrange(length)] ^= 1 << random.randrange(8)
    return bytes(changed)


def write_number(content: bytes, _other: bytes, random: Random) -> bytes:
    """Write an extreme number into one or a few places of the header."""
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
    """Truncate the file, sometimes to nothing."""
    return content[: int(len(content) * random.random() ** 2)]


def lose_a_piece(content: bytes, _other: bytes, random: Random) -> bytes:
    """Remove a piece, as after an incomplete copy."""
    start = random.randrange(len(content))
    return content[:start] + content[start + random.randrange(1, 5000) :]


def zero_a_piece(content: bytes, _other: bytes, random: Random) -> bytes:
    """Zero a piece, as after a bad sector."""
    start = random.randrange(len(content))
    length = min(random.randrange(1, 5000), len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def repeat_a_piece(content: bytes, _other: bytes, random: Random) -> bytes:
    """Copy a piece to another place."""
    start, place = random.randrange(len(content)), random.randrange(len(content))
    piece = content[start : start + random.randrange(1, 5000)]
    return content[:place] + piece + content[place:]


def splice_header(content: bytes, other: bytes, random: Random) -> bytes:
    """Replace the start with another file's."""
    length = random.randrange(1, HEADER_BYTES)
    return other[:length] + content[random.choice((0, length)) :]


def splice_piece(content: bytes, other: bytes, random: Random) -> bytes:
    """Replace a piece with another file's."""
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
    """Apply one or two mutations; return their names and the result."""
    names = []
    for _ in range(random.choice((1, 1, 2))):
        mutation = random.choice(MUTATIONS)
        names.append(mutation.__name__)
        content = mutation(content, other, random) or b"\0"
    return "+".join(names), content
