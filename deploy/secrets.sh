#!/bin/sh
# Makes what must be secret for the compose files, in deploy/secrets/. What is there stays as it is.
#   sh deploy/secrets.sh          the keys, PostgreSQL's passwords and the URL that holds one of them
#   sh deploy/secrets.sh NAME     secrets/taskrelay/NAME from standard input, unseen on a terminal
set -eu
cd "$(dirname "$0")"

# The folder is closed to everybody else, so the files in it may be read by whatever number a container runs as.
umask 022
mkdir -p secrets/taskrelay
chmod 700 secrets

keep() { # FILE: its content from standard input; in its place by one step, and never over another
  if [ -e "$1" ]; then
    echo "kept   deploy/$1" >&2
    cat >/dev/null
    return
  fi
  fresh=$(mktemp secrets/fresh.XXXXXX)
  cat >"$fresh"
  chmod 444 "$fresh"
  ln "$fresh" "$1"
  rm -f "$fresh"
  echo "made   deploy/$1" >&2
}

random() { # COUNT bytes, in hexadecimal
  od -An -v -tx1 -N "$1" /dev/urandom | tr -d ' \n'
}

case "${1:-}" in
'')
  random 48 | keep secrets/taskrelay/secret_keys
  random 24 | keep secrets/postgres_password
  random 24 | keep secrets/taskrelay_password
  printf 'postgresql://taskrelay:%s@postgres/taskrelay' "$(cat secrets/taskrelay_password)" | keep secrets/taskrelay/database_url
  echo "Keep a copy of deploy/secrets/taskrelay/secret_keys elsewhere: without it what is sealed is lost." >&2
  ;;
*[!a-z0-9_]*)
  echo "secrets.sh: a name is a-z, 0-9 and _, such as cloudsway_api_key" >&2
  exit 2
  ;;
*)
  if [ -t 0 ]; then
    printf '%s (not shown): ' "$1" >&2
    trap 'stty echo' EXIT INT TERM
    stty -echo
    IFS= read -r given
    stty echo
    trap - EXIT INT TERM
    echo >&2
  else
    IFS= read -r given || [ -n "$given" ]
  fi
  if [ -z "$given" ]; then
    echo "secrets.sh: nothing was given, so nothing was made" >&2
    exit 1
  fi
  printf '%s\n' "$given" | keep "secrets/taskrelay/$1"
  ;;
esac
