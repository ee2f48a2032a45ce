"""Every setting, its meaning, its default and its bounds: one frozen model.

The descriptions are what a person reads in `doctor` and in the example file. Nothing here looks at the environment;
`source.load` does that and hands over a plain mapping.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretBytes, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from service.settings import values

Role = Literal["api", "work"]
Ports = Annotated[Literal["*"] | frozenset[int], BeforeValidator(values.ports)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(values.network)]
BaseUrl = Annotated[str, BeforeValidator(values.base_url)]
PublicUrl = Annotated[str, BeforeValidator(values.public_url)]
DatabaseUrl = Annotated[str, BeforeValidator(values.database_url)]
SecretKey = Annotated[SecretBytes, BeforeValidator(values.secret_key)]
Rate = Annotated[values.Rate, BeforeValidator(values.rate)]
UnitRate = Annotated[values.UnitRate, BeforeValidator(values.unit_rate)]
UnitPrice = Annotated[values.UnitPrice, BeforeValidator(values.unit_price)]
Seconds = Annotated[float, Field(gt=0, le=86400, allow_inf_nan=False)]
ApiKey = Annotated[SecretStr, Field(min_length=1, max_length=4096)]
MetricsToken = Annotated[SecretStr, BeforeValidator(values.bearer)]
RateOrOff = Annotated[values.Rate | None, BeforeValidator(values.rate_or_off)]
Origin = Annotated[str, BeforeValidator(values.origin)]
AccountName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]

_PLAIN = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, arbitrary_types_allowed=True)

# Its replies are documented nowhere, so nobody buys through it without having said so.
OFF_UNTIL_ENABLED = frozenset({"apiinone"})


class AccountSettings(BaseModel):
    """A credential at one provider."""

    model_config = _PLAIN

    provider: str = Field(
        default="", examples=["cloudsway"], description="Which contract it is of; by default the account's own name."
    )
    api_key: ApiKey | None = Field(
        default=None, examples=["<the provider's key>"], description="The provider's API key."
    )
    base_url: BaseUrl | None = Field(
        default=None,
        examples=["https://api.example.com"],
        description="Where its API begins; by default the provider's own address.",
    )
    endpoint_path: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,128}$",
        examples=["abc123"],
        description="The path segment Cloudsway assigns to a customer.",
    )
    callbacks: Literal["verify", "trust", "off"] = Field(
        default="verify",
        examples=["verify"],
        description="verify: a push makes us ask; trust: a push decides; off: no callback URL is sent.",
    )
    max_open_tasks: int = Field(
        default=100, ge=1, le=100_000, examples=["100"], description="Jobs at the provider at a time."
    )
    rate: Rate | None = Field(
        default=None, examples=["5/s"], description="Requests it allows, e.g. 5/s or 24/h; by default the contract's."
    )
    units_per_second: tuple[UnitRate, ...] = Field(
        default=(),
        examples=["std=0.42,pro=0.84"],
        description="What a second of video costs by quality level; by default the contract's published list.",
    )
    unit_price: UnitPrice | None = Field(
        default=None, examples=["0.01 USD"], description="Price of one of its units, e.g. 0.01 USD; for budgets."
    )
    enabled: bool = Field(default=True, examples=["true"], description="Whether anything is asked of it.")
    webhook_secret: SecretStr | None = Field(
        default=None,
        min_length=1,
        examples=["whsec_<from the provider>"],
        description="Verifies the provider's own signature.",
    )
    expected_seconds: int | None = Field(
        default=None, ge=1, le=86400, examples=["120"], description="How long a job takes, until learned."
    )

    @model_validator(mode="before")
    @classmethod
    def _off_until_enabled(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("provider") in OFF_UNTIL_ENABLED:
            return {"enabled": False, **given}
        return given


class EgressSettings(BaseModel):
    """What may be dialled beyond the public internet on port 443."""

    model_config = _PLAIN

    allow: tuple[Network, ...] = Field(
        default=(),
        examples=["10.1.0.0/16,fd00::/8"],
        description="Private ranges that may be called, also over plain http.",
    )
    ports: Ports = Field(default=frozenset({443}), examples=["443,8443"], description="Ports that may be called, or *.")
    per_host: int = Field(
        default=128,
        ge=1,
        le=10_000,
        examples=["128"],
        description="Delivery attempts under way to one host and port at once, per replica.",
    )


class ApiSettings(BaseModel):
    """What the HTTP API allows."""

    model_config = _PLAIN

    rate: RateOrOff = Field(
        default=values.Rate(6000, 60),
        examples=["6000/m"],
        description="Requests of one API key in each process, e.g. 6000/m or 20/s, at once if it likes; or off.",
    )


class PostgresSettings(BaseModel):
    """How a PostgreSQL server is reached, where DATABASE_URL names one."""

    model_config = _PLAIN

    pooled: bool = Field(
        default=False,
        examples=["true"],
        description="A pooler stands between (PgBouncer in transaction mode): nothing is prepared, no wake-ups, we poll.",
    )


Days = Annotated[int, Field(ge=0, le=36_500)]


class RetentionSettings(BaseModel):
    """For how long what is over is kept, in days; 0: for ever. Nothing goes that can still change or is still owed to somebody."""

    model_config = _PLAIN

    raw_days: Days = Field(
        default=30, examples=["30"], description="A provider's messages byte by byte, after their task's end."
    )
    attempts_days: Days = Field(default=30, examples=["30"], description="Attempts of deliveries that are settled.")
    tasks_days: Days = Field(
        default=90, examples=["90"], description="Tasks after their end, with their events, deliveries and timeline."
    )
    audit_days: Days = Field(default=365, examples=["365"], description="Who ordered what.")


class TimingSettings(BaseModel):
    """Spans that guarantees rest on. Shorter ones than the floors buy twice or give a lane two owners."""

    model_config = _PLAIN

    submit_deadline_seconds: Seconds = Field(
        default=30, examples=["30"], description="No byte of a purchase leaves after this."
    )
    settle_seconds: Seconds = Field(
        default=120, examples=["120"], description="After a lost reply: how long look-ups must stay empty."
    )
    lane_ttl_seconds: Seconds = Field(
        default=60, examples=["60"], description="How long a silent replica keeps its lanes."
    )
    heartbeat_seconds: Seconds = Field(
        default=15, examples=["15"], description="How often a replica says that it lives."
    )
    attempt_timeout_seconds: Seconds = Field(
        default=15, examples=["15"], description="Wall clock of one delivery attempt."
    )
    query_timeout_seconds: Seconds = Field(
        default=15, examples=["15"], description="Wall clock of one question to a provider."
    )

    @property
    def shortest_settle_seconds(self) -> float:
        # A late purchase must have reached the provider's index before its absence means anything.
        return max(120.0, self.submit_deadline_seconds + 90)


FLOORS = {
    "submit_deadline_seconds": 10.0,
    "lane_ttl_seconds": 30.0,
    "heartbeat_seconds": 5.0,
    "attempt_timeout_seconds": 5.0,
    "query_timeout_seconds": 5.0,
}
SPARE_SECONDS = 5  # nothing starts that cannot end this long before its lane lapses


class TracesSettings(BaseModel):
    """Where spans are sent. Needs the extra `traces`."""

    model_config = _PLAIN

    endpoint: BaseUrl | None = Field(
        default=None,
        repr=False,
        examples=["http://127.0.0.1:4318/v1/traces"],
        description="An OTLP receiver over HTTP; what else there is to say, the standard OTEL_* variables say.",
    )


class Settings(BaseSettings):
    """Everything that can be said about a running taskrelay. Made by `load`, read by `cli` and `bootstrap` alone."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database_url: DatabaseUrl = Field(
        default="sqlite:///taskrelay.db",
        repr=False,
        examples=["sqlite:///taskrelay.db"],
        description="sqlite:///taskrelay.db, or postgresql://… for replicas.",
    )
    postgres: PostgresSettings = Field(default=PostgresSettings(), description="How a PostgreSQL server is reached.")
    public_url: PublicUrl | None = Field(
        default=None,
        examples=["https://relay.example.com"],
        description="Our own origin as providers and browsers reach it; without it every task is polled.",
    )
    secret_keys: tuple[SecretKey, ...] = Field(
        default=(),
        examples=["$(openssl rand -base64 32)"],
        description="Newest first, at least 32 bytes each: text, or base64:… for raw bytes.",
    )
    accounts: dict[AccountName, AccountSettings] = Field(default_factory=dict, description="Credentials by name.")
    egress: EgressSettings = Field(default=EgressSettings(), description="What may be dialled.")
    roles: frozenset[Role] = Field(
        default=frozenset({"api", "work"}), min_length=1, examples=["api,work"], description="What this replica does."
    )
    host: str = Field(
        default="127.0.0.1", min_length=1, max_length=255, examples=["127.0.0.1"], description="Address to listen on."
    )
    port: int = Field(
        default=8080, ge=0, le=65535, examples=["8080"], description="Port to listen on; 0 takes a free one."
    )
    unsafe_timing: bool = Field(
        default=False, examples=["false"], description="Lifts the floors of TIMING; for test harnesses only."
    )
    timing: TimingSettings = Field(default=TimingSettings(), description="Spans that guarantees rest on.")
    retention: RetentionSettings = Field(default=RetentionSettings(), description="For how long what is over is kept.")
    failpoint: str | None = Field(
        default=None, examples=["after_intent"], description="Where this process is to die; for test harnesses only."
    )
    trusted_proxies: tuple[Network, ...] = Field(
        default=(),
        examples=["10.0.0.0/8,fd00::/8"],
        description="Addresses of your own proxies: what they say in X-Forwarded-For or Forwarded is who the client is.",
    )
    api: ApiSettings = Field(default=ApiSettings(), description="What the HTTP API allows.")
    cors_origins: tuple[Origin, ...] = Field(
        default=(),
        examples=["https://tools.example.com"],
        description="Origins of web pages whose scripts may call the API; by default none.",
    )
    max_connections: int = Field(
        default=4096,
        ge=16,
        le=60_000,
        examples=["4096"],
        description="Connections of clients at once, in each process.",
    )
    max_address_connections: int = Field(
        default=1024,
        ge=4,
        le=60_000,
        examples=["1024"],
        description="Of them, those of one address (of IPv6, one /64); trusted proxies are not counted.",
    )
    max_streams: int = Field(
        default=200, ge=1, le=10_000, examples=["200"], description="Streams of the feed open at once, in each process."
    )
    max_project_streams: int = Field(
        default=20, ge=1, le=10_000, examples=["20"], description="Of them, those of one project."
    )
    docs: bool = Field(
        default=True, examples=["true"], description="Whether the API's description is served: /openapi.json and /docs."
    )
    metrics_token: MetricsToken | None = Field(
        default=None,
        examples=["$(openssl rand -hex 24)"],
        description="Opens /metrics, beside an admin's key: Authorization: Bearer <it>.",
    )
    access_log: bool = Field(
        default=True, examples=["true"], description="Whether each API request is a line of the log."
    )
    traces: TracesSettings = Field(default=TracesSettings(), description="Where spans are sent.")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", examples=["info"], description="The least that is logged."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)  # nothing implicit: `load` names where settings come from

    @model_validator(mode="before")
    @classmethod
    def _accounts_named_like_providers(cls, given: Any) -> Any:
        accounts = given.get("accounts") if isinstance(given, dict) else None
        if not isinstance(accounts, dict):
            return given
        named = {k: {"provider": k, **v} if isinstance(v, dict) else v for k, v in accounts.items()}
        return {**given, "accounts": named}

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        kept = [key.get_secret_value() for key in self.secret_keys]
        if len(set(kept)) < len(kept):
            raise ValueError("SECRET_KEYS names a key twice; a rotation puts a new one in front")
        return self

    @model_validator(mode="after")
    def _not_everybody_is_a_proxy(self) -> Self:
        if any(network.prefixlen == 0 for network in self.trusted_proxies):
            raise ValueError("TRUSTED_PROXIES names every address: anybody could claim to be anybody")
        return self

    @model_validator(mode="after")
    def _no_fail_point_in_earnest(self) -> Self:
        if self.failpoint and not self.unsafe_timing:
            raise ValueError("FAILPOINT kills this process; it is for harnesses, which also set UNSAFE_TIMING=1")
        return self

    @model_validator(mode="after")
    def _spans_are_safe(self) -> Self:
        timing, faults = self.timing, []
        if not self.unsafe_timing:
            floors = {**FLOORS, "settle_seconds": timing.shortest_settle_seconds}
            faults = [
                f"TIMING__{name.upper()} is below its floor of {floor:g}"
                for name, floor in floors.items()
                if getattr(timing, name) < floor
            ]
        # A lease runs down to a heartbeat less than its length before it is extended: what does not fit then is never started.
        longest = max(timing.submit_deadline_seconds, timing.attempt_timeout_seconds, timing.query_timeout_seconds)
        shortest = longest + SPARE_SECONDS + timing.heartbeat_seconds
        if timing.lane_ttl_seconds < shortest:
            faults.append(
                "TIMING__LANE_TTL_SECONDS is less than the longest time-out, a heartbeat"
                f" and {SPARE_SECONDS} seconds ({shortest:g})"
            )
        if timing.heartbeat_seconds * 2 > timing.lane_ttl_seconds:
            faults.append("TIMING__HEARTBEAT_SECONDS is more than half of TIMING__LANE_TTL_SECONDS")
        if faults:
            raise ValueError("\n".join(faults))
        return self
