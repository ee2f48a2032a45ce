"""What an operator may say: `TASKRELAY_*`, `taskrelay.toml` and secret files, as one frozen, checked model.

Only `cli` and `bootstrap` look here; everything else is handed the values it needs.
"""

from service.settings.check import masked, problems
from service.settings.model import AccountSettings, EgressSettings, Settings, TimingSettings
from service.settings.source import Gathered, Problem, SettingsError, environment, gather, load
from service.settings.values import Rate, UnitPrice

__all__ = [
    "AccountSettings",
    "EgressSettings",
    "Gathered",
    "Problem",
    "Rate",
    "Settings",
    "SettingsError",
    "TimingSettings",
    "UnitPrice",
    "environment",
    "gather",
    "load",
    "masked",
    "problems",
]
