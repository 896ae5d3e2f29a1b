#!/usr/bin/env bash
# backup.sh DIRECTORY KEEP: dump the database of DATABASE_URL to the directory, verify the dump, and delete all but the
# newest KEEP dumps.
set -euo pipefail
umask 077
cd "$1"

# Network policies may apply to a new pod only some time after its start.
for _ in {1..30}; do pg_isready --quiet --dbname="$DATABASE_URL" && break || sleep 2; done

# The remains of a run that was killed.
rm -f ./*.partial
name=issuetracker-$(date -u +%Y%m%dT%H%M%SZ).dump
pg_dump "$DATABASE_URL" --format=custom --no-owner --no-privileges --file="$name.partial"
# grep counts, because it would otherwise exit at the first match, and pg_restore would fail to write the rest.
tables=$(pg_restore --file=- "$name.partial" | grep --text --count '^COPY public\.job ') || {
  echo "backup: the dump is incomplete, or does not contain the table job" >&2
  exit 1
}
sync "$name.partial"
mv "$name.partial" "$name"
echo "backup: $name, $(stat --format=%s "$name") bytes"

# Names sort by time.
find . -maxdepth 1 -name 'issuetracker-*.dump' | sort -r | tail -n "+$(($2 + 1))" | while read -r old; do
  rm "$old"
  echo "backup: removed $old"
done
