"""Answers about pictures kept for a while: whoever draws has the same one looked at again and again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
T = TypeVar("T")


def remembered(most: int) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Decorator for functions of arrays and plain values: the last ``most`` answers, by content, are given again.

    An answer is shared, so nobody may change it.
    """

    def decorate(ask: Callable[P, T]) -> Callable[P, T]:
        known: OrderedDict[Any, T] = OrderedDict()
        lock = threading.Lock()

        @wraps(ask)
        def asked(*args: P.args, **kwargs: P.kwargs) -> T:
            key = tuple(map(_content, (*args, *sorted(kwargs.items()))))
            with lock:
                if key in known:
                    known.move_to_end(key)
                    return known[key]
            answer = ask(*args, **kwargs)
            with lock:
                known[key] = answer
                while len(known) > most:
                    known.popitem(last=False)
            return answer

        return asked

    return decorate


def _content(value: Any) -> Any:
    if not isinstance(value, np.ndarray):
        return value
    digest = hashlib.blake2b(np.ascontiguousarray(value).tobytes(), digest_size=16).digest()
    return value.shape, value.dtype.str, digest
