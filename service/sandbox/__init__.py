"""The provider side of the contracts, played by a real HTTP server that misbehaves on request, and a subscriber that checks.

It shares nothing with the adapters it tests, so that one misreading cannot hide on both sides. What a body comes from:

Cloudsway, Kling 3.0 turbo
  from Cloudsway's page: paths, request fields and defaults, the submit reply (`data` an object), the query reply (`data` an
      array), outputs, billing, 18-digit ids, millisecond times.
  from Kling's own pages, assumed to hold through Cloudsway: enums and limits, silently ignored fields, business codes,
      uniqueness of the external id, `external_id` in replies, pushes on every change as a bare object, Standard Webhooks
      headers when a secret exists, at most 20 ids a query, 30 days of life of an output.
  ours, because no document shows it: wording of messages, the refusal of a duration out of range and of a second external
      id (400/1201), gateway bodies (plain text), 413 for a body over the cap, one delivery per push, its 5 s time-out.

UlazAI, Kling 3.0
  from UlazAI's page: paths with their slash, request fields, submit and completed replies, price per second, -10 for the
      directory, HTTP codes, refund on failure, upload limits.
  from UlazAI's other pages and its own client: English status words, 402, 404, failures as HTTP 200 with `error_message`.
  ours: submit answers 200, bodies of errors, of `processing` and of `failed`, the upload's field name `file` and its reply,
      and that a missing `prompt_directory_optin` means *published* (as on the neighbouring 2.6 contract: the dear reading).

Here a *job* is what the provider makes of a request it accepted; the client's own word for its side is *task*.
"""
