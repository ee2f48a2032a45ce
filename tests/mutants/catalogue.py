"""The seeded bugs: each a classic of this kind of software, as small edits of the source, and the tests that should object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """`old` stands exactly once in `file`."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutant:
    """One bug. `harm`: what it would do to somebody. `tests`: where it must be noticed."""

    name: str
    harm: str
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]


DATABASE_CLOCK = "/*sqlite:*/ :now /*postgres: (extract(epoch FROM clock_timestamp()) * 1000000)::bigint */"

MUTANTS = (
    Mutant(
        name="normal-sync",
        harm="a power cut takes commits that were acknowledged",
        edits=(
            Edit(file="storage/sqlite.py", old='"synchronous = FULL"', new='"synchronous = NORMAL"'),
            Edit(file="storage/sqlite.py", old='!= ("wal", 2)', new='!= ("wal", 1)'),
        ),
        tests=("tests/storage",),
    ),
    Mutant(
        name="commit-after-send",
        harm="a crash forgets a purchase that was made",
        edits=(
            Edit(
                file="service/pipeline/submit.py",
                old="    recorded = await desk.recorder.record(intent)\n",
                new="    early = await _ask(task, submission_id, account, desk, deadline)\n"
                "    recorded = await desk.recorder.record(intent)\n",
            ),
            Edit(
                file="service/pipeline/submit.py",
                old="    reading = await _ask(recorded.task, submission_id, account, desk, deadline)\n",
                new="    reading = early\n",
            ),
        ),
        tests=("tests/service/pipeline",),
    ),
    Mutant(
        name="new-external-id",
        harm="a second submission cannot be recognised as the same purchase",
        edits=(
            Edit(
                file="service/providers/cloudsway.py",
                old="body = _body(given, task.id, callback_url)",
                new='body = _body(given, f"{task.id}-a{task.submissions}", callback_url)',
            ),
        ),
        tests=("tests/service/providers", "tests/service/pipeline"),
    ),
    Mutant(
        name="resend-on-protocol-error",
        harm="'server disconnected' looks safe to retry, and the job was made",
        edits=(
            Edit(
                file="service/net/client.py",
                old="failure = FateUnknown if errand.left else NeverSent",
                new="read = isinstance(error, httpcore.RemoteProtocolError)\n"
                "            failure = FateUnknown if errand.left and not read else NeverSent",
            ),
        ),
        tests=("tests/service/net", "tests/service/pipeline"),
    ),
    Mutant(
        name="no-settle-window",
        harm="a request that is still on its way is sent once more, and both arrive",
        edits=(
            Edit(
                file="service/core/buying.py",
                old="        and task.streak_last_at >= task.submission_deadline_at + span(rules.settle_seconds)\n",
                new="",
            ),
        ),
        tests=("tests/service/core", "tests/service/pipeline"),
    ),
    Mutant(
        name="no-socket-guard",
        harm="a worker that was paused sends after another one has settled the matter",
        edits=(
            Edit(
                file="service/net/dial.py",
                old="        while rest:\n            self._guard()\n",
                new="        while rest:\n",
            ),
        ),
        tests=("tests/service/net",),
    ),
    Mutant(
        name="no-fence",
        harm="a worker whose lease has lapsed overwrites its successor",
        edits=(
            Edit(
                file="storage/lanes.py",
                old="key = :key AND owner = :owner AND epoch = :epoch /*postgres: FOR KEY SHARE */",
                new="key = :key /*postgres: FOR KEY SHARE */",
            ),
        ),
        tests=("tests/storage", "tests/service/pipeline"),
    ),
    Mutant(
        name="unfenced-intent",
        harm="a worker whose lease has lapsed buys beside its successor, over the account's rate and against a person's pause",
        edits=(
            Edit(
                file="service/pipeline/fences.py",
                old="lost[_lease(lane)] = not await lanes.hold(tx, lane)",
                new="lost[_lease(lane)] = False",
            ),
        ),
        tests=("tests/service/pipeline",),
    ),
    Mutant(
        name="fenced-evidence",
        harm="the id of a paid job is thrown away because it came late",
        edits=(
            Edit(
                file="service/pipeline/fold.py",
                old="    reading, rules = seen.reading, ledger.rules(task)\n",
                new="    reading, rules = seen.reading, ledger.rules(task)\n"
                "    late = seen.source is Source.SUBMIT and task.status is not TaskStatus.SUBMITTING\n"
                "    if late and seen.claim is Claim.ACCEPTED:\n"
                "        return Folded(recorded=Recorded(outcome=Outcome.IGNORED, task=task))\n",
            ),
        ),
        tests=("tests/service/pipeline",),
    ),
    Mutant(
        name="trusted-body",
        harm="whoever learns a callback URL decides how a task ends",
        edits=(
            Edit(
                file="service/pipeline/pushes.py",
                old="if not account.trust or (account.signed",
                new="if (account.signed",
            ),
        ),
        tests=("tests/service/pipeline",),
    ),
    Mutant(
        name="success-without-output",
        harm="a client is told of a video that is not there",
        edits=(
            Edit(
                file="service/core/verdicts.py",
                old="        case Claim.SUCCEEDED if seen.reading.outputs:\n",
                new="        case Claim.SUCCEEDED if seen.reading is not None:\n",
            ),
        ),
        tests=("tests/service/core",),
    ),
    Mutant(
        name="unknown-word-fails",
        harm="a new word of the provider ends paid work",
        edits=(
            Edit(
                file="service/providers/cloudsway.py",
                old='claim = STATUSES.get(status or "", Claim.UNKNOWN)',
                new='claim = STATUSES.get(status or "", Claim.FAILED)',
            ),
        ),
        tests=("tests/service/providers",),
    ),
    Mutant(
        name="fail-over-on-time-out",
        harm="the task is bought from a second provider while the first may have it",
        edits=(
            Edit(
                file="service/core/buying.py",
                old="    unsure = evolve(calm(task), status=TaskStatus.UNCONFIRMED",
                new="    lost = Failure(code=FailureCode.PROVIDER_ERROR, message='no answer in time')\n"
                "    if (elsewhere := go_on(task, seen, rules, lost)) is not None:\n"
                "        return elsewhere\n"
                "    unsure = evolve(calm(task), status=TaskStatus.UNCONFIRMED",
            ),
        ),
        tests=("tests/service/core", "tests/service/pipeline"),
    ),
    Mutant(
        name="shared-transaction",
        harm="what one unit had half written is committed with its neighbours, as on one shared connection",
        edits=(
            Edit(
                file="storage/sqlite.py",
                old="        results: list[object] = [drive(unit(connection)) for unit in units]  # type: ignore[arg-type]\n",
                new="        results: list[object] = []\n"
                "        for unit in units:\n"
                "            try:\n"
                "                results.append(drive(unit(connection)))\n"
                "            except Exception as error:\n"
                "                results.append(_Failed(error))\n",
            ),
        ),
        tests=("tests/storage",),
    ),
    Mutant(
        name="deferred-begin",
        harm="a write beside another process fails at once with SQLITE_BUSY_SNAPSHOT, whatever the busy timeout",
        edits=(Edit(file="storage/sqlite.py", old='raw.execute("BEGIN IMMEDIATE")', new='raw.execute("BEGIN")'),),
        tests=("tests/storage",),
    ),
    Mutant(
        name="lease-by-local-clock",
        harm="a replica whose clock is fast steals lanes from those that work them",
        edits=(Edit(file="storage/lanes.py", old=f"AND until <= {DATABASE_CLOCK}", new="AND until <= :now"),),
        tests=("tests/storage",),
    ),
    Mutant(
        name="ageing-token",
        harm="the push of a job that ran for long is turned away",
        edits=(
            Edit(
                file="service/core/tokens.py",
                old="        value, _, signature = token.rpartition(",
                new="        digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'\n"
                "        moment = sum(32**(9 - place) * digits.find(digit) for place, digit in enumerate(found[1][:10]))\n"
                "        if __import__('time').time() - moment / 1000 > 3600:\n"
                "            return None\n"
                "        value, _, signature = token.rpartition(",
            ),
        ),
        tests=("tests/service/core", "tests/service/pipeline"),
    ),
    Mutant(
        name="signed-copy",
        harm="receivers that verify the bytes they got refuse every event",
        edits=(
            Edit(
                file="service/pipeline/orders.py",
                old="signature.sign(self.keys(now), due.event_id, stamp, body, self._signers.at(now))",
                new="signature.sign(self.keys(now), due.event_id, stamp, "
                "(json := __import__('json')).dumps(json.loads(body)).encode(), self._signers.at(now))",
            ),
        ),
        tests=("tests/service/pipeline",),
    ),
    Mutant(
        name="new-id-per-attempt",
        harm="receivers cannot tell a repeated event from a new one",
        edits=(
            Edit(
                file="service/pipeline/orders.py",
                old="        headers = delivery.headers_for(\n",
                new="        due = __import__('dataclasses').replace(due, event_id=f'{due.event_id}{due.attempts}')\n"
                "        headers = delivery.headers_for(\n",
            ),
        ),
        tests=("tests/service/pipeline",),
    ),
    Mutant(
        name="followed-redirect",
        harm="a subscriber sends our POST into the private network",
        edits=(Edit(file="service/net/sender.py", old="_REDIRECTS = False", new="_REDIRECTS = True"),),
        tests=("tests/service/net",),
    ),
    Mutant(
        name="dialled-by-name",
        harm="a name that is public when judged and private when dialled reaches the private network",
        edits=(
            Edit(
                file="service/net/sender.py",
                old="        return [\n            ResolveResult(",
                new="        await self._resolver.addresses(self._policy, host)\n"
                "        return await aiohttp.ThreadedResolver().resolve(host, port, family)\n"
                "        return [\n            ResolveResult(",
            ),
            Edit(
                file="service/net/dial.py",
                old="        if reason := policy.refuse_socket(address, where[1]):\n",
                new="        if reason := '':\n",
            ),
        ),
        tests=("tests/service/net",),
    ),
    Mutant(
        name="patient-kernel",
        harm="the kernel delivers a purchase minutes after its deadline",
        edits=(
            Edit(
                file="service/net/dial.py",
                old="    bought_on.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _DISCARD_ON_CLOSE)\n    if _USER_TIMEOUT is not None:\n",
                new="    if not seconds:\n",
            ),
        ),
        tests=("tests/service/net",),
    ),
    Mutant(
        name="gone-at-once",
        harm="one odd answer of a provider and an output that is there is called deleted",
        edits=(
            Edit(
                file="service/core/links.py",
                old="GONE_ANSWERS: Final = 3\nGONE_SECONDS: Final = 60",
                new="GONE_ANSWERS: Final = 1\nGONE_SECONDS: Final = 0",
            ),
        ),
        tests=("tests/service/core/test_links.py",),
    ),
    Mutant(
        name="every-reader-asks",
        harm="a link on a busy page asks its provider as often as it is followed",
        edits=(
            Edit(
                file="service/api/outputs.py",
                old="        asking = self._asking.get(task.id)\n",
                new="        asking = None\n",
            ),
        ),
        tests=("tests/service/api/test_outputs.py",),
    ),
    Mutant(
        name="repeat-slips-past",
        harm="two requests with one Idempotency-Key at the same moment are two tasks, and two videos",
        edits=(
            Edit(
                file="service/api/once.py",
                old="        return await (self._retried(tx) if self._stated is None else self._claimed(tx))\n",
                new="        return None\n",
            ),
        ),
        tests=("tests/service/api/test_once.py",),
    ),
    Mutant(
        name="retry-takes-any",
        harm="of four parallel calls of an SDK two retries are answered with the same task",
        edits=(
            Edit(
                file="storage/answers.py",
                old="AND (most < :try OR",
                new="AND (most <= :try OR",
            ),
        ),
        tests=("tests/service/api/test_once.py",),
    ),
    Mutant(
        name="any-project",
        harm="a tenant's key reads the secret that signs another tenant's events",
        edits=(
            Edit(
                file="service/api/projects.py",
                old=" or seen_by(call) not in (None, stated)",
                new="",
            ),
        ),
        tests=("tests/service/api/test_projects.py",),
    ),
    Mutant(
        name="revoked-and-good",
        harm="a key that leaked and was revoked opens everything it did",
        edits=(
            Edit(
                file="storage/api_keys.py",
                old='"FROM api_keys WHERE digest = :digest AND revoked_at IS NULL"',
                new='"FROM api_keys WHERE digest = :digest"',
            ),
        ),
        tests=("tests/service/api/test_keys.py",),
    ),
    Mutant(
        name="fail-over-unreserved",
        harm="a task goes on to a dearer fallback and spends money that the project does not have",
        edits=(Edit(file="service/core/budget.py", old="_dearest(task) or own", new="own"),),
        tests=("tests/service/core/test_budget.py", "tests/service/api/test_allowance.py"),
    ),
    Mutant(
        name="end-unbooked",
        harm="what ended unbought stays reserved for ever, and what is charged beyond its estimate counts for nothing",
        edits=(
            Edit(
                file="service/pipeline/record.py",
                old="changed, moves = books.rebooked(changed)",
                new="_, moves = books.rebooked([])",
            ),
        ),
        tests=("tests/service/pipeline/test_books.py", "tests/service/api/test_allowance.py"),
    ),
)
