\set application `cat /run/secrets/POSTGRES_PASSWORD`
\set superuser `cat /run/secrets/POSTGRES_SUPERUSER_PASSWORD`
ALTER ROLE issuetracker PASSWORD :'application';
ALTER ROLE postgres PASSWORD :'superuser';
