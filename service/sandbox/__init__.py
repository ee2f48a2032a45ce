"""The provider side of the five contracts, played by a real HTTP server that misbehaves on request, and a subscriber that checks.

It shares nothing with the adapters it tests, so that one misreading cannot hide on both sides. What a body comes from:

Cloudsway, Kling 3.0 turbo (`cloudsway`)
  from Cloudsway's page: paths, request fields and defaults, the submit reply (`data` an object), the query reply (`data` an
      array), outputs, billing, 18-digit ids, millisecond times.
  from Kling's own pages, assumed to hold through Cloudsway: enums and limits, silently ignored fields, business codes,
      uniqueness of the external id within an account, `external_id` in replies, pushes on every change as a bare object, Standard
      Webhooks headers when a secret exists, at most 20 ids a query, units a second, 30 days of life of an output.
  ours, because no document shows it: wording of messages, the refusal of a duration out of range and of a second external
      id (400/1201), gateway bodies (plain text), 413 for a body over the cap, one delivery per push, its 5 s time-out.

UlazAI, Kling 3.0 (`ulazai`)
  from UlazAI's page: paths with their slash, request fields, submit and completed replies, price per second, -10 for the
      directory, HTTP codes, refund on failure, upload limits.
  from UlazAI's other pages and its own client: English status words, 402, 404, failures as HTTP 200 with `error_message`.
  ours: submit answers 200, bodies of errors, of `processing` and of `failed`, the upload's field name `file` and its reply,
      and that a missing `prompt_directory_optin` means *published* (as on the neighbouring 2.6 contract: the dear reading).

UlazAI, Kling 2.6 (`ulazai-2.6`; the credits of an account are those of `ulazai`)
  from UlazAI's page: paths, request fields and their defaults (the opt-in's is true), seconds as text, the 201 with everything
      under `data`, the `processing` and `completed` bodies, the table of prices.
  ours: bodies of errors and of `failed`, a refund on failure (stated for 3.0 only), how `progress` grows, that the aspect ratio of
      a picture job is ignored rather than refused, that exactly one picture is enforced.

AceData, Kling (`acedata`)
  from AceData's guide, API description, SDK and Docs: paths, fields, models and their rules, the blocking form and when it does not
      block, its flat reply, the record without a status and its float seconds, the echo of the request, retrieve and
      retrieve_batch, one unsigned push at the end and its two bodies, error bodies and codes, no_token as 400, used_up as 403,
      25 MB for a file.
  from elsewhere: the models Kling retired (its notice), prompts up to 2,500 characters (Kling's), filters of retrieve_batch (their
      web client sends them), a record of a job that has ended with `success: false` and an error.
  ours: a retired model is 400 bad_request, more than 50 ids are refused, an unknown id answers `{}`, pages of 20, `count` of all
      pages, a job that fails while its client waits answers 500 with the push's body, what the field `timeout` does, a field of
      another action is ignored, an unknown `video_id` is refused, price (0.42 credits a second for std, twice that for pro),
      statuses outside the table in plain text, the upload's reply (`file_url`, as on their platform's own upload route), and
      `names-task`: that a 5xx may name the job.

API in One, kling-3 (`apiinone`)
  from API in One's page: paths, request fields and defaults (sound is on), price per second.
  from its other pages: the first reply and the 401 of the `early` generation, the first reply of the `later` one.
  ours: everything else. `newest` is what third parties guess. Whole seconds only; the seconds of shots must sum to the duration;
      `callback_url` is ignored in all three generations, because no page says that this route takes one.

Ours everywhere: which refusal wins when several would hold, that a rate counts creates which passed every other check, that a
credential sees its own jobs only, the balance of an account (what it was given less what its jobs cost; a failed one costs nothing).

Ours as well, at every contract: that a query replaces a link which has died (`link-seconds`), that a link says in itself until when it is
good, in the manner of a common store where the contract has none, and what a query answers once an output was deleted (`purge-after`): as
for an unknown id, or as success without a link.

Switches: a prompt's `[sandbox: …]`, the script, standing faults (`directives.py` has the table of orders); knobs for all and rules
for a contract, a credential or both (`rules.py`), over /_sandbox/knobs and /_sandbox/rules and on the command line.

Here a *job* is what the provider makes of a request it accepted; the client's own word for its side is *task*.
"""
