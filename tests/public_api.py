"""Print every public name with its signature: ``python tests/public_api.py > tests/public_api.txt``."""

import enum
import importlib
import inspect
import re

PLACES = ("storage_plugins", "storage_plugins.errors", "storage_plugins.testing", "storage_plugins.atomic")
OURS = "storage_plugins"


def lines() -> list[str]:
    return [line for place in PLACES for name in names(place) for line in described(place, name)]


def names(place: str) -> list[str]:
    module = importlib.import_module(place)
    if hasattr(module, "__all__"):
        return sorted(module.__all__)
    own = (name for name, value in vars(module).items() if getattr(value, "__module__", None) == place)
    return sorted(name for name in own if not name.startswith("_"))


def described(place: str, name: str) -> list[str]:
    value = getattr(importlib.import_module(place), name)
    title = f"{place}.{name}"
    if not inspect.isclass(value):
        return [title + (signature(value) if callable(value) else "")]
    bases = [base.__name__ for base in value.__bases__]
    found = [f"{title}({', '.join(bases)})"]
    if hasattr(value, "model_fields"):
        return found + [
            f"{title}.{field}: default {info.get_default()!r}" for field, info in value.model_fields.items()
        ]
    if "__init__" in vars(value) and not issubclass(value, BaseException):
        found.append(f"{title}.__init__{signature(value.__init__)}")
    for member, attribute in sorted(inspect.getmembers_static(value)):
        if not member.startswith("_") and is_ours(value, member) and not member.startswith("test_"):
            found.append(f"{title}.{member}{of_member(attribute)}")
    return found


def is_ours(value: type, member: str) -> bool:
    owner = next((base for base in value.__mro__ if member in vars(base)), object)
    return owner.__module__.startswith(OURS) and not issubclass(value, enum.Enum)


def of_member(attribute: object) -> str:
    if isinstance(attribute, classmethod | staticmethod):
        attribute = attribute.__func__
    return signature(attribute) if inspect.isfunction(attribute) else ""


def signature(function: object) -> str:
    """Return a signature. Annotations are left out if they are not text, since their text differs between Pythons."""
    try:
        found = inspect.signature(function)
    except (TypeError, ValueError):
        return ""
    parameters = [
        each if isinstance(each.annotation, str) else each.replace(annotation=each.empty)
        for each in found.parameters.values()
    ]
    back = found.return_annotation
    shown = found.replace(parameters=parameters, return_annotation=back if isinstance(back, str) else found.empty)
    return re.sub(r" at 0x[0-9a-f]+", "", str(shown))


if __name__ == "__main__":
    print("\n".join(lines()))
