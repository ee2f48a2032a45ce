from __future__ import annotations

import sqlite3

import pytest

from storage.dialect import postgres, select, sqlite, sqlite_schema


def test_names_become_numbers_in_the_order_they_appear() -> None:
    assert postgres("UPDATE t SET a = :first WHERE b = :second") == (
        "UPDATE t SET a = $1 WHERE b = $2",
        ("first", "second"),
    )


def test_a_repeated_name_keeps_its_number() -> None:
    assert postgres("SELECT :now, :id, :now") == ("SELECT $1, $2, $1", ("now", "id"))


def test_a_name_is_taken_whole() -> None:
    assert postgres("SELECT :id, :id_2, :id2, :ids") == ("SELECT $1, $2, $3, $4", ("id", "id_2", "id2", "ids"))


@pytest.mark.parametrize("cast", ["x::bigint", "now()::text", "'{}'::text[]", "(1 + 2)::numeric"])
def test_a_cast_is_not_a_name(cast: str) -> None:
    assert postgres(f"SELECT {cast}") == (f"SELECT {cast}", ())


def test_a_cast_name_is_a_name() -> None:
    assert postgres("SELECT unnest(:ids::text[])") == ("SELECT unnest($1::text[])", ("ids",))


@pytest.mark.parametrize("literal", ["'12:30'", "':now'", "'it''s :now'", "''", "'a' || ':b'"])
def test_a_literal_is_left_alone(literal: str) -> None:
    assert postgres(f"SELECT {literal}, :a") == (f"SELECT {literal}, $1", ("a",))


def test_a_remark_is_left_alone_even_with_an_apostrophe() -> None:
    text = "SELECT a -- the client's :own\n  FROM t WHERE b = :b"
    assert postgres(text) == ("SELECT a -- the client's :own\n  FROM t WHERE b = $1", ("b",))


def test_what_is_only_for_postgres_comes_out_of_its_comment() -> None:
    text = "SELECT id FROM t LIMIT :batch /*postgres: FOR UPDATE SKIP LOCKED */"
    assert postgres(text) == ("SELECT id FROM t LIMIT $1 FOR UPDATE SKIP LOCKED", ("batch",))


def test_an_alternative_replaces_what_sqlite_runs_and_its_names() -> None:
    text = "SELECT /*sqlite:*/ :now /*postgres: clock_timestamp() */ + :ttl, /*sqlite:*/ 1 /*postgres: 2 */"
    assert postgres(text) == ("SELECT clock_timestamp() + $1, 2", ("ttl",))


def test_an_ordinary_comment_is_left_alone() -> None:
    assert postgres("SELECT /* :both */ 1") == ("SELECT /* :both */ 1", ())


def test_sqlite_runs_the_same_text_as_it_stands() -> None:
    text = "SELECT value FROM /*sqlite:*/ json_each(:ids) /*postgres: unnest(:ids::text[]) */ LIMIT 1 /*postgres: FOR UPDATE */"
    assert sqlite3.connect(":memory:").execute(text, {"ids": '["a"]'}).fetchall() == [("a",)]


@pytest.mark.parametrize(
    ("text", "bare", "values"),
    [
        ("SELECT 1", "SELECT 1", ()),
        ("SELECT :a", "SELECT ?", (1,)),
        ("SELECT :b, :a, :b", "SELECT ?, ?, ?", (2, 1, 2)),
        ("SELECT ':a', :a -- :b", "SELECT ':a', ? -- :b", (1,)),
        ("SELECT /*sqlite:*/ :a /*postgres: :b */ + :b", "SELECT /*sqlite:*/ ? /*postgres: :b */ + ?", (1, 2)),
    ],
)
def test_sqlite_gets_its_values_by_position(text: str, bare: str, values: tuple[int, ...]) -> None:
    found, pick = sqlite(text)
    assert (found, pick({"a": 1, "b": 2, "unused": 3})) == (bare, values)


def test_a_value_that_is_not_given_is_named() -> None:
    for text in ("SELECT :a", "SELECT :a, :b"):
        with pytest.raises(KeyError, match="a"):
            sqlite(text)[1]({"b": 2})


def test_a_schema_gets_the_words_of_sqlite_and_strict_tables() -> None:
    text = "CREATE TABLE t (\n    a BIGINT NOT NULL,\n    b BYTEA\n);\nCREATE INDEX t_a ON t (a);\n"
    assert sqlite_schema(text) == (
        "CREATE TABLE t (\n    a INTEGER NOT NULL,\n    b BLOB\n) STRICT;\nCREATE INDEX t_a ON t (a);\n"
    )


def test_a_column_that_only_sounds_like_a_type_keeps_its_name() -> None:
    assert sqlite_schema("a_BIGINT BIGINT, BYTEAS BYTEA") == "a_BIGINT INTEGER, BYTEAS BLOB"


def test_shared_columns_make_a_select() -> None:
    assert select("a, b", "FROM t") == "SELECT a, b FROM t"


def test_a_table_that_is_its_own_index_is_one_in_the_embedded_engine_alone() -> None:
    text = "CREATE TABLE t (\n    id TEXT NOT NULL PRIMARY KEY\n) /*sqlite:*/ WITHOUT ROWID /*postgres: */;"
    assert sqlite_schema(text).endswith("\n) STRICT, WITHOUT ROWID;")
    assert postgres(text)[0].endswith("\n) ;")


def test_what_only_makes_claims_faster_can_be_left_out() -> None:
    text = "SELECT id FROM t LIMIT :n /*postgres: FOR UPDATE SKIP LOCKED */"
    assert postgres(text) == ("SELECT id FROM t LIMIT $1 FOR UPDATE SKIP LOCKED", ("n",))
    assert postgres(text, skip_locked=False) == ("SELECT id FROM t LIMIT $1 FOR UPDATE", ("n",))
