"""Whether anybody wrote what only a lane's owner may write: PostgreSQL itself notes, at each such write, who wrote and who owned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.chaos.facts import Link
from tests.chaos.watchman import pid_of

NOBODY = "nobody"
SCHEMA = """
    CREATE TABLE chaos_hands (what TEXT NOT NULL, hand TEXT NOT NULL, owner TEXT NOT NULL, row_id TEXT NOT NULL,
                              PRIMARY KEY (what, hand, owner));
    CREATE FUNCTION chaos_note() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE lane_owner TEXT;
    BEGIN
        IF TG_TABLE_NAME = 'deliveries' THEN
            SELECT owner INTO lane_owner FROM lanes WHERE kind = 'endpoint' AND key = NEW.endpoint_id;
        ELSE
            SELECT owner INTO lane_owner FROM lanes WHERE kind = 'account' AND key = NEW.account;
        END IF;
        INSERT INTO chaos_hands VALUES (TG_TABLE_NAME, session_user, coalesce(lane_owner, 'nobody'), NEW.id) ON CONFLICT DO NOTHING;
        RETURN NULL;
    END $$;
    CREATE TRIGGER chaos_settled AFTER UPDATE ON deliveries FOR EACH ROW EXECUTE FUNCTION chaos_note();
    CREATE TRIGGER chaos_bought AFTER INSERT ON submissions FOR EACH ROW EXECUTE FUNCTION chaos_note();
"""


async def put_up(link: Link) -> None:
    await link.execute(SCHEMA)


async def trespasses(link: Link, lives: Mapping[str, Sequence[int]]) -> list[str]:
    """Settles and purchases by a replica that did not own the lane at that moment. `lives`: the process ids of each role."""
    rows = await link.fetch("SELECT what, hand, owner, row_id FROM chaos_hands WHERE hand LIKE 'replica%'")
    return [
        f"{hand} wrote {what} ({row_id} and maybe more) while the lane was {owner}'s"
        for what, hand, owner, row_id in rows
        if owner == NOBODY or pid_of(owner) not in lives.get(hand, ())
    ]


async def watched(link: Link) -> int:
    """How many pairs of writer and owner were noted; none would mean that nothing was looked at."""
    return int(await link.fetchval("SELECT count(*) FROM chaos_hands"))
