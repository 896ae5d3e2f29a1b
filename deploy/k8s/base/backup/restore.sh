#!/usr/bin/env bash
# restore.sh DIRECTORY: restore a dump of the directory, FILE or the newest, into the database of DATABASE_URL.
# It fails with code 2 if there are other connections, or if the database has issues and REPLACE is not yes.
# The restore is one transaction.
set -euo pipefail
cd "$1"

fail() {
  echo "restore: $1" >&2
  exit 2
}

sql() {
  psql "$DATABASE_URL" --no-psqlrc --quiet --tuples-only --no-align --set=ON_ERROR_STOP=1 "$@"
}

# Network policies may apply to a new pod only some time after its start.
for _ in {1..30}; do pg_isready --quiet --dbname="$DATABASE_URL" && break || sleep 2; done

file=${FILE:-$(find . -maxdepth 1 -name 'issuetracker-*.dump' | sort | tail -n 1)}
[[ -n $file && -r $file ]] || fail "the dump ${file:-} does not exist in the volume."
pg_restore --file=/dev/null "$file" || fail "$file is not a complete dump."
# PostgreSQL's own processes, such as autovacuum, have no user. Of other roles' connections, only the user is visible.
others=$(sql --command="SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
  AND usename IS NOT NULL AND pid <> pg_backend_pid()")
[[ $others == 0 ]] || fail "there are $others connections to the database. Scale the API, the workers and the exporter to 0 first."
issues=0
[[ -z $(sql --command="SELECT to_regclass('issue')") ]] || issues=$(sql --command="SELECT count(*) FROM issue")
[[ $issues == 0 || ${REPLACE:-} == yes ]] || fail "the database has $issues issues. Set REPLACE=yes to delete them."
{
  echo "BEGIN; DROP OWNED BY CURRENT_USER CASCADE;"
  pg_restore --file=- --no-owner --no-privileges --no-comments "$file"
  echo "DO 'BEGIN PERFORM public.grant_access(); EXCEPTION WHEN undefined_function THEN END';" # of earlier versions
  echo "COMMIT;"
} | sql >/dev/null
echo "restore: $file, $(sql --command='SELECT count(*) FROM public.issue') issues"
