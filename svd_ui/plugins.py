"""Kinds that packages may add: how they are registered, how strangers' packages are found, and how a request holds one.

A package names its modules as entry points of one of ``GROUPS``; installing it is all there is to do::

    [project.entry-points."svd_ui.methods"]
    wobble = "my_package.wobble"

``SVD_UI_PLUGINS=off`` starts without them. What cannot be loaded is named by ``doctor`` and stops nobody else.
"""

from __future__ import annotations

import importlib
import logging
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, ClassVar, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

from .settings import Settings

log = logging.getLogger(__name__)

METHODS, POST, CHECKPOINTS = "svd_ui.methods", "svd_ui.post", "svd_ui.checkpoints"
GROUPS = (METHODS, POST, CHECKPOINTS)


@dataclass(frozen=True)
class Plugin:
    """One entry point. ``package`` is the distribution and its version, ``trouble`` why it could not be loaded."""

    group: str
    name: str
    value: str
    package: str
    loaded: Any = None
    trouble: str = ""


def allowed() -> bool:
    """Whether strangers' code may be loaded; settings that cannot be read allow nothing."""
    try:
        return Settings().plugins == "on"
    except ValidationError:
        return False


@cache
def load(group: str) -> tuple[Plugin, ...]:
    """The entry points of ``group``, each imported once for the life of the process. Never raises."""
    return tuple(_loaded(entry) for entry in sorted(entry_points(group=group))) if allowed() else ()


def found() -> list[Plugin]:
    """Every entry point of every group, for ``doctor``."""
    return [plugin for group in GROUPS for plugin in load(group)]


def _loaded(entry: EntryPoint) -> Plugin:
    package = f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""
    about = (entry.group, entry.name, entry.value, package)
    try:
        return Plugin(*about, loaded=entry.load())
    except Exception as error:  # as many kinds of failure as there are packages
        log.warning("the plug-in %s of %s was not loaded", entry.value, package, exc_info=error)
        return Plugin(*about, trouble=f"{type(error).__name__}: {error}")


class Frozen(BaseModel):
    """Data that crosses a border: immutable, no unknown keys.

    Validators are built at their first use, when every kind that a field may hold has been registered.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Params(Frozen):
    """Base of whatever is chosen by ``kind``: its fields are what a person may set.

    The first line of a subclass's docstring is shown to people; ``title`` is its name there.

    ``shorthand`` says what the flag of its name takes on the command line: the value of that parameter (``--lock mask.png``
    for ``--lock.mask mask.png``), nothing at all where it is '' (``--loop``), name=value pairs where it is None.
    """

    shorthand: ClassVar[str | None] = None
    kind: str = ""

    @classmethod
    def title(cls) -> str:
        """Its name for people: ``Motion strength`` for ``motion_strength``."""
        return cls.kind_of().replace("_", " ").capitalize()

    @classmethod
    def summary(cls) -> str:
        """What it does, in one sentence."""
        return (cls.__doc__ or "").strip().split("\n")[0]

    @classmethod
    def kind_of(cls) -> str:
        """The kind that a subclass was registered under."""
        return str(cls.model_fields["kind"].default)


Kind = TypeVar("Kind", bound=Params)


class Registry(Generic[Kind]):
    """The kinds of one field: our own are the modules of a package, strangers' come from the entry points ``group``."""

    def __init__(self, group: str, package: str) -> None:
        self._group, self._package = group, package
        self._classes: dict[str, type[Kind]] = {}
        self._complete = False

    def register(self, kind: str) -> Callable[[type[Kind]], type[Kind]]:
        """Class decorator: ``kind`` becomes the value of the class's field ``kind``. Raises ValueError where it is taken."""

        def decorate(cls: type[Kind]) -> type[Kind]:
            if kind in self._classes:
                raise ValueError(f"the kind {kind!r} is taken by {self._classes[kind].__module__}")
            cls.__pydantic_fields__["kind"] = FieldInfo(annotation=Literal[kind], default=kind)  # type: ignore[arg-type]
            cls.model_rebuild(force=True)
            self._classes[kind] = cls
            return cls

        return decorate

    def classes(self) -> Mapping[str, type[Kind]]:
        """Every kind by name, in order: ours, then strangers'."""
        if not self._complete:
            self._complete = True
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            load(self._group)
            ours = {kind for kind, cls in self._classes.items() if cls.__module__.startswith(f"{self._package}.")}
            self._classes = {kind: self._classes[kind] for kind in [*sorted(ours), *sorted({*self._classes} - ours)]}
        return self._classes

    def origin(self, kind: str) -> str:
        """The package a kind comes from, with its version; '' for our own."""
        module = self._classes[kind].__module__ if kind in self.classes() else ""
        return next((plugin.package for plugin in load(self._group) if _inside(module, plugin.value)), "")


def _inside(module: str, value: str) -> bool:
    """Whether ``module`` belongs to the entry point ``value``."""
    return module.split(".")[0] == value.partition(":")[0].split(".")[0]


class ByKind:
    """Annotation of a field that holds any kind of a registry: a union discriminated by ``kind``."""

    def __init__(self, registry: Registry[Any]) -> None:
        self.registry = registry

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        kinds = self.registry.classes().items()
        return core_schema.tagged_union_schema(
            {kind: handler.generate_schema(cls) for kind, cls in kinds}, discriminator="kind"
        )


def registry_of(info: FieldInfo) -> Registry[Any] | None:
    """The registry whose kinds a field holds, one or a tuple of them; None for any other field."""
    inner = (item for part in get_args(info.annotation) for item in getattr(part, "__metadata__", ()))
    return next((item.registry for item in (*info.metadata, *inner) if isinstance(item, ByKind)), None)
