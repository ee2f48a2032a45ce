"""The example of an environment file, every setting with its meaning, read off the model. `make example` writes it to deploy/."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import groupby

from service.settings import shape
from service.settings.model import Settings

HEAD = """\
# Settings of taskrelay, for systemd's EnvironmentFile= and compose's env_file:. As service.env it holds yours: readable
# for its owner alone, out of version control. A line that is commented out shows the default, or an example where there
# is none. Needed are PUBLIC_URL, SECRET_KEYS and an account; `taskrelay doctor` says what else is wrong.
# Written from the settings by make example.
"""
TITLES = {
    "accounts": "An account at a provider. One named like a provider is of that provider; another also says PROVIDER.",
    "egress": "What may be called beyond the public internet on port 443.",
    "retention": "For how long what is over is kept, in days; 0: for ever.",
}  # where the model's own words need more
HARNESS = "For test harnesses only."
FOR_HARNESSES = frozenset({"unsafe_timing", "failpoint"})
ACCOUNT = "CLOUDSWAY"
SECRETS = "/etc/taskrelay"
PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./:,@%+=-")


def example() -> str:
    """The whole file."""
    leaves = [leaf for leaf in shape.leaves().values() if leaf.path[0] not in FOR_HARNESSES]
    single = [leaf for leaf in leaves if len(leaf.path) == 1]
    parts = [HEAD, *_lines(single)]
    for part, inside in groupby([leaf for leaf in leaves if len(leaf.path) > 1], key=lambda leaf: leaf.path[0]):
        parts += [f"\n# --- {TITLES.get(part) or Settings.model_fields[part].description}\n", *_lines(inside)]
    harness = [leaf for leaf in shape.leaves().values() if leaf.path[0] in FOR_HARNESSES]
    return "".join([*parts, f"\n# --- {HARNESS}\n", *_lines(harness)])


def _lines(leaves: Iterator[shape.Leaf] | list[shape.Leaf]) -> Iterator[str]:
    for leaf in leaves:
        name = leaf.variable.replace("<NAME>", ACCOUNT)
        yield f"\n# {leaf.field.description}\n"
        if leaf.path == ("database_url",):  # a secret only where it holds a password
            yield f"#{name}={_value(leaf)}\n"
        if leaf.secret:
            yield f"#{name}{shape.FILE}={SECRETS}/{_file(leaf)}\n"
        else:
            yield f"#{name}={_value(leaf)}\n"


def _file(leaf: shape.Leaf) -> str:
    return f"{ACCOUNT.lower()}_{leaf.path[-1]}" if shape.ANY in leaf.path else leaf.path[-1]


def _value(leaf: shape.Leaf) -> str:
    """As it would be written: the default, or the model's example. Quoted where a shell would need it."""
    default = leaf.field.default
    if isinstance(default, frozenset):
        said = ",".join(sorted(map(str, default)))
    elif isinstance(default, bool):
        said = str(default).lower()
    elif isinstance(default, float):
        said = f"{default:g}"
    elif default in (None, "", ()):
        said = str(leaf.field.examples[0] if leaf.field.examples else "")
    else:
        said = str(default)
    return said if set(said) <= PLAIN else f'"{said}"'


if __name__ == "__main__":
    sys.stdout.write(example())
