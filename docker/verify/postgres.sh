#!/usr/bin/env bash
# What PostgreSQL's own image does at its start: makes the database once, with the password of a file, and serves it.
set -euo pipefail
data=/var/lib/postgresql/data
if [ ! -e "$data/PG_VERSION" ]; then
  initdb -D "$data" -U tollgate --pwfile="$POSTGRES_PASSWORD_FILE" --auth-host=scram-sha-256 --auth-local=peer \
    -E UTF8 --locale=C >/dev/null
  echo "host all all all scram-sha-256" >>"$data/pg_hba.conf"
  postgres --single -D "$data" postgres <<<"CREATE DATABASE tollgate" >/dev/null
fi
exec postgres -D "$data" -c listen_addresses='*' -c unix_socket_directories=/tmp
