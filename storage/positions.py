"""Where PostgreSQL puts an event in the feed, so that a reader by position misses none although several replicas write at once.

A position is the number of the transaction, and the event's turn in it. Numbers of transactions are given out in order, and the server
tells of each snapshot below which number every transaction has ended: what stands below that place is all that will ever stand there,
and the snapshot sees it. A counter alone would not do: who counted first may commit last, behind the back of a reader.

Turns are counted by a setting that ends with the transaction. A sequence is shared by all, so it wraps in the middle of somebody's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from storage.errors import StorageError

if TYPE_CHECKING:
    import asyncpg

    Link: TypeAlias = asyncpg.Connection[asyncpg.Record] | asyncpg.pool.PoolConnectionProxy[asyncpg.Record]

TURNS: Final = 20  # bits: events of one transaction. One more would get the place of the first, and the key refuses it
# Numbers of transactions take what is left of 63 bits, less one: at 1,000 commits a second that is a century and more.

NO_BASE = "SELECT to_regprocedure('feed_base()') IS NULL"
# How much is added to the number of each transaction: in a database that came from elsewhere positions go on where they were.
# A constant that the planner sees through, not a row: it is needed for every event. STABLE, because of what is IMMUTABLE the planner keeps
# the value alone: connections that had prepared their INSERT went on with the old one (seen on PostgreSQL 18).
BASE = "CREATE FUNCTION feed_base() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT 0::bigint'"
PLACE = """
    CREATE OR REPLACE FUNCTION feed_place(transaction xid8) RETURNS bigint LANGUAGE sql STABLE
    AS 'SELECT (transaction::text::bigint + feed_base()) << 20'
"""
NEXT = """
    CREATE OR REPLACE FUNCTION feed_next() RETURNS bigint LANGUAGE sql VOLATILE
    AS $$SELECT feed_place(pg_current_xact_id()) | (1048575 & set_config('taskrelay.turn',
        (coalesce(nullif(current_setting('taskrelay.turn', true), ''), '0')::bigint + 1)::text, true)::bigint)$$
"""
# Every place below this one is settled, as far as the snapshot that asks is concerned.
BOUND = """
    CREATE OR REPLACE FUNCTION feed_bound() RETURNS bigint LANGUAGE sql STABLE
    AS 'SELECT feed_place(pg_snapshot_xmin(pg_current_snapshot()))'
"""
# For a change made in the middle: the places below `newest` behind which something may still be told that this snapshot does not see.
# The list of what is in progress leaves out the transaction that asks; of that one, what it told so far is seen. STABLE: with the
# snapshot of the statement that calls it, where VOLATILE would take one of its own.
OPEN = """
    CREATE OR REPLACE FUNCTION feed_open(newest bigint) RETURNS text LANGUAGE sql STABLE
    AS $$
    SELECT coalesce(string_agg(place::text, ' ' ORDER BY place), '') FROM (
        SELECT feed_place(x) AS place FROM pg_snapshot_xip(pg_current_snapshot()) AS x
        UNION ALL
        SELECT feed_place(pg_current_xact_id())
               + coalesce(nullif(current_setting('taskrelay.turn', true), ''), '0')::bigint) AS under_way
     WHERE place < newest
    $$
"""
# Whoever has written an event holds the table's lock; whoever has not will do so with the new base. By its owner's right: the role that
# serves, and finds that its database is an older copy, need not own it.
GO_ON = """
    CREATE OR REPLACE FUNCTION feed_go_on(above bigint) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT
    AS $$
    DECLARE
        base bigint;
    BEGIN
        LOCK TABLE events IN SHARE ROW EXCLUSIVE MODE;
        base := (above >> 20) + 1 - pg_snapshot_xmin(pg_current_snapshot())::text::bigint;
        IF base > feed_base() THEN
            EXECUTE format('CREATE OR REPLACE FUNCTION feed_base() RETURNS bigint LANGUAGE sql STABLE AS ''SELECT %s::bigint''', base);
        END IF;
    END
    $$
"""
# A base far ahead would end the feed: nobody calls it but who was let serve (storage/inspection_postgres.py).
OURS_ALONE = "REVOKE ALL ON FUNCTION feed_go_on(bigint) FROM PUBLIC"
HIGHEST = """
    SELECT greatest((SELECT max(position) FROM events), (SELECT max(forgotten) FROM projects),
                    (SELECT max(since_position) FROM subscriptions), 0)
"""
AHEAD = f"SELECT ({HIGHEST}) >= feed_place(pg_snapshot_xmax(pg_current_snapshot()))"
REFUSED = """\
this database came from another server: its feed has places that this one would hand out again. Run: taskrelay db migrate"""


async def prepare(link: Link) -> None:
    """Make what the default of events.position needs. Before the first migration."""
    if await link.fetchval(NO_BASE):
        await link.execute(BASE)
    for text in (PLACE, NEXT, BOUND, OPEN, GO_ON, OURS_ALONE):
        await link.execute(text)


async def go_on(link: Link) -> None:
    """Have the next event stand above all that are there, wherever those came from. In a transaction of a role that owns the schema."""
    if await link.fetchval(AHEAD):
        await link.execute("SELECT feed_go_on($1)", await link.fetchval(HIGHEST))


async def check(link: Link) -> None:
    """Raises StorageError when the next event would stand below one that is there."""
    if await link.fetchval(AHEAD):
        raise StorageError(REFUSED)
