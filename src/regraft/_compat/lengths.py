"""What JAX demands of unknown lengths, told from how it refuses them."""

from __future__ import annotations

import itertools
import re
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

# JAX 0.7 to 0.12: the module that compares symbolic dimensions, and the rules of
# primitives that do so to check what they are given.
_COMPARING = "shape_poly.py"
_RULE = re.compile(r"jax[/\\]_src[/\\]lax[/\\]\w+\.py$")
_RULE_NAME_END = "_shape_rule"
# Rules that refuse what they find, where the others say what they want to find.
_REFUSING = ("_top_k_abstract_eval",)
_NEGATED = {"<": ">=", ">": "<=", "<=": ">", ">=": "<"}
_COMPARISON = re.compile(
    r"Symbolic dimension comparison '([^']+)' (<=|>=|<|>) '([^']+)' is inconclusive"
)
_AS_CONSTRAINT = {
    "<=": "{0} <= {1}",
    ">=": "{0} >= {1}",
    "<": "{0} + 1 <= {1}",
    ">": "{0} >= {1} + 1",
}
# What a reflection takes of a length.
_REFLECTED = re.compile(
    r"axis size \(= (.+?)\) is larger than 1 and larger or equal than the padding "
    r"length \(= (\d+)\)"
)
# How JAX and Keras say that shapes don't fit, each giving them as tuples or in types.
_UNLIKE = re.compile(
    r"ncompatible shapes|ncompatible types|broadcastable|same shape|shapes must|"
    r"must match|concatenate|shapes do not match"
)
_DETAILS = "Arguments received"
_DIVIDED = re.compile(r"floordiv\(|mod\(")
_TYPE = re.compile(r"\b[a-z]+\d*\[([^\[\]]*)\]")
_BRACKET_OR_COMMA = re.compile(r"\w?\(|\)|,")
_NAME = re.compile(r"[a-z]\w*$")
_PRODUCT = re.compile(r"\w+(?:\*\w+)*$")
# A slice up to an unknown length is so long.
_SHORTER = re.compile(r"min\((\d+), ([^(),]+)\)$|min\(([^(),]+), (\d+)\)$")


@contextmanager
def unfiltered_tracebacks() -> Iterator[None]:
    """Lets errors tell which part of JAX raised them."""
    # A process with another backend has no need of it.
    import jax

    before = jax.config.values["jax_traceback_filtering"]
    jax.config.update("jax_traceback_filtering", "off")
    try:
        yield
    finally:
        jax.config.update("jax_traceback_filtering", before)


def demanded_of_lengths(error: BaseException) -> str | None:
    """Returns the constraint without which a primitive refuses unknown lengths.

    A branch of somebody's own code that hangs on a length demands nothing: it works
    for lengths of both kinds.

    Args:
        error: What was raised within `unfiltered_tracebacks`.

    Returns:
        What `jax.export.SymbolicScope` takes; also that a formula is a number. `None`
        if it failed for another reason.
    """
    text = str(error)
    found = _COMPARISON.search(text)
    rule = None if found is None else _rule(error)
    if found is not None and rule is not None:
        left, comparison, right = found.groups()
        if rule in _REFUSING:
            comparison = _NEGATED[comparison]
        return _AS_CONSTRAINT[comparison].format(left, right)
    reflected = _REFLECTED.search(text)
    if reflected is not None:
        return f"{reflected[1]} >= {max(int(reflected[2]) + 1, 2)}"
    if _UNLIKE.search(text):
        return _demand_of_shapes(text.partition(_DETAILS)[0])
    return None


def wants_multiples(error: BaseException) -> bool:
    """Whether shapes don't fit that were divided: longer ones don't fit either."""
    text = str(error).partition(_DETAILS)[0]
    return _UNLIKE.search(text) is not None and _DIVIDED.search(text) is not None


def _demand_of_shapes(text: str) -> str | None:
    """Returns what makes two lengths of shapes alike that should be."""
    shapes = [list(_parts(each)) for each in _TYPE.findall(text) or _shapes(text)]
    for one, other in itertools.combinations(shapes, 2):
        for pair in zip(reversed(one), reversed(other), strict=False):
            left, right = (dim.strip() for dim in pair)
            if left != right and "1" not in (left, right):
                left, right = _without_common_factors(left, right)
                return _made_alike(left, right) or _made_alike(right, left)
    return None


def _shapes(text: str) -> Iterator[str]:
    """Yields what is in parentheses that are no call's."""
    depth = start = 0
    calls: list[bool] = []
    for found in _BRACKET_OR_COMMA.finditer(text):
        if found[0].endswith("("):
            calls.append(len(found[0]) > 1)
            if not calls[-1] and not depth:
                start = found.end()
            depth += not calls[-1]
        elif found[0] == ")" and calls and not calls.pop():
            depth -= 1
            if not depth:
                yield text[start : found.start()]


def _parts(shape: str) -> Iterator[str]:
    """Yields the lengths of a shape, some of which may be formulas with commas."""
    depth = start = 0
    for found in _BRACKET_OR_COMMA.finditer(shape):
        if found[0] != ",":
            depth += -1 if found[0] == ")" else 1
        elif not depth:
            yield shape[start : found.start()]
            start = found.end()
    if shape[start:].strip():
        yield shape[start:]


def _without_common_factors(left: str, right: str) -> tuple[str, str]:
    """Returns two lengths without what both are multiples of."""
    if not (_PRODUCT.match(left) and _PRODUCT.match(right)):
        return left, right
    ours, theirs = Counter(left.split("*")), Counter(right.split("*"))
    rest = (ours - theirs, theirs - ours)
    one, other = ("*".join(factors.elements()) or "1" for factors in rest)
    return one, other


def _made_alike(left: str, right: str) -> str | None:
    shorter = _SHORTER.match(left)
    if shorter is not None and right in shorter.groups():
        return f"{right} <= {shorter[1] or shorter[4]}"
    if right.isdigit() and not left.isdigit():
        return f"{left} == {right}"
    if not _NAME.match(left) or not _PRODUCT.match(right) or left in right.split("*"):
        return None
    return f"{left} == {right}"


def _rule(error: BaseException) -> str | None:
    """Returns the name of the rule of a primitive that compared lengths."""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.endswith(_COMPARING)
    ]
    if not frames or _RULE.search(frames[-1].filename) is None:
        return None
    name = frames[-1].name
    return name if name.endswith(_RULE_NAME_END) or name in _REFUSING else None
