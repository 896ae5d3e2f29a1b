#!/bin/sh
# Runs once, on an empty data directory. Creates the application's role, which is not a superuser, and its database with the
# extensions that only a superuser can create.
set -eu
psql --username=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --set=password="$ISSUETRACKER_PASSWORD" <<'END'
CREATE ROLE issuetracker LOGIN PASSWORD :'password';
CREATE DATABASE "IssueTracker" OWNER issuetracker;
REVOKE CONNECT ON DATABASE "IssueTracker" FROM PUBLIC;
\connect "IssueTracker"
CREATE EXTENSION vector;
CREATE EXTENSION pg_trgm;
END
