#!/bin/sh
# Is this stack up to its main job? From submit to the event in the feed, against a running taskrelay, with curl alone.
#
#   TASKRELAY_KEY=trk_… sh deploy/smoke.sh URL                  looks, and asks what an order would be: nothing is bought
#   TASKRELAY_KEY=trk_… sh deploy/smoke.sh URL --buy            buys one task and waits for its end in the feed
#   TASKRELAY_KEY=trk_… sh deploy/smoke.sh URL --buy --pushed   and fails if the end had to be polled for
#
# The key needs the scopes tasks and read. SMOKE_PROVIDER (cloudsway) and SMOKE_MODEL (kling-3.0-turbo) say at whom,
# SMOKE_SECONDS (600) how long an end may take, SMOKE_HOST sends another Host header than the URL's.
# Ends with 0: it works; 1: it does not, the last line says what; 2: called wrongly; 3: nobody answers.
set -u

url=''
buy=no
pushed=no
for word in "$@"; do
  case "$word" in
  --buy) buy=yes ;;
  --pushed) pushed=yes ;;
  http://* | https://*) url=${word%/} ;;
  *) url='' && break ;;
  esac
done
provider=${SMOKE_PROVIDER:-cloudsway}
model=${SMOKE_MODEL:-kling-3.0-turbo}
patience=${SMOKE_SECONDS:-600}
if [ -z "$url" ]; then
  echo "smoke.sh: say where: sh deploy/smoke.sh https://relay.example.org [--buy [--pushed]]" >&2
  exit 2
fi
if [ -z "${TASKRELAY_KEY:-}" ]; then
  echo "smoke.sh: TASKRELAY_KEY is not set. Make a key: taskrelay keys create --name smoke --scope tasks --scope read" >&2
  exit 2
fi
command -v curl >/dev/null || { echo "smoke.sh: needs curl" >&2; exit 2; }

folder=$(mktemp -d) || exit 2
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM
body=$folder/body

ask() { # METHOD PATH [BODY]: the answer into $body, its status into $status. As any client should, again when a door was lost on the way.
  for pause in 1 3 0; do
    once "$@"
    case "$status" in
    502 | 503 | 504) [ "$pause" = 0 ] || { echo "  ..  $1 $2: $status, again in $pause s" && sleep "$pause"; } ;;
    *) return ;;
    esac
  done
}

once() { # The key is not among the arguments, which ps shows. An order that is sent twice under one Idempotency-Key is bought once.
  {
    printf 'url = "%s%s"\nrequest = "%s"\n' "$url" "$2" "$1"
    printf 'header = "Authorization: Bearer %s"\n' "$TASKRELAY_KEY"
    [ -z "${SMOKE_HOST:-}" ] || printf 'header = "Host: %s"\n' "$SMOKE_HOST"
    if [ $# -gt 2 ]; then
      printf '%s' "$3" >"$folder/sent"
      printf 'header = "Content-Type: application/json"\ndata-binary = "@%s"\n' "$folder/sent"
      printf 'header = "Idempotency-Key: smoke-%s"\n' "${folder##*/}"
    fi
  } >"$folder/curl"
  : >"$body"
  status=$(curl --silent --show-error --max-time 75 --config "$folder/curl" --output "$body" --write-out '%{http_code}' 2>"$folder/why")
  code=$?
  if [ "$code" -ne 0 ]; then
    echo "FAIL  $1 $2: $(head -n 1 "$folder/why")"
    [ "$code" -eq 6 ] || [ "$code" -eq 7 ] && exit 3
    exit 1
  fi
}

want() { # STATUS WHAT: unless it was that, say what came and end
  if [ "$status" != "$1" ]; then
    echo "FAIL  $2: $status instead of $1: $(head -c 500 "$body" | tr -d '\000-\037')"
    exit 1
  fi
}

member() { # NAME [FILE]: the first string of that name in a JSON text without line breaks
  sed -n "1s/^.*\"$1\":\"\([^\"]*\)\".*\$/\1/p" "${2:-$body}" | head -n 1
}

first() { # NAME: the same, where more of that name follow
  tr ',{' '\n\n' <"$body" | sed -n "s/^\"$1\":\"\([^\"]*\)\".*\$/\1/p" | head -n 1
}

pushes() { # of how many ends the account has seen a push today, into $seen
  ask GET "/v1/accounts/$account"
  want 200 "the account can be read"
  seen=$(sed -n '1s/^.*"callbacks":{[^}]*"day":{[^}]*"seen":\([0-9]*\).*$/\1/p' "$body")
}

ok() {
  echo "  ok  $*"
}

ask GET /livez
if [ "$status" = 404 ]; then # a proxy keeps these for its own network
  ok "livez, readyz are closed from here"
else
  want 200 "the process answers"
  ask GET /readyz
  want 200 "the database can be written"
  ok "livez, readyz"
fi

ask GET /v1/whoami
want 200 "the key is taken"
ok "the key $(first name)"

order=$(printf '{"provider":"%s","model":"%s","input":{"prompt":"A paper boat drifts down a gutter","duration":5}}' "$provider" "$model")
ask POST '/v1/tasks?dry_run=true' "$order"
want 200 "an order at $provider/$model could be sent"
ok "dry run: $(first method) $(first url), estimated $(first estimated) $(first unit)"
if [ "$buy" = no ]; then
  echo "PASS  nothing was bought; --buy goes through a task"
  exit 0
fi

account=$(first account)
pushes
before=$seen
began=$(date +%s)
ask POST /v1/tasks "$order"
want 202 "the order is taken"
task=$(first id)
ok "submitted $task"

# The feed from its beginning, this task's events alone; each page is held open until there is one.
after=''
end=''
while [ -z "$end" ]; do
  if [ $(($(date +%s) - began)) -ge "$patience" ]; then
    ask GET "/v1/tasks/$task"
    echo "FAIL  no end within $patience s: it is $(first status). taskrelay tasks why $task"
    exit 1
  fi
  ask GET "/v1/events?task=$task&wait=10${after:+&after=$after}"
  want 200 "the feed can be read"
  end=$(tr '{' '\n' <"$body" | sed -nE 's/.*"type":"task\.(succeeded|failed|canceled|expired)".*/\1/p' | head -n 1)
  after=$(member next)
done
if [ "$end" != succeeded ]; then
  echo "FAIL  $task $end. taskrelay tasks why $task"
  exit 1
fi
ok "event task.succeeded after $(($(date +%s) - began)) s"

ask GET "/v1/tasks/$task"
want 200 "the task can be read"
case "$(cat "$body")" in
*'"output_url":"http'*) ok "its output has a link" ;;
*) echo "FAIL  $task succeeded without an output_url" && exit 1 ;;
esac

# Of how many ends the account saw a push, whether or not it came before the answer to a question of ours.
again=0
pushes
while [ "$seen" = "$before" ] && [ "$again" -lt 5 ]; do
  again=$((again + 1))
  sleep 1
  pushes
done
if [ "$seen" != "$before" ]; then
  ok "the provider pushed"
elif [ "$pushed" = yes ]; then
  echo "FAIL  no push came, the end was asked for: PUBLIC_URL, and the way from the provider to it"
  exit 1
else
  ok "no push came, the end was asked for"
fi
echo "PASS  submit to event, $task"
