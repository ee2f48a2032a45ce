"""What people type, a few lines a command: shown below its help and in docs/command.md. A test reads each as the command would."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "bench": (
        "taskrelay bench",
        "taskrelay bench --database-url postgresql://relay@db.example.org/postgres --json",
    ),
    "submit": (
        'taskrelay submit "A paper boat" -p cloudsway -m kling-3.0-turbo --reference order-8841 --wait',
        'taskrelay submit "A paper boat" -p ulazai -m kling-3.0 --dry-run',
    ),
    "tasks list": (
        "taskrelay tasks list --status failed --created-after 2h",
        "taskrelay tasks list --metadata campaign=spring --all --json",
    ),
    "tasks watch": (
        "taskrelay tasks watch order-8841 order-8842",
        "taskrelay tasks watch --metadata campaign=spring --within 3600 --json",
    ),
    "tasks why": ("taskrelay tasks why order-8841",),
    "tasks resolve": (
        "taskrelay tasks resolve task_01M7YS3WPKZ98XA4C1SFTGVZTF --action adopt --provider-task-id 901930004609634393",
        "taskrelay tasks resolve --provider ulazai --status unconfirmed --action abandon",
    ),
    "uploads create": ("taskrelay uploads create frame.png -p ulazai",),
    "endpoints create": (
        "taskrelay endpoints create https://app.example.org/hooks/done",
        "taskrelay endpoints create https://app.example.org/hooks/ops --event 'account.*' --event 'endpoint.*'",
    ),
    "endpoints replay": ("taskrelay endpoints replay ep_01M7YS3WPKZ98XA4C1SFTGVZTF --which missing --since 3d",),
    "events tail": ("taskrelay events tail --type task.failed --since 2h",),
    "deliveries retry": (
        "taskrelay deliveries retry dlv_01M7YS3WPKZ98XA4C1SFTGVZTF",
        "taskrelay deliveries retry --endpoint ep_01M7YS3WPKZ98XA4C1SFTGVZTF --since 1d",
    ),
    "listen": ("taskrelay listen --forward-to http://127.0.0.1:3000/hooks",),
    "verify": (
        "taskrelay verify body.json -H 'webhook-id: evt_01M7' -H 'webhook-timestamp: 1763759400' -H 'webhook-signature: v1,…'",
        "taskrelay verify --request dump.txt --delivery dlv_01M7YS3WPKZ98XA4C1SFTGVZTF",
    ),
    "keys create": ("taskrelay keys create --name shop --scope tasks,endpoints",),
    "signing-keys rotate": ("taskrelay signing-keys rotate --overlap 604800",),
    "usage": ("taskrelay usage --by account --since 2026-11-01T00:00:00Z",),
    "audit": ("taskrelay audit --since 2026-11-20T00:00:00Z",),
    "openapi": ("taskrelay openapi --url https://relay.example.org",),
}
