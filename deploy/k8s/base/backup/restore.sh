#!/usr/bin/env bash
# restore.sh DIRECTORY: puts a dump of the directory into the database of DATABASE_URL: FILE, or the newest.
# Refuses, with code 2, while anybody else is connected, and where there are issues unless REPLACE=yes.
# It is one transaction: all of the dump, or nothing.
set -euo pipefail
cd "$1"

refuse() {
  echo "restore: $1" >&2
  exit 2
}

sql() {
  psql "$DATABASE_URL" --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"
}

# A new pod may be let through to the server a moment after it starts.
for _ in {1..30}; do pg_isready --quiet --dbname="$DATABASE_URL" && break || sleep 2; done

file=${FILE:-$(find . -maxdepth 1 -name 'issuetracker-*.dump' | sort | tail -n 1)}
[[ -n $file && -r $file ]] || refuse "there is no dump ${file:-in the volume}"
pg_restore --file=/dev/null "$file" || refuse "$file is no whole dump"
# PostgreSQL's own, such as autovacuum, use nothing.
others=$(sql --command="SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
  AND backend_type = 'client backend' AND pid <> pg_backend_pid()")
[[ $others == 0 ]] || refuse "$others connections to the database: scale what uses it to 0 first"
issues=0
[[ -z $(sql --command="SELECT to_regclass('issue')") ]] || issues=$(sql --command="SELECT count(*) FROM issue")
[[ $issues == 0 || ${REPLACE:-} == yes ]] || refuse "the database holds $issues issues: REPLACE=yes deletes them"
{
  echo "BEGIN; DROP OWNED BY CURRENT_USER CASCADE;"
  pg_restore --file=- --no-owner --no-privileges --no-comments "$file"
  echo "COMMIT;"
} | sql >/dev/null
echo "restore: $file, $(sql --command='SELECT count(*) FROM public.issue') issues"
